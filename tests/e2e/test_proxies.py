# SPDX-License-Identifier: Apache-2.0
"""Whose address counts: X-Forwarded-For and the PROXY protocol (spec 4.1, 14.14)."""
import socket
import struct

import pytest

from lib import frames as f
from lib import weir

RELAY_ENV = {"RELAY_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8, 2001:db8::/32"}
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def seen_address(world, source="127.0.0.1", forwarded=(), prefix=b""):
    """The address in the log of a client that comes this way."""
    mark = world.relay.log.mark()
    peer = world.peer(source)
    peer.send_raw(prefix)
    headers = [("X-Forwarded-For", value) for value in forwarded]
    world.join("client", peer=peer, headers=headers)
    line = world.relay.log.wait("client_connected", mark, workspaceId=world.workspace)
    return line["details"]["ip"]


FORWARDED = [
    ([], "127.0.0.1"),
    ([""], "127.0.0.1"),
    (["203.0.113.7"], "203.0.113.7"),
    (["  203.0.113.7  "], "203.0.113.7"),
    (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),  # the left one is the client's own claim
    (["203.0.113.7, 10.1.2.3"], "203.0.113.7"),
    (["198.51.100.1, 203.0.113.7, 10.1.2.3, 10.9.9.9"], "203.0.113.7"),
    (["203.0.113.7", "10.1.2.3"], "203.0.113.7"),
    (["203.0.113.7", "198.51.100.1"], "198.51.100.1"),
    (["::ffff:203.0.113.7"], "203.0.113.7"),
    (["2001:db9::7"], "2001:db9::7"),
    (["2001:db9::7, 2001:db8::1"], "2001:db9::7"),
    (["garbage"], "127.0.0.1"),
    (["203.0.113.7, garbage"], "127.0.0.1"),
    (["203.0.113.7, garbage, 10.1.1.1"], "10.1.1.1"),
    (["256.1.1.1"], "127.0.0.1"),
    (["10.1.1.1"], "10.1.1.1"),
    (["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
]


@pytest.mark.parametrize("forwarded, address", FORWARDED)
def test_forwarded(world, forwarded, address):
    assert seen_address(world, forwarded=forwarded) == address


def test_untrusted_peer_cannot_choose_its_address(world):
    assert seen_address(world, "127.0.0.2", ["203.0.113.7"]) == "127.0.0.2"


def test_limits_follow_the_forwarded_address(start):
    world = start(RELAY_TRUSTED_PROXIES="127.0.0.1", RELAY_MAX_CONNECTIONS_PER_IP="1")
    one = [("X-Forwarded-For", "203.0.113.1")]
    two = [("X-Forwarded-For", "203.0.113.2")]
    world.client(headers=one)
    assert world.refused(token="a-token-of-good-length", headers=one).status == 429
    world.client(headers=two)


# ---- PROXY protocol

def v2(command, family, block):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(block)) + block


IPV4 = socket.inet_aton("203.0.113.9") + socket.inet_aton("192.0.2.1") + b"\x01\x00\x01\xbb"
IPV6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db9::9")
    + socket.inet_pton(socket.AF_INET6, "2001:db9::1")
    + b"\x01\x00\x01\xbb"
)
HEADERS = [
    (b"PROXY TCP4 203.0.113.9 192.0.2.1 256 443\r\n", "203.0.113.9"),
    (b"PROXY TCP6 2001:db9::9 2001:db9::1 256 443\r\n", "2001:db9::9"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    (v2(1, 0x11, IPV4), "203.0.113.9"),
    (v2(1, 0x21, IPV6), "2001:db9::9"),
    (v2(1, 0x11, IPV4 + b"\x04\x00\x05abcde"), "203.0.113.9"),
    (v2(0, 0x00, b""), "127.0.0.1"),
    (v2(0, 0x11, IPV4), "127.0.0.1"),
]
BAD_HEADERS = [
    b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 256\r\n",
    b"PROXY TCP4 2001:db9::9 2001:db9::1 256 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 99999 443\r\n",
    b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
    SIGNATURE + b"\x11\x11\x00\x0c" + IPV4,
    v2(1, 0x11, IPV4[:8]),
    SIGNATURE[:5] + b"x" * 20,
]


@pytest.fixture(scope="module", name="proxied")
def proxied_fixture(platform):
    """Its books are read through the header, too."""

    class Proxied(weir.Relay):
        def request(self, method, path, headers=None, tls=None, body=None):
            with socket.create_connection((self.host, self.port), 10) as sock:
                lines = {"Host": "x", "Connection": "close", **(headers or {})}
                head = "".join(f"{k}: {v}\r\n" for k, v in lines.items())
                sock.sendall(f"PROXY UNKNOWN\r\n{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
                response = weir.http.client.HTTPResponse(sock)
                response.begin()
                return weir.Answer(response)

    running = Proxied(
        {"SERVER_URL": platform.origin, "RELAY_PROXY_PROTOCOL": "1"}, platform_ports=[platform.port]
    )
    running.settle()
    yield running
    running.stop()


@pytest.mark.parametrize("header, address", HEADERS, ids=range(len(HEADERS)))
def test_proxy_header(proxied, world, header, address):
    world.relay = proxied
    assert seen_address(world, prefix=header) == address


@pytest.mark.parametrize("header, address", [HEADERS[0], HEADERS[5]], ids=["v1", "v2"])
def test_proxy_header_byte_by_byte(proxied, world, header, address):
    world.relay = proxied
    mark = proxied.log.mark()
    peer = world.peer()
    peer.send_split(header)
    world.join("client", peer=peer)
    assert proxied.log.wait("client_connected", mark)["details"]["ip"] == address


@pytest.mark.parametrize("header", BAD_HEADERS, ids=range(len(BAD_HEADERS)))
def test_bad_proxy_header(proxied, world, header):
    world.relay = proxied
    before = proxied.failures()["bad_request"]
    mark = proxied.log.mark()
    peer = world.peer()
    peer.send_raw(header)
    assert peer.read_to_end() == b""
    assert proxied.failures()["bad_request"] == before + 1
    proxied.log.wait("handshake_failed", mark)


def test_half_a_proxy_header_and_an_end(proxied):
    """What was peeked at stays readable, and so does the end: waiting for more would never sleep."""
    before = proxied.failures()["bad_request"]
    for start in (HEADERS[0][0][:9], HEADERS[5][0][:15]):
        with socket.create_connection((proxied.host, proxied.port), 10) as half:
            half.sendall(start)
            half.shutdown(socket.SHUT_WR)
            half.settimeout(3)
            with pytest.raises(ConnectionResetError):
                half.recv(1)
    assert proxied.failures()["bad_request"] == before + 2


def test_proxied_conversation(proxied, world):
    world.relay = proxied
    daemon, client = world.peer(), world.peer()
    daemon.send_raw(HEADERS[0][0])
    client.send_raw(HEADERS[4][0])
    world.join("workspace-daemon", peer=daemon)
    world.join("client", peer=client)
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
