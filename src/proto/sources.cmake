# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  http1.c
  prometheus.c
  proxy_header.c
  websocket.c
)
