# SPDX-License-Identifier: Apache-2.0
set(SOURCES gather.c resolver.c timer.c watch.c worker.c)
