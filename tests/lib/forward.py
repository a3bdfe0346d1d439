# SPDX-License-Identifier: Apache-2.0
"""What a good agent's program does with a stream: joins it to a local TCP service."""
import select
import socket


def to(port):
    """A handler for Site.serve. One thread: a service that answers while it is still asked at
    length would block it."""

    def handle(stream):
        with socket.create_connection(("127.0.0.1", port), 10) as local:
            local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            local.sendall(stream.recv_some())
            while stream.ended is None:
                if stream.sock.fileno() < 0:
                    return  # the test is over
                ready = select.select([stream.sock, local], [], [], 60)[0]
                if stream.sock in ready:
                    local.sendall(stream.recv_some())
                if local in ready:
                    data = local.recv(65536)
                    if not data:
                        stream.send_notify()
                        return
                    stream.send(data)

    return handle
