# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  cmd_context.c cmd_help.c command.c command_help.c completion.c config.c config_edit.c manual.c plain.c profile.c table.c)
