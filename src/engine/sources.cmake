# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  client.c engine_metrics.c filter.c properties.c properties_make.c scope.c token.c tunnel.c tunnel_host.c)
