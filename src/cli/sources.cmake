# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  command.c command_help.c config.c profile.c)
