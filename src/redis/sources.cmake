# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  fault.c link.c place.c slot.c)
