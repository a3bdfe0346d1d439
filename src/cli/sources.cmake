# SPDX-License-Identifier: Apache-2.0
# First what every command goes through (see the link order in src/CMakeLists.txt).
set(SOURCES
  cmd_help.c command.c command_help.c completion.c faults.c loop.c manual.c plain.c print.c say.c table.c
  context/cmd_context.c context/config.c context/config_edit.c context/profile.c
  doctor/cmd_doctor.c doctor/doctor.c doctor/doctor_judge.c doctor/probe.c
  engine/cmd_events.c engine/cmd_inventory.c engine/delivery.c engine/engine_api.c engine/event_feed.c
  engine/event_id.c engine/feed_state.c engine/filter_text.c engine/inventory.c engine/sse.c engine/webhook.c
  run/docker.c run/docker_labels.c)
list(APPEND SOURCES inspect/capture.c inspect/capture_har.c inspect/capture_show.c forward/cmd_dial.c inspect/cmd_inspect.c run/cmd_run.c forward/dialer.c inspect/inspector.c paint.c forward/joiner.c forward/program_server.c inspect/replay.c forward/stdio_pump.c inspect/tap_h2.c inspect/tap_ws.c forward/target.c
  run/run_file.c run/run_file_values.c run/run_plan.c forward/publication.c run/run_link.c run/runner.c inspect/tap.c forward/tunnel_screen.c forward/tunnel_view.c)
list(APPEND SOURCES forward/cmd_forward.c forward/forward_options.c)
