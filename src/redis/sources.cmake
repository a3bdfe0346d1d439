# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  client.c client_node.c client_scout.c fault.c link.c place.c slot.c)
