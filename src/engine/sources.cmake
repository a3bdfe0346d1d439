# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  client.c engine_metrics.c filter.c hostname.c scope.c token.c tunnel.c)
