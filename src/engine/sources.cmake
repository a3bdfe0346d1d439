# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  api.c blocks.c census.c client.c config.c config_certs.c config_rules.c control.c control_asks.c
  control_frames.c control_open.c control_tunnels.c decision.c dial.c directory.c edge_h1.c
  edge_h1_answer.c edge_h2.c edge_h2_answer.c edge_h2_request.c engine.c engine_metrics.c
  engine_metrics_manual.c
  engine_tls.c exchange.c feed.c filter.c gate.c head_rules.c listing.c metrics_page.c openapi.c
  outgo.c page.c params.c parting.c policy.c properties.c properties_make.c proxied.c raw_stream.c
  redirect.c registration.c route.c scope.c token.c token_mint.c tunnel.c tunnel_host.c upstream.c
  upstream_h1.c upstream_h1_answer.c upstream_h2.c upstream_h2_answer.c upstream_pool.c
  upstream_request.c upstream_tls.c visitor.c visitor_raw.c watch.c watch_frames.c
  watch_snapshot.c)
