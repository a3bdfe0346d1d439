# SPDX-License-Identifier: Apache-2.0
"""Peers that do not read (spec sections 13 and 14, 11): the sender is held back, then they are cut."""
import threading
import time

from lib import frames

RELAY_ENV = {
    "RELAY_MAX_PENDING_BYTES": 200_000,
    "RELAY_MAX_TOTAL_PENDING_BYTES": 100_000_000,
    "RELAY_RUNTIME_RATE_PER_MINUTE": 10_000_000,
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": 10_000_000,
    "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE": 10_000_000,
}
BIG = "c" * 60_000


def session(world, daemon, client, name):
    client.send(frames.text(frames.init_v3(f"k_{name}")))
    daemon.recv_text()
    daemon.send(frames.text(frames.response_v3(f"k_{name}", session=name)))
    client.recv_text()


def test_a_stuck_client_is_cut_and_the_others_go_on(world):
    daemon = world.daemon()
    stuck = world.join("client", peer=world.peer(receive_buffer=4096))
    reader = world.client()
    session(world, daemon, stuck, "rs_stuck")
    session(world, daemon, reader, "rs_reader")
    mark = world.relay.log.mark()
    before = world.relay.metrics()
    sent = []

    def flood():
        for seq in range(1, 200):
            daemon.send(frames.text(frames.e2ee("rs_stuck", seq, ciphertext=BIG)))
            daemon.send(frames.text(frames.e2ee("rs_reader", seq, ciphertext="small")))
            sent.append(seq)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    for seq in range(1, 200):
        assert f'"seq":{seq}' in reader.recv_text().replace(" ", "")
    thread.join(20)
    assert len(sent) == 199
    assert world.relay.log.wait("ws_terminated", mark)["details"]["reason"] == "buffer_overflow"
    after = world.relay.metrics()
    slow = "relay_ws_slow_client_terminated_total"
    assert after[slow] == before[slow] + 1
    assert after["relay_sources_paused_total"] > before["relay_sources_paused_total"]
    routed = "relay_session_frame_routed_local_total"
    dropped = "relay_session_frame_dropped_total"
    handled = after[routed] - before[routed] + after[dropped] - before[dropped]
    assert handled == 2 * 199


def test_a_client_that_reads_late_loses_nothing(world):
    daemon = world.daemon()
    late = world.join("client", peer=world.peer(receive_buffer=4096))
    session(world, daemon, late, "rs_late")
    count = 60

    def flood():
        for seq in range(1, count + 1):
            daemon.send(frames.text(frames.e2ee("rs_late", seq, ciphertext=BIG)))

    thread = threading.Thread(target=flood, daemon=True)
    before = world.relay.metric("relay_sources_paused_total")
    thread.start()
    end = time.monotonic() + 5
    while world.relay.metric("relay_sources_paused_total") == before and time.monotonic() < end:
        pass
    for seq in range(1, count + 1):
        assert f'"seq":{seq}' in late.recv_text().replace(" ", "")
    thread.join(10)


def test_queues_are_empty_at_the_end(world):
    world.relay.wait_metric("relay_outbound_queue_bytes", 0)
