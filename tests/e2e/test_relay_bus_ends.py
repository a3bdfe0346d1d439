# SPDX-License-Identifier: Apache-2.0
"""How relays of a bus come and go, and that the books balance: every frame is delivered once and in
order, or counted under a name (spec 13; 14, 2 and 9)."""
import json
import random
import signal
import threading

import pytest

from lib import bus as b
from lib import frames as f
from lib.platform import Answer
from lib.relays import Relays
from lib.wait import eventually


@pytest.fixture
def fleet():
    made = []

    def make(**options):
        made.append(Relays(**options))
        return made[-1]

    yield make
    for relays in made:
        relays.stop()


def daemon_on(relays, world, **claims):
    daemon = world.daemon(**claims)
    relays.bus.wait_presence(world, world.relay.env["RELAY_ID"])
    return daemon


def test_presence_is_written_again_and_again(fleet):
    relays = fleet(names=("a",), RELAY_PRESENCE_SYNC_INTERVAL_MS=200)
    (here,) = relays.cell()
    daemon = daemon_on(relays, here, machineId="m_1")
    relays.bus.wait_until(
        lambda: len([x for n, x in relays.bus.calls if n == "presence/upsert" and x["daemonConnected"]]) >= 4,
        "four writes",
    )
    assert {x["machineId"] for x in relays.bus.bodies("presence/upsert")} == {"m_1"}
    daemon.close()
    relays.bus.wait_presence(here, None)


def test_a_write_that_failed_is_done_again(fleet):
    relays = fleet(names=("a",))
    (here,) = relays.cell()
    relays.bus.instead["presence/upsert"] = lambda _: Answer(503, b"")
    here.daemon()
    here.relay.log.wait("relay_presence_upsert_failed", reason="status")
    relays.bus.instead.clear()
    relays.bus.wait_presence(here, "relay-a")  # long before the sync interval of 20 s
    here.relay.wait_metric("relay_presence_upsert_ok_total", 1)
    metrics = here.relay.metrics()
    assert metrics["relay_presence_upsert_failed_total"] == metrics[
        'relay_presence_failures_total{reason="status"}'
    ]


def test_a_late_withdrawal_is_not_the_last_word(fleet):
    """Leaving and coming back while the platform is slow: what was asked last is what stays."""
    relays = fleet(names=("a",))
    (here,) = relays.cell()
    gate = threading.Event()
    relays.bus.instead["presence/upsert"] = lambda _: gate.wait(1) and None
    for _ in range(3):
        here.daemon().close()
    eventually(
        lambda: here.relay.metric("relay_connections_total") == 0, "all of them have left"
    )
    here.daemon()
    gate.set()
    relays.bus.wait_presence(here, "relay-a")
    eventually(
        lambda: here.relay.metric("relay_presence_upsert_ok_total") == 7, "seven calls are answered"
    )
    assert relays.bus.presence[here.workspace, here.target]["relayId"] == "relay-a"
    writes = [x["daemonConnected"] for x in relays.bus.bodies("presence/upsert")]
    assert writes[-1] is True and len(writes) < 7  # what had become useless was left out


@pytest.mark.parametrize("platform", ["fine", "silent"])
def test_sigterm_withdraws_and_ends_in_time(fleet, platform):
    relays = fleet(names=("a", "b"))
    here, there = relays.cell()
    daemon = daemon_on(relays, here)
    client = there.client()
    client.send(f.text(f.e2ee()))
    daemon.recv_text()
    if platform == "silent":
        for name in ("presence/upsert", "presence/resolve", "bus/publish"):
            relays.bus.instead[name] = lambda _: Answer(fault="silence")
    here.relay.signal(signal.SIGTERM)
    daemon.expect_close(1001, "relay shutting down")
    assert here.relay.wait() == 0  # whatever its calls would still wait for
    here.relay.check_sanitizers()
    if platform == "fine":
        assert (here.workspace, here.target) not in relays.bus.presence
        writes = [x["daemonConnected"] for x in relays.bus.bodies("presence/upsert")]
        assert writes == [True, False]
    relays.bus.instead.clear()


def test_presence_stays_while_load_balancers_turn_away(fleet):
    """For RELAY_DRAIN_TIME_MS everybody is served, also from elsewhere; then presence goes."""
    relays = fleet(RELAY_DRAIN_TIME_MS=3000)
    here, there = relays.cell()
    daemon = daemon_on(relays, here)
    client = there.client()
    here.relay.signal(signal.SIGTERM)

    def drains():
        answer = here.relay.request("GET", "/health")
        return answer if answer.status == 503 else None

    assert eventually(drains, "it says that it drains").json()["status"] == "unavailable"
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    relays.bus.wait_presence(here, None)
    daemon.expect_close(1001, "relay shutting down")
    assert here.relay.wait() == 0


def test_a_killed_relay_is_found_out(fleet):
    """Its record stays until it is stale; who sends there is heard by nobody, and the next look-up,
    when the record has gone, tells the client."""
    relays = fleet(names=("a", "b"))
    here, there = relays.cell()
    daemon_on(relays, here)
    client = there.client()
    here.relay.kill()
    with relays.bus.changed:
        del relays.bus.presence[here.workspace, here.target]  # as a platform does after 45 s
    client.send(f.text(f.e2ee()))
    assert client.recv_text() == f.unavailable_status(there.workspace, there.target)


def test_restarted_under_its_name(fleet):
    """Frames for the process before it are not delivered again, and new ones are."""
    relays = fleet(names=("a", "b"))
    here, there = relays.cell()
    daemon = daemon_on(relays, here)
    client = there.client()
    for n in range(5):
        client.send(f.text(f.e2ee(f"old {n}")))
        assert f"old {n}" in daemon.recv_text()
    here.relay.kill()
    again = relays.start("a")
    again.workspace = here.workspace
    assert again.relay.log.wait("bus_frame_rejected", reason="before_start")
    daemon = daemon_on(relays, again)
    client.send(f.text(f.e2ee("new")))
    assert "new" in daemon.recv_text()
    assert again.relay.metric("relay_bus_frames_dropped_total") == 5


def test_the_platform_restarts(fleet):
    """It is away for a while, and comes back with nothing in its store."""
    relays = fleet(names=("a", "b"))
    here, there = relays.cell()
    daemon = daemon_on(relays, here)
    client = there.client()
    client.send(f.text(f.e2ee("before")))
    assert "before" in daemon.recv_text()
    marks = here.relay.log.mark(), there.relay.log.mark()
    for name in ("presence/upsert", "presence/resolve", "bus/publish", "bus/pull"):
        relays.bus.instead[name] = lambda _: Answer(fault="reset")
    for world, mark in zip((here, there), marks):
        world.relay.log.wait("backplane_down", mark)
    with relays.bus.changed:
        relays.bus.presence.clear()
    near = here.client()
    near.send(f.text(f.e2ee("near")))
    assert "near" in daemon.recv_text()
    client.send(f.text(f.e2ee("lost")))
    assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
    relays.bus.instead.clear()
    for world, mark in zip((here, there), marks):
        world.relay.log.wait("backplane_up", mark)
    relays.bus.wait_presence(here, "relay-a")  # written anew without waiting for the interval
    client.send(f.text(f.e2ee("after")))
    assert "after" in daemon.recv_text()


def test_held_frames_are_bounded(fleet):
    """More than 256 of a client: the client is told at once, and the others are not lost."""
    relays = fleet(batch=True)
    here, there = relays.cell()
    daemon = daemon_on(relays, here)
    client = there.client()
    opened = []
    relays.bus.instead["presence/resolve"] = (
        lambda body: relays.bus.wait_until(lambda: opened, "the gate") and None
    )
    for n in range(1, 261):
        client.send(f.text(f.e2ee("s1", n)))
    for _ in range(4):
        assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
    with relays.bus.changed:
        opened.append(1)
        relays.bus.changed.notify_all()
    assert [json.loads(daemon.recv_text())["seq"] for _ in range(256)] == list(range(1, 257))
    assert there.relay.metric("relay_client_messages_dropped_total") == 4


RECEIVED = (
    "relay_bus_frames_to_daemon_total relay_bus_frames_to_clients_total relay_bus_frames_dropped_total "
    "relay_bus_frames_rejected_total relay_bus_frames_daemon_rate_limited_total "
    "relay_bus_pull_frame_too_large_total relay_bus_pull_invalid_signature_total "
    "relay_bus_pull_stale_signature_total relay_bus_pull_replayed_signature_total"
).split()


@pytest.mark.parametrize("batch", [False, True], ids=["single frames", "batches"])
def test_the_columns_add_up(fleet, batch):
    """Frames both ways while the platform fails at random, loses and repeats frames: what each side
    sent is what the other got, and what the counters of the two relays name."""
    relays = fleet(batch=batch)
    here, there = relays.cell()
    daemon = daemon_on(relays, here)
    client = there.client()
    client.send(f.text(f.init_v3("k1")))
    daemon.recv_text()
    daemon.send(f.text(f.response_v3("k1", "s1")))
    client.recv_text()
    chance = random.Random(6)
    lock = threading.Lock()
    forced = {"relay-a": [0, 0.12], "relay-b": [0, 0.12]}  # each fails, and is heard twice, once at least

    def publish(body):
        source = body.get("frames", [body])[0]["sourceRelayId"]
        with lock:
            roll = forced[source].pop(0) if forced[source] else chance.random()
        if roll < 0.05:
            return Answer(500, b"")
        if roll < 0.1:
            return Answer(fault="reset")  # not stored, and the relay cannot know
        if roll < 0.15:
            relays.bus._publish(body)
            for frame in body.get("frames", [body]):
                relays.bus.store(frame)  # everything more than once
        return None

    def pull(body):
        with lock:
            return Answer(200, b"{") if chance.random() < 0.1 else None

    before = {w: w.relay.metrics() for w in (here, there)}
    relays.bus.instead = {"bus/publish": publish, "bus/pull": pull}
    sent = 300
    for n in range(1, sent + 1):
        client.send(f.text(f.e2ee("s1", n)))
        daemon.send(f.text(f.e2ee("s1", n)))

    def diff(world, name):
        return world.relay.metric(name) - before[world].get(name, 0)

    def settled():
        return (
            diff(there, "relay_client_messages_routed_bus_total")
            + diff(there, "relay_client_messages_dropped_total") == sent
            and diff(here, "relay_session_frame_routed_bus_total")
            + diff(here, "relay_session_frame_dropped_total") == sent
        )

    eventually(settled, "every frame has an outcome", timeout=60)
    relays.bus.instead = {}
    stored = {
        w: len([x for x in relays.bus.frames if x["targetRelayId"] == w.relay.env["RELAY_ID"]])
        for w in (here, there)
    }
    for world in (here, there):
        eventually(
            lambda w=world: sum(w.relay.metric(name) for name in RECEIVED) == stored[w],
            "every frame on the bus is counted once", timeout=60,
        )
    to_daemon = int(diff(here, "relay_bus_frames_to_daemon_total"))
    to_client = int(diff(there, "relay_bus_frames_to_clients_total"))
    got = [json.loads(daemon.recv_text())["seq"] for _ in range(to_daemon)]
    assert got == sorted(set(got))  # once, and in order
    seen = []
    statuses = int(diff(there, "relay_client_messages_dropped_total"))
    for _ in range(to_client + statuses):
        frame = json.loads(client.recv_text())
        if frame["type"] == "e2ee":
            seen.append(frame["seq"])
        else:
            assert frame["code"] == "DAEMON_UNAVAILABLE"
    assert len(seen) == to_client and seen == sorted(set(seen))
    for world in (here, there):
        metrics = world.relay.metrics()
        reasons = sum(v for k, v in metrics.items() if k.startswith("relay_bus_publish_failures_total{"))
        assert reasons == metrics["relay_bus_publish_failed_total"] > 0
        assert metrics["relay_bus_pull_replayed_signature_total"] > 0


def test_many_frames_for_one_slow_platform(fleet):
    """More than may wait: what is too much is refused at once, under its name, and nothing grows."""
    relays = fleet()
    here, there = relays.cell()
    daemon = daemon_on(relays, here)
    client = there.client()
    client.send(f.text(f.init_v3("k1")))
    daemon.recv_text()
    daemon.send(f.text(f.response_v3("k1", "s1")))
    client.recv_text()
    eventually(lambda: here.relay.metric("relay_bus_publish_ok_total") == 1, "the answer is counted")
    gate = threading.Event()
    relays.bus.instead["bus/publish"] = lambda _: gate.wait(1) and None
    big = "x" * 900_000
    for n in range(1, 21):
        daemon.send(f.text(f.e2ee("s1", n, ciphertext=big)))
    full = 'relay_bus_publish_failures_total{reason="queue_full"}'
    eventually(lambda: here.relay.metric(full) > 0, "too many wait")
    gate.set()
    eventually(
        lambda: here.relay.metric("relay_session_frame_routed_bus_total")
        + here.relay.metric("relay_session_frame_dropped_total") == 20,
        "every frame has an outcome", timeout=30,
    )
    delivered = int(here.relay.metric("relay_session_frame_routed_bus_total"))
    got = [json.loads(client.recv_text())["seq"] for _ in range(delivered)]
    assert got == sorted(set(got))


def test_books_with_a_key_that_differs(fleet):
    """One relay signs with another key: everything of it is refused, nothing is delivered."""
    relays = fleet(names=("a",))
    relays.start("b", RELAY_BUS_HMAC_KEY="another-key-altogether")
    here, there = relays.cell()
    daemon_on(relays, here)
    client = there.client()
    client.send(f.text(f.e2ee()))
    here.relay.wait_metric("relay_bus_pull_invalid_signature_total", 1)
    assert here.relay.metric("relay_bus_frames_to_daemon_total") == 0


def test_the_reference_vector():
    """The signature that the tests use is the one of the specification (8.1)."""
    frame = {
        "workspaceId": "wss", "runtimeTargetId": "rt", "sourceRelayId": "relay-d", "targetRelayId": "relay-c",
        "direction": "client_to_daemon", "issuedAtMs": 1795224820204, "payload": f.text(f.init_v3("k1")),
    }
    assert b.signature(frame) == "BgjZBl1wZ3Qxq4I-I2X1CUUk-wqv-ZCVYNjUQPXquV8"
