# SPDX-License-Identifier: Apache-2.0
# First what every command goes through (see the link order in src/CMakeLists.txt).
set(SOURCES
  command.c cmd_help.c faults.c
  cmd_context.c cmd_doctor.c cmd_events.c cmd_inventory.c command_help.c completion.c config.c config_edit.c delivery.c docker.c docker_labels.c
  doctor.c doctor_judge.c
  engine_api.c event_feed.c event_id.c feed_state.c filter_text.c inventory.c loop.c manual.c plain.c print.c probe.c
  profile.c say.c sse.c table.c webhook.c)
list(APPEND SOURCES capture.c capture_har.c capture_show.c cmd_dial.c cmd_inspect.c cmd_run.c dialer.c inspector.c paint.c joiner.c program_server.c replay.c stdio_pump.c tap_h2.c tap_ws.c target.c
  run_file.c run_file_values.c run_plan.c publication.c run_link.c runner.c tap.c tunnel_screen.c tunnel_view.c)
list(APPEND SOURCES cmd_forward.c forward_options.c)
