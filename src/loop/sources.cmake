# SPDX-License-Identifier: Apache-2.0
set(SOURCES timer.c watch.c worker.c)
