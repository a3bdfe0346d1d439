# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  listen_set.c listener.c outbox.c pair.c pump.c stream.c tls_carrier.c tls_context.c tls_pairs.c
  tls_patience.c tls_stack.c tls_tickets.c websocket.c websocket_read.c ws_client.c)
