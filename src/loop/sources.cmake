# SPDX-License-Identifier: Apache-2.0
set(SOURCES file_watch.c gather.c network_watch.c resolver.c signal_watch.c swarm.c timer.c watch.c worker.c)
