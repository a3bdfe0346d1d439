# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  backplane/core.c backplane/incoming.c backplane/mail.c backplane/message.c backplane/outgoing.c
  backplane/presence.c backplane/redis.c backplane/redis_channel.c backplane/redis_list.c
  backplane/redis_presence.c backplane/seal.c backplane/server.c backplane/server_presence.c
  backplane/server_publish.c backplane/server_pull.c
  admission.c answers.c cell.c channels.c claims.c close_reasons.c config.c config_rules.c flow.c frame.c
  jwks_cache.c ledger.c limiter.c owners.c peer.c places.c redirect.c relay.c remotes.c route_client.c route_daemon.c
  routing.c status.c takeover.c upgrade.c worker_transport.c)
