# SPDX-License-Identifier: Apache-2.0
set(SOURCES arena.c base64.c buf.c hostname.c ip.c map.c mem.c number.c result.c siphash.c slice.c time.c utf8.c)
