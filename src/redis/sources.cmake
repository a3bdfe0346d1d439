# SPDX-License-Identifier: Apache-2.0
set(SOURCES
  link.c place.c)
