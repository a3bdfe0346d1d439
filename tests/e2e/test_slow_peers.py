# SPDX-License-Identifier: Apache-2.0
"""A peer that does not read: senders are held back, then it is cut (spec 13, 14.11)."""
import pytest

from lib import frames as f
from lib import ws
from lib.wait import eventually

RELAY_ENV = {
    "RELAY_RUNTIME_RATE_PER_MINUTE": "1000000",
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": "1000000",
    "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE": "1000000",
    "RELAY_MAX_PENDING_BYTES": "1000000",
}
BIG = f.text(f.e2ee(ciphertext="x" * 200000))


def slow_daemon(world):
    return world.join("workspace-daemon", peer=world.peer(receive_buffer=4096))


def flood(world, client, until):
    """Sends until `until` is true or the client is held back, in which case TCP pushes back."""
    client.sock.settimeout(0.05)
    data = ws.frame(ws.TEXT, BIG)
    sent = 0
    pending = b""

    def push():
        nonlocal sent, pending
        pending = pending or data
        try:
            done = client.sock.send(pending)
            pending = pending[done:]
            sent += not pending
        except TimeoutError:
            pass
        return until()

    eventually(push, "the flood has its effect", 20)
    client.sock.settimeout(ws.TIMEOUT_S)
    return sent, pending


def test_sender_is_paused_and_nothing_is_lost(world):
    daemon, client = slow_daemon(world), world.client()
    before = world.relay.metric("relay_sources_paused_total")
    sent, rest = flood(
        world, client, lambda: world.relay.metric("relay_sources_paused_total") > before
    )
    whole = sent + bool(rest)
    for n in range(sent):
        assert daemon.recv_text() == BIG, n
    client.send_raw(rest)
    for n in range(whole - sent):
        assert daemon.recv_text() == BIG, n
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    assert world.relay.metric("relay_ws_slow_client_terminated_total") == 0
    eventually(lambda: world.relay.metric("relay_outbound_queue_bytes") == 0, "queues are empty")


def test_slow_peer_is_cut_and_others_are_not(world):
    daemon, client = slow_daemon(world), world.client()
    other_daemon = world.daemon(target="rt_2")
    other = world.client(target="rt_2")
    mark = world.relay.log.mark()
    flood(
        world,
        client,
        lambda: world.relay.metric("relay_ws_slow_client_terminated_total") == 1,
    )
    line = world.relay.log.wait("ws_terminated", mark)
    assert line["details"]["reason"] == "buffer_overflow"
    world.relay.log.wait("daemon_disconnected", mark, clearedCurrentDaemon=True)
    other.send(f.text(f.e2ee()))
    assert other_daemon.recv_text() == f.text(f.e2ee())
    daemon.close()
    eventually(lambda: world.relay.metric("relay_outbound_queue_bytes") == 0, "memory is free")


def test_total_budget(start):
    """One queue may grow to 100 MB, all together to 2 MB: the frame above it is refused or cut."""
    world = start(
        workers=1,
        RELAY_RUNTIME_RATE_PER_MINUTE="1000000",
        RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE="1000000",
        RELAY_MAX_PENDING_BYTES="100000000",
        RELAY_MAX_TOTAL_PENDING_BYTES="2000000",
    )
    daemon, client = slow_daemon(world), world.client()
    flood(world, client, lambda: world.relay.metric("relay_budget_exceeded_total") > 0)
    assert world.relay.metric("relay_outbound_queue_bytes") <= 2000000
    world.relay.log.wait("budget_exceeded")
    daemon.close()
    client.close()


def test_slow_peer_that_wakes_up_reads_why(world):
    """Whole messages, then 4008: nothing half, nothing out of order."""
    daemon, client = slow_daemon(world), world.client()
    before = world.relay.metric("relay_ws_slow_client_terminated_total")
    flood(
        world,
        client,
        lambda: world.relay.metric("relay_ws_slow_client_terminated_total") > before,
    )
    got = daemon.recv()
    while got.opcode == ws.TEXT:
        assert got.payload.decode() == BIG
        got = daemon.recv()
    assert (got.opcode, got.payload) == (ws.CLOSE, ws.close_payload(4008, "buffer overflow"))


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_reader_of_small_chunks_gets_everything(world, chunk):
    daemon, client = world.daemon(), world.client()
    text = f.text(f.e2ee(ciphertext="y" * (300 if chunk == 1 else 20000)))
    client.send(text)
    data = b""
    want = len(ws.frame(ws.TEXT, text, key=None))
    while len(data) < want:
        data += daemon.sock.recv(min(chunk, want - len(data)))
    assert data == ws.frame(ws.TEXT, text, key=None)
