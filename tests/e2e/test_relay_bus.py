# SPDX-License-Identifier: Apache-2.0
"""Two relays on one platform: a daemon on one, clients on the other (spec 7.3, 7.5, 7.6 and 8)."""
import json

import pytest

from lib import bus as b
from lib import frames as f
from lib.relays import Relays
from lib.wait import eventually


@pytest.fixture(scope="module", params=[False, True], ids=["single frames", "batches"])
def relays(request):
    fleet = Relays(batch=request.param)
    yield fleet
    fleet.stop()


@pytest.fixture
def cell(relays):
    return relays.cell()


def added(world, before):
    after = world.relay.metrics()
    return {k: v - before.get(k, 0) for k, v in after.items() if v != before.get(k, 0)}


def handshake(daemon, client, request, session):
    client.send(f.text(f.init_v3(request)))
    assert daemon.recv_text() == f.text(f.init_v3(request))
    daemon.send(f.text(f.response_v3(request, session)))
    assert client.recv_text() == f.text(f.response_v3(request, session))


def daemon_on(relays, world, **claims):
    daemon = world.daemon(**claims)
    relays.bus.wait_presence(world, world.relay.env["RELAY_ID"])
    return daemon


def test_a_session_across_relays(relays, cell):
    here, there = cell
    daemon = daemon_on(relays, here, machineId="m_1")
    client = there.client()
    before = here.relay.metrics(), there.relay.metrics()
    handshake(daemon, client, "k1", "s1")
    for n in range(1, 21):
        client.send(f.text(f.e2ee("s1", n)))
        daemon.send(f.text(f.e2ee("s1", n)))
    for n in range(1, 21):
        assert json.loads(daemon.recv_text())["seq"] == n
        assert json.loads(client.recv_text())["seq"] == n
    daemon.send(f.text(f.key_update("s1")))
    assert client.recv_text() == f.text(f.key_update("s1"))
    eventually(
        lambda: added(here, before[0]).get("relay_session_frame_routed_bus_total") == 21,
        "the daemon's frames counted",
    )
    eventually(
        lambda: added(there, before[1]).get("relay_client_messages_routed_bus_total") == 21,
        "the client's frames counted",
    )
    here_added, there_added = added(here, before[0]), added(there, before[1])
    assert here_added["relay_key_exchange_response_routed_bus_total"] == 1
    assert here_added["relay_bus_frames_to_daemon_total"] == 21
    assert there_added["relay_bus_frames_to_clients_total"] == 22
    assert there_added["relay_session_frame_routed_local_total"] == 21
    assert there_added["relay_key_exchange_response_routed_local_total"] == 1
    for changes, count in ((here_added, 22), (there_added, 21)):
        assert changes["relay_bus_publish_ok_total"] == count
        assert "relay_bus_publish_failed_total" not in changes
        assert "relay_bus_frames_dropped_total" not in changes


def test_clients_of_both_relays_share_a_daemon(relays, cell):
    here, there = cell
    daemon = daemon_on(relays, here)
    near, far = here.client(), there.client()
    handshake(daemon, far, "k1", "far")
    handshake(daemon, near, "k2", "near")
    for session, client in (("near", near), ("far", far), ("far", far), ("near", near)):
        daemon.send(f.text(f.e2ee(session)))
        assert client.recv_text() == f.text(f.e2ee(session))
    near.expect_silence_until(b"nothing else")
    far.expect_silence_until(b"nothing else")


def test_pairing_across_relays(relays, cell):
    here, there = cell
    daemon = daemon_on(relays, here)
    client = there.pairing_client()
    for request, response in (
        (f.offer_request("p1"), f.offer_response("p1")),
        (f.redeem_request("p2"), f.redeem_response("p2")),
    ):
        client.send(f.text(request))
        assert daemon.recv_text() == f.text(request)
        daemon.send(f.text(response))
        assert client.recv_text() == f.text(response)


def test_frames_are_kept_as_they_are(relays, cell):
    here, there = cell
    daemon = daemon_on(relays, here)
    client = there.client()
    odd = ' {"type" : "e2ee",\t"version":2.0,"profile":"noise-ik","sessionId":"s\\u00e4\\ud800",' \
        '"epoch":1,"seq":1,"iv":"a","tag":"b","ciphertext":"ü\\n𝄞","more":[{"x":null}]}\n'
    client.send(odd)
    assert daemon.recv_text() == odd


def test_nobody_has_the_daemon(cell):
    _, there = cell
    client = there.client(machineId="m_7")
    mark = there.relay.log.mark()
    client.send(f.text(f.e2ee()))
    expected = f.unavailable_status(there.workspace, there.target, "m_7")
    assert client.recv_text() == expected
    line = there.relay.log.wait("client_message_dropped", mark, workspaceId=there.workspace)
    assert line["details"]["reason"] == "daemon_unavailable"


def test_daemon_moves(relays, cell):
    here, there = cell
    daemon = daemon_on(relays, here)
    client = there.client()
    handshake(daemon, client, "k1", "s1")
    daemon.close()
    relays.bus.wait_presence(here, None)
    moved = daemon_on(relays, there)
    handshake(moved, client, "k2", "s2")
    moved.send(f.text(f.e2ee("s2")))
    assert client.recv_text() == f.text(f.e2ee("s2"))


def test_held_frames_stay_in_order(relays, cell):
    """All of them are sent while the look-up is held back, and the daemon connects elsewhere."""
    here, there = cell
    daemon = daemon_on(relays, here)
    client = there.client()
    asked = len(relays.bus.bodies("presence/resolve"))
    open_gate = []

    def wait(body):
        if body["workspaceId"] == here.workspace:
            relays.bus.wait_until(lambda: open_gate, "the gate")

    relays.bus.instead["presence/resolve"] = wait
    try:
        for n in range(1, 21):
            client.send(f.text(f.e2ee("s1", n)))
        relays.bus.wait_until(
            lambda: len([1 for name, _ in relays.bus.calls if name == "presence/resolve"]) > asked,
            "a look-up",
        )
        with relays.bus.changed:
            open_gate.append(1)
            relays.bus.changed.notify_all()
        for n in range(1, 21):
            assert json.loads(daemon.recv_text())["seq"] == n
    finally:
        del relays.bus.instead["presence/resolve"]
    resolves = [x for x in relays.bus.bodies("presence/resolve") if x["workspaceId"] == here.workspace]
    assert len(resolves) == 1  # one flight for all of them


def test_a_client_that_leaves_while_its_frames_are_held(relays, cell):
    _, there = cell
    client = there.client()
    before = there.relay.metrics()
    asked = len(relays.bus.bodies("presence/resolve"))
    opened = []
    relays.bus.instead["presence/resolve"] = (
        lambda body: relays.bus.wait_until(lambda: opened, "the gate") and None
    )
    try:
        client.send(f.text(f.e2ee()))
        relays.bus.wait_until(
            lambda: len([1 for name, _ in relays.bus.calls if name == "presence/resolve"]) > asked,
            "a look-up",
        )
        client.close()
        eventually(
            lambda: added(there, before).get("relay_client_messages_dropped_total") == 1, "dropped"
        )
        with relays.bus.changed:
            opened.append(1)
            relays.bus.changed.notify_all()
    finally:
        del relays.bus.instead["presence/resolve"]


def test_session_events_come_from_the_bus(relays, cell):
    here, there = cell
    near, far = here.events_client(), there.events_client()
    other = there.events_client("agent-session:s2")
    for client in (near, far):
        client.send(f.text(f.subscribe()))
        assert "subscribed" in client.recv_text()
    other.send(f.text(f.subscribe("agent-session:s2")))
    assert "subscribed" in other.recv_text()
    event = f.text(f.session_event())
    relays.bus.store(
        b.signed(
            workspaceId=here.workspace, runtimeTargetId=here.target, sourceRelayId="platform",
            targetRelayId=None, direction="daemon_to_clients", payload=event,
        )
    )
    assert near.recv_text() == event
    assert far.recv_text() == event
    other.expect_silence_until(b"nothing for others")


def test_presence_says_who_is_here(relays, cell):
    here, _ = cell
    daemon = daemon_on(relays, here, machineId="m_1")
    record = relays.bus.presence[here.workspace, here.target]
    assert list(record.items()) == [
        ("workspaceId", here.workspace), ("runtimeTargetId", here.target), ("machineId", "m_1"),
        ("relayId", "relay-a"), ("relayWsBaseUrl", "ws://relay-a.test/ws"), ("daemonConnected", True),
    ]
    daemon.close()
    relays.bus.wait_presence(here, None)


def test_state_and_health(relays):
    relay = relays["a"].relay
    state = relay.state()
    assert state["backplaneMode"] == "server" and state["busEnabled"] is True
    assert [(w["worker"], w["up"]) for w in state["backplane"]] == [(0, True), (1, True)]
    health = relay.request("GET", "/health").json()
    assert health["ok"] is True and health["status"] == "ok" and health["relayMode"] == "server"
