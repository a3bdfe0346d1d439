# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  cmd_config.c cmd_demo.c cmd_engine.c cmd_health.c cmd_health_event.c cmd_health_look.c
  cmd_health_registry.c cmd_health_serve.c cmd_init.c init_answers.c init_files.c init_look.c init_unit.c
  cmd_platform.c cmd_portoser.c cmd_relay.c cmd_relay_health.c cmd_token.c cmd_token_engine.c cmd_up.c commands.c
  demo_files.c demo_part.c demo_peer.c demo_service.c demo_talk.c demo_visits.c
  engine_command.c engine_part.c health_answer.c health_diagnose.c health_direct.c health_feed.c health_fetch.c health_look.c
  health_neighbours.c health_part.c
  health_screen.c health_setup.c health_watch.c main.c platform_server.c platform_setup.c process.c quote.c relay_part.c sandbox.c
  cmd_token_credential.c
  state_dir.c up_file.c up_print.c)
