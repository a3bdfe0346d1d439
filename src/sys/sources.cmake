# SPDX-License-Identifier: Apache-2.0
set(SOURCES clock.c entropy.c epoll.c errors.c fault.c file.c first.c host.c landlock.c last_call.c library.c netlink.c notices.c privileges.c process.c resolve.c sandbox.c seccomp.c socket.c spawn.c spawner.c supervisor.c terminal.c users.c)
