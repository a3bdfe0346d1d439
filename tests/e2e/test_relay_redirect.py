# SPDX-License-Identifier: Apache-2.0
"""Clients are told which relay has their daemon (spec section 10, ADR 0009)."""
import asyncio

import pytest
import websockets

from lib import frames as f
from lib.platform import Answer
from lib.relays import Relays
from lib.wait import eventually


def redirect_status(world, url, target=None):
    return f.text(
        {
            "type": "relay_status",
            "code": "RELAY_REDIRECT",
            "message": "Workspace is assigned to a different relay instance",
            "workspaceId": world.workspace,
            **({"runtimeTargetId": target} if target else {}),
            "relayWsBaseUrl": url,
        }
    )


@pytest.fixture(scope="module")
def relays():
    """Both redirect: a by frames, b by 307; c lets the client choose; d only to hosts it knows."""
    fleet = Relays(names=(), RELAY_CLIENT_REDIRECT_ENABLED=1)
    fleet.start("a")
    fleet.start("b", RELAY_CLIENT_REDIRECT_STYLE="http")
    fleet.start("c", RELAY_CLIENT_REDIRECT_STYLE="auto")
    fleet.start("d", RELAY_REDIRECT_ALLOWED_HOSTS="relay-b.test, relay-c.test")
    yield fleet
    fleet.stop()


@pytest.fixture
def cell(relays):
    yield relays.cell()
    relays.bus.instead.clear()


def daemon_on(relays, world):
    daemon = world.daemon()
    relays.bus.wait_presence(world, world.relay.env["RELAY_ID"])
    return daemon


def test_by_frame_after_the_upgrade_and_once(relays, cell):
    a, b = cell[:2]
    daemon = daemon_on(relays, b)
    before = a.relay.metric("relay_client_redirect_total")
    client = a.client()
    assert client.recv_text() == redirect_status(a, "ws://relay-b.test/ws")
    for n in range(3):
        client.send(f.text(f.e2ee(f"s{n}")))
        assert f"s{n}" in daemon.recv_text()  # frames go on being forwarded
    client.expect_silence_until(b"told once")
    assert a.relay.metric("relay_client_redirect_total") == before + 1


def test_by_frame_when_the_daemon_moves(relays, cell):
    a, b, c, _ = cell
    client = a.client()  # nobody has it yet
    client.expect_silence_until(b"nothing to tell")
    daemon = daemon_on(relays, b)
    client.send(f.text(f.e2ee("s1")))
    assert client.recv_text() == redirect_status(a, "ws://relay-b.test/ws", a.target)
    assert "s1" in daemon.recv_text()
    daemon.close()
    relays.bus.wait_presence(b, None)
    moved = daemon_on(relays, c)
    arrived = c.relay.metric("relay_bus_frames_to_daemon_total")

    def arrives():  # what was looked up is kept for two seconds
        client.send(f.text(f.e2ee("s2")))
        return c.relay.metric("relay_bus_frames_to_daemon_total") > arrived

    eventually(arrives, "a frame at the daemon's new place")
    assert client.recv_text() == redirect_status(a, "ws://relay-c.test/ws", a.target)
    assert "s2" in moved.recv_text()


def test_by_http(relays, cell):
    a, b = cell[:2]
    daemon_on(relays, a)
    token = b.token("client")
    refusal = b.refused(b.path("client", token="to-be-forgotten", redirect="x"), token)
    assert refusal.status == 307
    assert refusal.headers["location"] == (
        f"ws://relay-a.test/ws?role=client&workspaceId={b.workspace}&runtimeTargetId={b.target}"
    )
    assert b.relay.log.wait("client_redirected", workspaceId=b.workspace)


def test_auto_asks_the_client(relays, cell):
    a, _, c, _ = cell
    daemon_on(relays, a)
    refusal = c.refused(c.path("client", redirect="http"), c.token("client"))
    assert refusal.status == 307
    client = c.client()
    assert client.recv_text() == redirect_status(c, "ws://relay-a.test/ws")


def test_daemon_here_means_no_redirect(relays, cell):
    b = cell[1]
    daemon = daemon_on(relays, b)
    client = b.client()
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())


@pytest.mark.parametrize("claims, reason", [
    ({"runtimeTargetId": "rt_2"}, "runtime target claim mismatch"),
    ({"workspaceId": "ws_2"}, "workspace claim mismatch"),
])
def test_not_for_who_may_not_have_the_daemon(relays, cell, claims, reason):
    """The look-up would tell where it is."""
    a, b = cell[:2]
    daemon_on(relays, a)
    client = b.join("client", **{"scope": "runtime", **claims})
    client.expect_close(4008, reason)


def test_a_look_up_that_fails_fails_nothing(relays, cell):
    a, b = cell[:2]
    daemon_on(relays, a)
    relays.bus.instead["presence/resolve"] = lambda _: Answer(500, b"")
    client = b.client()
    client.send(f.text(f.e2ee()))
    assert client.recv_text() == f.unavailable_status(b.workspace, b.target)


UNUSABLE = [
    "http://relay-b.test/ws", "ws://user@relay-b.test/ws", "ws://relay-b.test/ws?x=1",
    "ws://relay-b.test/ws#x", "ws:///ws", "relay-b.test", "ws://relay-b.test/ws\r\nX: y",
    "ws://relay-b.test/" + "x" * 2048, "ws://relay-b.test/w s",
]


@pytest.mark.parametrize("url", UNUSABLE)
def test_an_unusable_url_voids_only_the_redirect(relays, cell, url):
    a, b = cell[:2]
    daemon = daemon_on(relays, b)
    record = relays.bus.presence[b.workspace, b.target]
    relays.bus.presence[b.workspace, b.target] = {**record, "relayWsBaseUrl": url}
    mark = a.relay.log.mark()
    client = a.client()
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    client.expect_silence_until(b"not told")
    event = "relay_presence_resolve_invalid_redirect"  # of which so many lines a second are written
    eventually(
        lambda: a.relay.log.find(event, mark)
        or any(x["details"]["event"] == event for x in a.relay.log.all("log_lines_suppressed", mark)),
        f"{event} in the log",
    )


def test_only_hosts_that_are_allowed(relays, cell):
    a, _, _, d = cell
    daemon = daemon_on(relays, a)
    client = d.client()
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    client.expect_silence_until(b"relay-a is not on the list")
    _, b, _, d = relays.cell()
    daemon_on(relays, b)
    client = d.client()
    assert client.recv_text() == redirect_status(d, "ws://relay-b.test/ws")


def test_not_to_our_own_url(relays, cell):
    a, b = cell[:2]
    daemon = daemon_on(relays, b)
    record = relays.bus.presence[b.workspace, b.target]
    relays.bus.presence[b.workspace, b.target] = {**record, "relayWsBaseUrl": "ws://relay-a.test/ws"}
    client = a.client()
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    client.expect_silence_until(b"told nothing")


def test_a_client_that_follows():
    """python3-websockets follows a 307: it asks one relay and ends up at the one that has its daemon."""
    fleet = Relays(
        names=(), RELAY_CLIENT_REDIRECT_ENABLED=1, RELAY_CLIENT_REDIRECT_STYLE="http",
        RELAY_PUBLIC_WS_BASE_URL=None, RELAY_TLS_HOST="127.0.0.1",
    )
    try:
        fleet.start("a")
        fleet.start("b")
        here, there = fleet.cell()
        daemon = daemon_on(fleet, here)

        async def talk():
            url = f"ws://{there.relay.host}:{there.relay.port}{there.path('client')}"
            headers = {"Authorization": f"Bearer {there.token('client')}"}
            async with websockets.connect(url, extra_headers=headers) as client:
                await client.send(f.text(f.e2ee()))
                here.relay.log.wait("client_connected", workspaceId=here.workspace)
                assert await asyncio.to_thread(daemon.recv_text) == f.text(f.e2ee())

        asyncio.run(talk())
        assert there.relay.log.find("client_connected", workspaceId=here.workspace) is None
        assert there.relay.log.wait("client_redirected")
    finally:
        fleet.stop()


def test_without_the_bus():
    """Presence and redirect alone: nothing is forwarded, and nothing pulled."""
    fleet = Relays(RELAY_CLIENT_REDIRECT_ENABLED=1, RELAY_BUS_ENABLED=0, RELAY_BUS_HMAC_KEY=None)
    try:
        here, there = fleet.cell()
        daemon = daemon_on(fleet, here)
        client = there.client()
        assert client.recv_text() == redirect_status(there, "ws://relay-a.test/ws")
        client.send(f.text(f.e2ee()))
        assert client.recv_text() == f.unavailable_status(there.workspace, there.target)
        daemon.expect_silence_until(b"nothing came")
        assert not fleet.bus.bodies("bus/pull") and not fleet.bus.bodies("bus/publish")
        assert there.relay.request("GET", "/health").json()["status"] == "ok"
    finally:
        fleet.stop()
