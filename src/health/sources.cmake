# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  checks/check.c checks/exec.c checks/http.c checks/process.c checks/remote.c checks/tcp.c
  check_spec.c registry.c registry_check.c registry_find.c registry_graph.c registry_show.c registry_side.c
  monitor.c registry_value.c rollup.c scheduler.c state.c
  view.c view_text.c)
