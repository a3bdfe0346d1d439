# SPDX-License-Identifier: Apache-2.0
"""Two real relays, each on a `weir platform` of its own, both on one PostgreSQL: nothing of it is
stubbed. And the same on one platform over SQLite."""
import json
import threading
import time

import pytest

from lib import frames as f
from lib import postgres, weir, ws
from lib.relays import ENV
from lib.selfhosted import INTERNAL_KEY, Platform
from lib.wait import eventually
from lib.world import World


class Fleet:
    """Relay a asks the first platform, relay b the last."""

    def __init__(self, platforms):
        self.platforms = platforms
        self.relays = []
        for name, platform in (("a", platforms[0]), ("b", platforms[-1])):
            self.relays.append(weir.Relay(
                {
                    **ENV,
                    "SERVER_URL": platform.origin,
                    "RELAY_JWKS_URL": f"{platform.origin}/jwks.json",
                    "RELAY_INTERNAL_KEY": INTERNAL_KEY,
                    "RELAY_ID": f"relay-{name}",
                    "RELAY_PUBLIC_WS_BASE_URL": f"ws://relay-{name}.test/ws",
                },
                platform_ports=[platform.port],
            ))

    def cell(self):
        """A workspace of the test's own, at each relay."""
        here = World(self.relays[0], self.platforms[0])
        there = World(self.relays[1], self.platforms[-1])
        there.workspace = here.workspace
        return here, there

    def wait_presence(self, world, relay_id):
        eventually(
            lambda: self.platforms[0].ask("presence/resolve", {
                "workspaceId": world.workspace, "runtimeTargetId": world.target,
            })["relayId"] == relay_id,
            f"presence at {relay_id}",
        )

    def stop(self):
        ws.close_all()
        for relay in self.relays:
            if relay in weir.live:
                relay.stop()
        for platform in self.platforms:
            platform.stop()


@pytest.fixture(scope="module", name="database")
def database_fixture():
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture(scope="module", name="fleet", params=["postgres", "sqlite"])
def fleet_fixture(request, database, tmp_path_factory):
    states = tmp_path_factory.mktemp("states")
    if request.param == "postgres":
        env = {"WEIR_PLATFORM_DATABASE": database.new()}
        platforms = [Platform(states / name, env) for name in ("one", "two")]
    else:
        platforms = [Platform(states / "one")]
    running = Fleet(platforms)
    yield running
    running.stop()


def handshake(daemon, client, session, request="k1"):
    client.send(f.text(f.init_v3(request)))
    assert daemon.recv_text() == f.text(f.init_v3(request))
    daemon.send(f.text(f.response_v3(request, session)))
    assert client.recv_text() == f.text(f.response_v3(request, session))


def test_a_session_across_relays(fleet):
    here, there = fleet.cell()
    daemon = here.daemon(machineId="m_1")
    fleet.wait_presence(here, "relay-a")
    client = there.client()
    handshake(daemon, client, "s1")
    for n in range(1, 201):
        client.send(f.text(f.e2ee("s1", n)))
        daemon.send(f.text(f.e2ee("s1", n)))
    for n in range(1, 201):
        assert json.loads(daemon.recv_text())["seq"] == n
        assert json.loads(client.recv_text())["seq"] == n
    for relay in fleet.relays:
        metrics = relay.metrics()
        assert metrics["relay_bus_frames_dropped_total"] == 0
        assert metrics["relay_bus_publish_failed_total"] == 0


def test_batches_are_found_out(fleet):
    """The platform announces them, and the relay sends what waits together."""
    here, there = fleet.cell()
    daemon = here.daemon()
    fleet.wait_presence(here, "relay-a")
    client = there.client()
    handshake(daemon, client, "s1")
    publishes = fleet.platforms[-1].metric('requests_total{route="publish"}')
    for n in range(1, 501):
        client.send(f.text(f.e2ee("s1", n)))
    for n in range(1, 501):
        assert json.loads(daemon.recv_text())["seq"] == n
    assert fleet.platforms[-1].metric('requests_total{route="publish"}') - publishes < 400


def test_a_daemon_moves_to_the_other_relay(fleet):
    here, there = fleet.cell()
    daemon = here.daemon()
    fleet.wait_presence(here, "relay-a")
    client = there.client()
    handshake(daemon, client, "s1")
    daemon.close()
    fleet.wait_presence(here, None)
    moved = there.daemon()
    fleet.wait_presence(here, "relay-b")
    handshake(moved, client, "s2", "k2")


def test_a_forged_token_gets_in_nowhere(fleet):
    here, there = fleet.cell()
    token = here.token("client")
    head, body, signature = token.split(".")
    other = here.token("client").split(".")[2]
    for world in (here, there):
        assert world.refused(token=f"{head}.{body}.{other}").status == 401
        peer = world.peer()
        peer.upgrade(world.path("client"), f"{head}.{body}.{signature}")


def test_the_database_is_restarted_while_frames_flow(database, tmp_path):
    """Each frame comes at most once and in order, and afterwards all of them come again."""
    env = {"WEIR_PLATFORM_DATABASE": database.new()}
    fleet = Fleet([Platform(tmp_path / name, env) for name in ("one", "two")])
    try:
        here, there = fleet.cell()
        daemon = here.daemon()
        fleet.wait_presence(here, "relay-a")
        client = there.client()
        handshake(daemon, client, "s1")
        seen = []
        over = threading.Event()

        def collect():
            while not over.is_set():
                try:
                    frame = json.loads(daemon.recv_text())
                except (AssertionError, OSError, ws.Closed):
                    return
                if frame["type"] == "e2ee":
                    seen.append(frame["seq"])

        reader = threading.Thread(target=collect, daemon=True)
        reader.start()
        sent = 0

        def send_until(condition, what):
            nonlocal sent
            end = time.monotonic() + 60
            while not condition():
                assert time.monotonic() < end, what
                sent += 1
                client.send(f.text(f.e2ee("s1", sent)))
                over.wait(0.005)

        send_until(lambda: len(seen) > 50, "a beginning")
        database.stop()
        mark = sent + 50
        send_until(lambda: sent >= mark, "frames into the dark")
        database.start()
        for platform in fleet.platforms:
            eventually(lambda p=platform: p.health().status == 200, "a platform that is well", 30)
        again = sent
        send_until(lambda: any(n > again for n in seen), "frames after it")
        first = next(n for n in seen if n > again)
        last = sent + 100
        send_until(lambda: sent >= last, "frames of good times")
        eventually(lambda: seen[-1] == sent, "the last one", 30)
        assert seen == sorted(set(seen))
        assert [n for n in seen if n >= first] == list(range(first, sent + 1))
        over.set()
    finally:
        fleet.stop()
