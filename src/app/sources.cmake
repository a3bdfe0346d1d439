# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  cmd_config.c cmd_engine.c cmd_platform.c cmd_relay.c cmd_relay_health.c cmd_token.c cmd_token_credential.c
  cmd_token_engine.c commands.c engine_command.c main.c platform_setup.c quote.c sandbox.c state_dir.c
  demo/cmd_demo.c demo/demo_files.c demo/demo_part.c demo/demo_peer.c demo/demo_service.c demo/demo_talk.c
  demo/demo_visits.c
  health/cmd_health.c health/cmd_health_event.c health/cmd_health_look.c health/cmd_health_registry.c
  health/cmd_health_serve.c health/cmd_portoser.c health/health_answer.c health/health_diagnose.c
  health/health_direct.c health/health_feed.c health/health_fetch.c health/health_look.c
  health/health_screen.c health/health_setup.c health/health_watch.c
  parts/engine_part.c parts/health_neighbours.c parts/health_part.c parts/platform_server.c parts/process.c
  parts/relay_part.c
  up/cmd_init.c up/cmd_up.c up/init_answers.c up/init_files.c up/init_look.c up/init_unit.c up/up_file.c
  up/up_print.c)
