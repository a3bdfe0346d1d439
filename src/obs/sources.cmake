# SPDX-License-Identifier: Apache-2.0
set(SOURCES crash.c log.c log_line.c metrics.c)
