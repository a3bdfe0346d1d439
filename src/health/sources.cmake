# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  checks/check.c checks/exec.c checks/http.c checks/http_plain.c checks/http_request.c
  checks/process.c checks/race.c checks/remote.c checks/tcp.c
  api.c api_access.c api_badge.c api_control.c api_deployment.c api_devices.c api_docs.c api_events.c
  api_files.c api_health.c api_heatmap.c api_history.c api_lists.c api_page.c api_registry.c
  api_samples.c api_sockets.c api_stats.c api_uptime.c api_uptime_log.c
  body_regex.c change_hook.c check_spec.c cluster.c cluster_read.c cluster_send.c dead_man.c deployment.c device.c
  device_counters.c device_probe.c devices.c diagnoses.c diagnosis_report.c dialect.c event_ring.c
  health.c history.c local_socket.c maintenance.c markup.c metrics_page.c monitor.c neighbours.c old_files.c others.c
  page.c page_engine.c page_health.c page_relay.c page_row.c page_tables.c path_match.c program.c
  registry.c registry_check.c registry_find.c registry_graph.c registry_show.c
  registry_side.c registry_value.c rollup.c scheduler.c series.c shared_result.c shares.c sockets.c
  sockets_ask.c sockets_page.c sockets_tell.c state.c store.c subscriptions.c tokens.c uptime.c view.c view_html.c
  view_json.c view_read.c view_text.c)
