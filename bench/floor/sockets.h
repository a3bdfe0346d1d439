// SPDX-License-Identifier: Apache-2.0
// Sockets of the floors: loopback, and the options weir sets there (no delay, Reno, which needs no
// pacing). All die when something fails.
#ifndef BENCH_SOCKETS_H
#define BENCH_SOCKETS_H

// port is a decimal number.
int sockets_listen(const char *port);
int sockets_connect(const char *port);
// Waits for a connection.
int sockets_accept(int listener);
void sockets_unblock(int fd);

#endif
