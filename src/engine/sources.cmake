# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  engine.c
  api/api.c api/feed.c api/filter.c api/listing.c api/openapi.c api/params.c api/watch.c api/watch_frames.c
  api/watch_snapshot.c
  config/config.c config/config_certs.c config/config_rules.c
  control/client.c control/control.c control/control_asks.c control/control_frames.c control/control_open.c
  control/control_tunnels.c control/dial.c control/directory.c control/properties.c control/properties_make.c
  control/registration.c control/scope.c control/token.c control/token_mint.c control/tunnel.c
  control/tunnel_host.c
  edge/blocks.c edge/census.c edge/decision.c edge/edge_h1.c edge/edge_h1_answer.c edge/edge_h2.c
  edge/edge_h2_answer.c edge/edge_h2_request.c edge/engine_tls.c edge/exchange.c edge/gate.c edge/head_rules.c
  edge/outgo.c edge/page.c edge/parting.c edge/policy.c edge/raw_stream.c edge/redirect.c edge/route.c
  edge/visitor.c edge/visitor_raw.c
  metrics/engine_metrics.c metrics/engine_metrics_manual.c metrics/metrics_page.c
  upstream/proxied.c upstream/upstream.c upstream/upstream_h1.c upstream/upstream_h1_answer.c
  upstream/upstream_h2.c upstream/upstream_h2_answer.c upstream/upstream_pool.c upstream/upstream_request.c
  upstream/upstream_tls.c)
