# SPDX-License-Identifier: Apache-2.0
"""Who is the client: X-Forwarded-For from trusted proxies, and PROXY headers (spec 4.1; 14, 14)."""
import socket
import struct

import pytest

from lib import weir, ws
from lib.world import World

RELAY_ENV = {"RELAY_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8"}

WALKS = [
    ("203.0.113.7", "203.0.113.7"),
    ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
    ("198.51.100.1, 203.0.113.7, 10.1.2.3, 10.9.9.9", "203.0.113.7"),
    ("junk, 10.1.2.3", "10.1.2.3"),
    ("::ffff:203.0.113.9", "203.0.113.9"),
    ("2001:db8::1", "2001:db8::1"),
    ("", "127.0.0.1"),
]


@pytest.mark.parametrize("header, ip", WALKS)
def test_forwarded_for(world, header, ip):
    mark = world.relay.log.mark()
    world.daemon(source="127.0.0.1", headers=[("X-Forwarded-For", header)])
    assert world.relay.log.wait("daemon_connected", mark)["details"]["ip"] == ip


def test_a_stranger_is_not_believed(world):
    mark = world.relay.log.mark()
    world.daemon(source="127.0.0.9", headers=[("X-Forwarded-For", "203.0.113.7")])
    assert world.relay.log.wait("daemon_connected", mark)["details"]["ip"] == "127.0.0.9"


V2 = b"\r\n\r\n\x00\r\nQUIT\n"
HEADERS = [
    (b"PROXY TCP4 203.0.113.5 127.0.0.1 4711 80\r\n", "203.0.113.5"),
    (b"PROXY TCP6 2001:db8::5 ::1 4711 80\r\n", "2001:db8::5"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (V2 + b"\x21\x11\x00\x0c" + socket.inet_aton("203.0.113.6") + socket.inet_aton("127.0.0.1")
     + struct.pack("!HH", 4711, 80), "203.0.113.6"),
    (V2 + b"\x20\x00\x00\x00", "127.0.0.1"),
]


@pytest.fixture(scope="module")
def proxied(platform):
    running = weir.Relay(
        {"SERVER_URL": platform.origin, "RELAY_PROXY_PROTOCOL": "1",
         "RELAY_ENABLE_ADMIN_HTTP": "0"}, platform_ports=[platform.port])
    yield running
    weir.live.remove(running)
    running.stop()


@pytest.fixture(autouse=True)
def no_books_behind_a_proxy_header(proxied):
    """Its admin pages cannot be asked without a PROXY header; the log is."""
    if proxied in weir.live:
        weir.live.remove(proxied)
    yield
    weir.live.append(proxied)


@pytest.mark.parametrize("header, ip", HEADERS)
@pytest.mark.parametrize("step", [0, 1])
def test_proxy_header(proxied, platform, header, ip, step):
    world = World(proxied, platform)
    mark = proxied.log.mark()
    peer = world.peer()
    if step:
        peer.send_split(header)
    else:
        peer.send_raw(header)
    world.join("workspace-daemon", peer=peer)
    assert proxied.log.wait("daemon_connected", mark)["details"]["ip"] == ip


@pytest.mark.parametrize("bad", [b"GET /health HTTP/1.1\r\n\r\n", b"PROXY TCP9 x\r\n", V2 + b"\x31"])
def test_no_proxy_header_no_service(proxied, bad):
    mark = proxied.log.mark()
    peer = ws.WebSocket(proxied.host, proxied.port)
    peer.send_raw(bad)
    peer.expect_end()
    assert proxied.log.wait("handshake_failed", mark)["details"]["reason"] == "bad PROXY header"
