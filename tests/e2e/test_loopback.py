# SPDX-License-Identifier: Apache-2.0
"""Sockets on loopback: where the machine paces what it sends, these are exempt; elsewhere they are
like all others."""
import re
import socket
import subprocess

from lib import targets


def machines_own():
    with socket.socket() as plain:
        name = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.rstrip(b"\0").decode()


def expected():
    return "reno" if machines_own().startswith("bbr") else machines_own()


def congestion_control(mine):
    """Of the other end of a connection that we hold: its source is what ours is connected to."""
    said = subprocess.run(
        ["ss", "-tinH", "state", "established", "src", "127.0.0.1", "sport", "=",
         str(mine.getpeername()[1]), "dport", "=", str(mine.getsockname()[1])],
        capture_output=True, text=True, timeout=10, check=True).stdout
    return re.search(r"(\w+) wscale:", said).group(1)


def test_who_dials_in(relay):
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as mine:
        mine.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert mine.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert congestion_control(mine) == expected()


def test_who_is_dialled(lab):
    seen = []

    def answer(connection):
        connection.recv(65536)
        seen.append(congestion_control(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = targets.BadServer(answer)
    try:
        url = f"http://127.0.0.1:{server.port}/"
        assert lab.check({"type": "http", "url": url})["status"] == "healthy"
        assert seen == [expected()]
    finally:
        server.stop()
