# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  agent.c agent_close.c agent_frames.c agent_tls.c channel.c fault.c liveness.c loop.c properties.c reach.c spares.c stream.c
  tunnel.c visit.c)
