# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  engine_metrics.c)
