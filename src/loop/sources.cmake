# SPDX-License-Identifier: Apache-2.0
set(SOURCES gather.c timer.c watch.c worker.c)
