# SPDX-License-Identifier: Apache-2.0
set(SOURCES clock.c entropy.c epoll.c errors.c fault.c file.c first.c host.c last_call.c library.c netlink.c notices.c process.c resolve.c socket.c spawn.c supervisor.c terminal.c users.c)
