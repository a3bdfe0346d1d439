# SPDX-License-Identifier: Apache-2.0
"""A platform that lies, is slow, talks too much or breaks off, and a bus with forged, replayed and late
frames: each is counted under its name, and what was sound goes on (spec 8.1, 8.2, 7.6, "Bad input")."""
import json
import threading
import time

import pytest

from lib import bus as b
from lib import frames as f
from lib.platform import Answer
from lib.relays import Relays
from lib.wait import eventually

CELL_LIMIT = 65536


@pytest.fixture(scope="module")
def relays():
    fleet = Relays(
        RELAY_INTERNAL_API_TIMEOUT_MS=2000, RELAY_MAX_FRAME_BYTES=CELL_LIMIT,
        RELAY_BUS_PULL_WAIT_MS=200, RELAY_INTERNAL_API_MAX_RESPONSE_BYTES=4096,
        RELAY_BUS_PULL_LIMIT=64,
    )
    yield fleet
    fleet.stop()


@pytest.fixture
def cell(relays):
    yield relays.cell()
    relays.bus.instead.clear()
    for world in relays.worlds.values():
        eventually(lambda w=world: w.relay.metric("relay_backplane_links_down") == 0, "the bus is back")


def added(world, before):
    after = world.relay.metrics()
    return {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}


def wait_added(world, before, name, count=1):
    return eventually(lambda: added(world, before).get(name, 0) >= count, f"{name} + {count}")


def daemon_on(relays, world):
    daemon = world.daemon()
    relays.bus.wait_presence(world, world.relay.env["RELAY_ID"])
    return daemon


def frame_for(world, payload=None, **more):
    fields = {
        "workspaceId": world.workspace, "runtimeTargetId": world.target, "sourceRelayId": "relay-x",
        "targetRelayId": world.relay.env["RELAY_ID"], "direction": "client_to_daemon",
        "payload": f.text(payload or f.e2ee()), **more,
    }
    return {k: v for k, v in fields.items() if v is not None}


# ---- Frames that are not to be believed

REJECTED = "relay_bus_frames_rejected_total"
INVALID = "relay_bus_pull_invalid_signature_total"
STALE = "relay_bus_pull_stale_signature_total"
REPLAYED = "relay_bus_pull_replayed_signature_total"
TOO_LARGE = "relay_bus_pull_frame_too_large_total"
DROPPED = "relay_bus_frames_dropped_total"


def now_ms():
    return time.time_ns() // 1_000_000


def resigned(frame, **changes):
    return {**frame, **changes}


# name: (a function from a sound, signed frame to what is on the bus instead, counter, log reason)
BAD_FRAMES = {
    "payload changed": (lambda s: resigned(s, payload=f.text(f.e2ee("other"))), INVALID, "invalid_signature"),
    "target changed": (lambda s: resigned(s, sourceRelayId="relay-y"), INVALID, "invalid_signature"),
    "other key": (lambda s: {**s, "signature": b.signature(s, "another key")}, INVALID, "invalid_signature"),
    "unsigned": (lambda s: {k: v for k, v in s.items() if k != "signature"}, INVALID, "invalid_signature"),
    "no time": (lambda s: {k: v for k, v in s.items() if k != "issuedAtMs"}, INVALID, "invalid_signature"),
    "blank signature": (lambda s: resigned(s, signature=" "), INVALID, "invalid_signature"),
    "padded signature": (lambda s: resigned(s, signature=s["signature"] + "="), INVALID, "invalid_signature"),
    "20 s behind": (lambda s: b.signed(**{**s, "issuedAtMs": now_ms() - 20_000}), STALE, "stale_signature"),
    "20 s ahead": (lambda s: b.signed(**{**s, "issuedAtMs": now_ms() + 20_000}), STALE, "stale_signature"),
    "too large": (
        lambda s: b.signed(**{**s, "payload": f.text(f.e2ee(ciphertext="x" * CELL_LIMIT))}),
        TOO_LARGE, "frame_too_large",
    ),
    "no frame": (lambda s: b.signed(**{**s, "payload": "{}"}), REJECTED, "invalid_client_frame"),
    "plaintext": (
        lambda s: b.signed(**{**s, "payload": '{"type":"command","run":"rm"}'}), REJECTED, "invalid_client_frame"
    ),
    "a daemon's frame": (
        lambda s: b.signed(**{**s, "payload": f.text(f.response_v3())}), REJECTED, "invalid_client_frame"
    ),
    "for its own relay": (
        lambda s: b.signed(**{**s, "payload": f.text(f.subscribe())}), REJECTED, "invalid_client_frame"
    ),
    "target of another form": (
        lambda s: b.signed(**{**s, "runtimeTargetId": "../" + s["runtimeTargetId"]}), REJECTED, "invalid_id"
    ),
    "endless target": (lambda s: b.signed(**{**s, "runtimeTargetId": "t" * 129}), REJECTED, "invalid_id"),
    "endless source": (lambda s: b.signed(**{**s, "sourceRelayId": "r" * 513}), REJECTED, "invalid_id"),
    "source in two lines": (lambda s: b.signed(**{**s, "sourceRelayId": "a\nb"}), REJECTED, "invalid_id"),
    "machine in two lines": (lambda s: b.signed(**{**s, "machineId": "a\nb"}), REJECTED, "invalid_id"),
    "payload no text": (lambda s: resigned(s, payload={"type": "e2ee"}), REJECTED, "malformed"),
    "no direction": (lambda s: resigned(s, direction="sideways"), REJECTED, "malformed"),
    "no workspace": (lambda s: resigned(s, workspaceId=7), REJECTED, "malformed"),
    "nobody there": (
        lambda s: b.signed(**{**s, "runtimeTargetId": "rt_nobody"}), DROPPED, "daemon_unavailable"
    ),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frame(relays, cell, name):
    bend, counter, reason = BAD_FRAMES[name]
    here, _ = cell
    daemon = daemon_on(relays, here)
    cells = len(here.relay.state()["workspaces"])
    before, mark = here.relay.metrics(), here.relay.log.mark()
    relays.bus.store(bend(b.signed(**frame_for(here))))
    wait_added(here, before, counter)
    event = "bus_frame_dropped" if counter == DROPPED else "bus_frame_rejected"
    eventually(  # lines of one event are limited, and the cases follow one another closely
        lambda: here.relay.log.find(event, mark, reason=reason)
        or any(x["details"]["event"] == event for x in here.relay.log.all("log_lines_suppressed", mark)),
        f"{event} {reason} in the log",
    )
    sound = b.signed(**frame_for(here, f.e2ee("after")))
    relays.bus.store(sound)
    assert daemon.recv_text() == sound["payload"]  # and nothing before it
    changes = added(here, before)
    assert changes[counter] == 1
    assert changes["relay_bus_frames_to_daemon_total"] == 1
    assert len(here.relay.state()["workspaces"]) == cells  # nothing was made for it


def test_replayed_and_reordered(relays, cell):
    here, _ = cell
    daemon = daemon_on(relays, here)
    before = here.relay.metrics()
    base = now_ms()
    first = b.signed(**frame_for(here, f.e2ee("1"), issuedAtMs=base))
    second = b.signed(**frame_for(here, f.e2ee("2"), issuedAtMs=base + 1))
    twin = b.signed(**frame_for(here, f.e2ee("3"), issuedAtMs=base + 1))
    for frame in (second, second, first, twin, twin):
        relays.bus.store(frame)
    last = b.signed(**frame_for(here, f.e2ee("4"), issuedAtMs=base + 2))
    relays.bus.store(last)
    assert [daemon.recv_text() for _ in range(3)] == [x["payload"] for x in (second, twin, last)]
    assert added(here, before)[REPLAYED] == 3


def test_frames_for_others_are_no_matter(relays, cell):
    """A platform that gives everybody everything: what is another's, or our own, is left alone."""
    here, _ = cell
    daemon = daemon_on(relays, here)

    def pull(body):
        if body["relayId"] != "relay-a":
            return None
        with relays.bus.changed:
            return Answer(200, {"ok": True, "frames": [x for x in relays.bus.frames if x["id"] > body["sinceId"]]})

    relays.bus.instead["bus/pull"] = pull
    before = here.relay.metrics()
    wait_added(here, before, "relay_bus_pull_ok_total", 2)  # the honest one before has come back
    sound = b.signed(**frame_for(here))
    with relays.bus.changed:
        relays.bus.store(b.signed(**frame_for(here, targetRelayId="relay-q")))
        relays.bus.store(b.signed(**frame_for(here, sourceRelayId="relay-a")))
        relays.bus.store(sound)
    assert daemon.recv_text() == sound["payload"]
    wait_added(here, before, "relay_bus_frames_to_daemon_total")
    changes = added(here, before)
    assert changes["relay_bus_frames_to_daemon_total"] == 1
    for counter in (REJECTED, INVALID, REPLAYED, DROPPED):
        assert counter not in changes


def test_same_ids_again(relays, cell):
    """A platform that ignores sinceId keeps nobody busy, and nothing is delivered twice."""
    here, _ = cell
    daemon = daemon_on(relays, here)
    stored = relays.bus.store(b.signed(**frame_for(here)))
    assert daemon.recv_text() == stored["payload"]
    before = here.relay.metrics()
    relays.bus.instead["bus/pull"] = lambda body: (
        Answer(200, {"ok": True, "frames": [stored]}) if body["relayId"] == "relay-a" else None
    )
    wait_added(here, before, 'relay_bus_pull_failures_total{reason="bad_answer"}', 3)
    daemon.expect_silence_until(b"nothing again")
    changes = added(here, before)
    assert changes[REJECTED] == changes['relay_bus_pull_failures_total{reason="bad_answer"}']


# ---- Answers of the platform

def huge(_):
    return Answer(200, {"ok": True, "x": "y" * 400_000})


def silent(_):
    return Answer(fault="silence")


ANSWERS = {
    "silence": (silent, "timeout"),
    "reset": (lambda _: Answer(fault="reset"), "unreachable"),
    "cut": (lambda _: Answer(200, {"ok": True}, fault="cut"), "unreachable"),
    "500": (lambda _: Answer(500, {"ok": True}), "status"),
    "redirect": (lambda _: Answer(307, b"", [("Location", "/")]), "status"),
    "no": (lambda _: Answer(200, {"ok": False}), "refused"),
    "no JSON": (lambda _: Answer(200, b"<html>"), "bad_answer"),
    "nothing": (lambda _: Answer(200, b""), "bad_answer"),
    "an array": (lambda _: Answer(200, [1]), "bad_answer"),
    "ok no boolean": (lambda _: Answer(200, {"ok": "true"}), "bad_answer"),
    "too large": (huge, "answer_too_large"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_bad_answer_to_a_publish(relays, cell, name):
    answer, reason = ANSWERS[name]
    here, there = cell
    daemon = daemon_on(relays, here)
    client = there.client()
    client.send(f.text(f.e2ee("before")))
    assert "before" in daemon.recv_text()
    eventually(lambda: there.relay.metric("relay_client_messages_routed_bus_total") > 0, "counted")
    before, mark = there.relay.metrics(), there.relay.log.mark()
    relays.bus.instead["bus/publish"] = answer
    client.send(f.text(f.e2ee("lost")))
    assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
    relays.bus.instead.clear()
    client.send(f.text(f.e2ee("after")))
    assert "after" in daemon.recv_text()
    line = there.relay.log.wait("client_message_dropped", mark, workspaceId=there.workspace)
    assert line["details"]["detail"] == reason
    wait_added(there, before, "relay_bus_publish_ok_total")
    changes = added(there, before)
    assert changes[f'relay_bus_publish_failures_total{{reason="{reason}"}}'] == 1
    assert changes["relay_bus_publish_failed_total"] == 1
    assert changes["relay_client_messages_dropped_total"] == 1
    assert changes["relay_client_messages_routed_bus_total"] == 1


RESOLVES = {
    **ANSWERS,
    "id no text": (
        lambda _: Answer(200, {"ok": True, "daemonConnected": True, "relayId": 7, "relayWsBaseUrl": "ws://x/ws"}),
        "bad_answer",
    ),
    "endless id": (
        lambda _: Answer(
            200, {"ok": True, "daemonConnected": True, "relayId": "r" * 513, "relayWsBaseUrl": "ws://x/ws"}
        ),
        "bad_answer",
    ),
}


@pytest.mark.parametrize("name", RESOLVES)
def test_bad_answer_to_a_look_up(relays, cell, name):
    answer, reason = RESOLVES[name]
    here, there = cell
    daemon = daemon_on(relays, here)
    client = there.client()
    before, mark = there.relay.metrics(), there.relay.log.mark()
    relays.bus.instead["presence/resolve"] = answer
    client.send(f.text(f.e2ee("lost")))
    assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
    relays.bus.instead.clear()
    there.relay.log.wait("relay_presence_resolve_error", mark, reason=reason)
    client.send(f.text(f.e2ee("after")))
    assert "after" in daemon.recv_text()
    changes = added(there, before)
    assert changes["relay_presence_resolve_failed_total"] == 1
    assert changes[f'relay_presence_failures_total{{reason="{reason}"}}'] == 1


@pytest.mark.parametrize("record", [
    {"daemonConnected": False, "relayId": "relay-a", "relayWsBaseUrl": "ws://x/ws"},
    {"daemonConnected": True, "relayId": "relay-a", "relayWsBaseUrl": "ws://x/ws", "stale": True},
    {"daemonConnected": True, "relayId": "", "relayWsBaseUrl": "ws://x/ws"},
    {"daemonConnected": True, "relayId": "relay-a", "relayWsBaseUrl": ""},
    {"daemonConnected": True, "relayId": "relay-b", "relayWsBaseUrl": "ws://x/ws"},  # ourselves
    {"daemonConnected": "yes", "relayId": "relay-a", "relayWsBaseUrl": "ws://x/ws"},
    {},
])
def test_records_of_nobody(relays, cell, record):
    _, there = cell
    client = there.client()
    published = len(relays.bus.bodies("bus/publish"))
    relays.bus.instead["presence/resolve"] = lambda _: Answer(200, {"ok": True, **record})
    client.send(f.text(f.e2ee()))
    assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
    assert len(relays.bus.bodies("bus/publish")) == published


@pytest.mark.parametrize("name", [n for n in ANSWERS if n != "too large"])
def test_bad_answer_to_a_pull(relays, cell, name):
    answer, reason = ANSWERS[name]
    here, _ = cell
    daemon = daemon_on(relays, here)
    before, mark = here.relay.metrics(), here.relay.log.mark()
    relays.bus.instead["bus/pull"] = lambda body: answer(body) if body["relayId"] == "relay-a" else None
    wait_added(here, before, f'relay_bus_pull_failures_total{{reason="{reason}"}}', 2)
    here.relay.log.wait("backplane_down", mark)
    health = here.relay.request("GET", "/health")
    assert health.status == 200 and health.json()["ok"] is True
    assert health.json()["status"] == "degraded" and health.json()["backplaneDownSince"]
    assert not here.relay.state()["backplane"][0]["up"]
    near = here.client()
    near.send(f.text(f.e2ee("near")))
    assert "near" in daemon.recv_text()  # local traffic goes on
    relays.bus.instead.clear()
    here.relay.log.wait("backplane_up", mark)
    assert here.relay.request("GET", "/health").json()["status"] == "ok"
    stored = relays.bus.store(b.signed(**frame_for(here, f.e2ee("after"))))
    assert daemon.recv_text() == stored["payload"]


def test_too_much_at_once_is_asked_for_in_smaller_pieces(relays, cell):
    here, _ = cell
    daemon = daemon_on(relays, here)
    before = here.relay.metrics()
    payloads = [f.e2ee(f"s{n}", ciphertext="x" * 30000) for n in range(32)]
    with relays.bus.changed:  # all of them are there before the first is pulled
        for payload in payloads:
            relays.bus.store(b.signed(**frame_for(here, payload)))
    for payload in payloads:
        assert daemon.recv_text() == f.text(payload)
    changes = added(here, before)
    assert changes['relay_bus_pull_failures_total{reason="answer_too_large"}'] >= 1
    assert "relay_backplane_losses_total" not in changes


def test_a_platform_that_does_not_wait(relays, cell):
    """Empty answers at once: the pause is RELAY_BUS_POLL_INTERVAL_MS, not none."""
    here, _ = cell
    daemon = daemon_on(relays, here)

    def pull(body):
        return Answer(200, relays.bus._pull({**body, "waitMs": 0}))

    relays.bus.instead["bus/pull"] = pull
    before = here.relay.metrics()
    started = time.monotonic()
    wait_added(here, before, "relay_bus_pull_ok_total", 4)
    pulls = added(here, before)["relay_bus_pull_ok_total"]
    assert pulls <= (time.monotonic() - started) / 0.25 + 2
    stored = relays.bus.store(b.signed(**frame_for(here)))
    assert daemon.recv_text() == stored["payload"]


def test_batch_answers_that_do_not_fit():
    """Results for other frames than those that were sent: none of them counts as stored."""
    fleet = Relays(batch=True)
    try:
        here, there = fleet.cell()
        daemon = daemon_on(fleet, here)
        client = there.client()
        client.send(f.text(f.e2ee("first")))
        assert "first" in daemon.recv_text()  # the platform has said that it takes batches
        gate = threading.Event()

        def publish(body):
            if "frames" not in body:
                gate.wait(5)
                return Answer(200, {"ok": True, "batch": True})
            return Answer(200, {"ok": True, "batch": True, "results": [True] * (len(body["frames"]) + 1)})

        there.relay.wait_metric("relay_bus_publish_ok_total", 1)
        fleet.bus.instead["bus/publish"] = publish
        before = there.relay.metrics()
        client.send(f.text(f.e2ee("held up")))
        fleet.bus.wait_until(lambda: len([1 for n, _ in fleet.bus.calls if n == "bus/publish"]) >= 2, "a call")
        for n in range(5):
            client.send(f.text(f.e2ee(f"batch {n}")))
        client.expect_silence_until(b"all are queued")
        gate.set()
        for _ in range(5):
            assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
        changes = added(there, before)
        assert changes['relay_bus_publish_failures_total{reason="bad_answer"}'] == 5
        assert changes["relay_bus_publish_ok_total"] == 1
    finally:
        fleet.stop()


def test_batches_refused(relays):
    """A platform that stops taking batches gets single frames again."""
    fleet = Relays(batch=True)
    try:
        here, there = fleet.cell()
        daemon = daemon_on(fleet, here)
        client = there.client()
        client.send(f.text(f.e2ee("first")))
        assert "first" in daemon.recv_text()
        gate = threading.Event()

        def publish(body):
            if "frames" in body:
                fleet.bus.batch = False
                return Answer(400, {"ok": False, "reason": "BAD_REQUEST"})
            gate.wait(5)
            return None

        fleet.bus.instead["bus/publish"] = publish
        client.send(f.text(f.e2ee("held up")))
        fleet.bus.wait_until(lambda: len([1 for n, _ in fleet.bus.calls if n == "bus/publish"]) >= 2, "a call")
        for n in range(5):
            client.send(f.text(f.e2ee(f"batch {n}")))
        client.expect_silence_until(b"all are queued")
        gate.set()
        for _ in range(5):
            assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
        for n in range(3):
            client.send(f.text(f.e2ee(f"after {n}")))
        assert "held up" in daemon.recv_text()
        for n in range(3):
            assert json.loads(daemon.recv_text())["sessionId"] == f"after {n}"
    finally:
        fleet.stop()
