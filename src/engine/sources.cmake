# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  client.c directory.c engine_metrics.c feed.c filter.c properties.c properties_make.c registration.c
  scope.c token.c tunnel.c tunnel_host.c)
