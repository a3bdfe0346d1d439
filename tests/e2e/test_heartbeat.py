# SPDX-License-Identifier: Apache-2.0
"""Pings, and peers that do not answer them (spec 5.4)."""
import time

from lib import frames as f
from lib import ws
from lib.wait import eventually

RELAY_ENV = {
    "RELAY_PING_INTERVAL_MS": "200",
    "RELAY_PONG_TIMEOUT_MS": "200",
    "RELAY_IDLE_TIMEOUT_MS": "60000",
}


def test_every_role_is_pinged_and_stays(world):
    for join in (world.daemon, world.client, world.worker):
        peer = join()
        for _ in range(4):
            got = peer.recv_frame()
            assert (got.opcode, got.payload) == (ws.PING, b"")
            peer.send_frame(ws.PONG)


def test_silent_peer_is_cut_without_a_close_frame(world):
    before = world.relay.metric("relay_ws_stale_terminated_total")
    mark = world.relay.log.mark()
    client = world.client(clientId="c_silent")
    begin = time.monotonic()
    client.expect_end()
    assert 0.15 < time.monotonic() - begin < 3
    assert world.relay.metric("relay_ws_stale_terminated_total") == before + 1
    world.relay.log.wait("ws_terminated", mark, clientId="c_silent")
    world.relay.log.wait("client_disconnected", mark, clientId="c_silent")


def test_data_counts_as_an_answer(world):
    client = world.client()
    begin = time.monotonic()
    while time.monotonic() - begin < 1.0:
        got = client.recv_frame()
        if got.opcode == ws.PING:
            client.send("{}")
        else:
            assert got.payload.decode() == f.invalid_frame_status(world.workspace)


def test_silent_daemon_clears_its_cell(world):
    mark = world.relay.log.mark()
    world.daemon().expect_end()
    world.relay.log.wait("daemon_disconnected", mark, clearedCurrentDaemon=True)
    client = world.client()
    client.send(f.text(f.e2ee()))
    assert client.recv_text() == f.unavailable_status(world.workspace, "rt_1")


def test_idle_peer_is_cut(start):
    """Nothing at all comes, and the pings are far apart."""
    world = start(RELAY_PING_INTERVAL_MS="60000", RELAY_IDLE_TIMEOUT_MS="200")
    world.client().expect_end()
    assert world.relay.metric("relay_ws_idle_terminated_total") == 1
    world.relay.log.wait("ws_terminated")


def test_pings_are_spread(start):
    """Forty connections made together are not pinged together."""
    world = start(RELAY_PING_INTERVAL_MS="1000", RELAY_PONG_TIMEOUT_MS="5000")
    peers = [world.client() for _ in range(40)]
    times = []

    def look():
        for peer in list(peers):
            peer.sock.setblocking(False)
            try:
                peer.fill()
                times.append(time.monotonic())
                peers.remove(peer)
            except BlockingIOError:
                pass
        return not peers

    eventually(look, "everybody is pinged")
    times.sort()
    assert times[-1] - times[0] > 0.4
