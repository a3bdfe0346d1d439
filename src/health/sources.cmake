# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  event_ring.c health.c monitor.c rollup.c scheduler.c state.c
  actions/change_hook.c actions/dead_man.c actions/deployment.c actions/diagnoses.c actions/diagnosis_report.c
  actions/maintenance.c actions/program.c
  api/api.c api/api_access.c api/api_badge.c api/api_control.c api/api_deployment.c api/api_devices.c
  api/api_docs.c api/api_events.c api/api_files.c api/api_health.c api/api_heatmap.c api/api_history.c
  api/api_lists.c api/api_page.c api/api_registry.c api/api_samples.c api/api_sockets.c api/api_stats.c
  api/api_uptime.c api/api_uptime_log.c api/local_socket.c api/metrics_page.c api/path_match.c api/tokens.c
  checks/body_regex.c checks/check.c checks/exec.c checks/http.c checks/http_plain.c checks/http_request.c
  checks/process.c checks/race.c checks/remote.c checks/tcp.c
  cluster/cluster.c cluster/cluster_read.c cluster/cluster_send.c cluster/others.c cluster/shared_result.c
  cluster/shares.c
  history/history.c history/old_files.c history/series.c history/store.c history/uptime.c
  machines/device.c machines/device_counters.c machines/device_probe.c machines/devices.c
  page/neighbours.c page/page.c page/page_engine.c page/page_health.c page/page_relay.c page/page_row.c
  page/page_tables.c
  registry/check_spec.c registry/registry.c registry/registry_check.c registry/registry_find.c
  registry/registry_graph.c registry/registry_show.c registry/registry_side.c registry/registry_value.c
  sockets/dialect.c sockets/sockets.c sockets/sockets_ask.c sockets/sockets_page.c sockets/sockets_tell.c
  sockets/subscriptions.c
  view/markup.c view/view.c view/view_html.c view/view_json.c view/view_read.c view/view_text.c)
