# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  backplane/message.c backplane/seal.c
  admission.c cell.c channels.c claims.c close_reasons.c config.c config_rules.c flow.c frame.c
  jwks_cache.c ledger.c limiter.c owners.c peer.c places.c relay.c route_client.c route_daemon.c
  routing.c status.c takeover.c upgrade.c worker_transport.c)
