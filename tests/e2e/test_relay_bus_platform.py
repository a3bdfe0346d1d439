# SPDX-License-Identifier: Apache-2.0
"""Two relays and nothing hosted: a daemon on one and a client on the other, through `weir platform`, over
its embedded store and over PostgreSQL, where each relay has a platform of its own."""
import json
import signal

import pytest

from lib import frames as f
from lib import postgres, weir, ws
from lib.relays import ENV
from lib.selfhosted import INTERNAL_KEY, Platform
from lib.wait import eventually
from lib.world import World


@pytest.fixture(scope="module", name="database")
def database_fixture():
    with postgres.running() as cluster:
        yield cluster


class Site:
    """A relay for each platform, or two on one: `here` has the daemon, `there` the client."""

    def __init__(self, platforms):
        self.platforms = platforms
        self.worlds = []
        for name, platform in zip("ab", (platforms[0], platforms[-1])):
            relay = weir.Relay(
                {
                    **ENV, "SERVER_URL": platform.origin, "RELAY_INTERNAL_KEY": INTERNAL_KEY,
                    "RELAY_ID": f"relay-{name}",
                    "RELAY_PUBLIC_WS_BASE_URL": f"ws://relay-{name}.test/ws",
                },
                platform_ports=[platform.port],
            )
            self.worlds.append(World(relay, platform))
            self.worlds[-1].workspace = "ws_1"
        self.here, self.there = self.worlds

    def resolve(self):
        who = {"workspaceId": self.here.workspace, "runtimeTargetId": self.here.target}
        return self.platforms[-1].ask("presence/resolve", who)["relayId"]

    def stop(self):
        ws.close_all()
        for world in self.worlds:
            if world.relay in weir.live:
                world.relay.stop()
        for platform in self.platforms:
            platform.stop()


@pytest.fixture(name="site", params=["embedded", "postgresql"])
def site_fixture(request, tmp_path):
    if request.param == "embedded":
        platforms = [Platform(tmp_path / "state")]
    else:
        database = request.getfixturevalue("database")
        url = database.new()
        platforms = [
            Platform(tmp_path / f"state{n}", {"WEIR_PLATFORM_DATABASE": url}) for n in range(2)
        ]
    site = Site(platforms)
    yield site
    site.stop()


def test_a_session_through_our_own_platform(site):
    here, there = site.worlds
    daemon = here.daemon()
    eventually(lambda: site.resolve() == "relay-a", "presence")
    client = there.client()
    client.send(f.text(f.init_v3("k1")))
    assert daemon.recv_text() == f.text(f.init_v3("k1"))
    daemon.send(f.text(f.response_v3("k1", "s1")))
    assert client.recv_text() == f.text(f.response_v3("k1", "s1"))
    for n in range(1, 201):
        client.send(f.text(f.e2ee("s1", n)))
        daemon.send(f.text(f.e2ee("s1", n)))
    for n in range(1, 201):
        assert json.loads(daemon.recv_text())["seq"] == n
        assert json.loads(client.recv_text())["seq"] == n
    for world in site.worlds:
        eventually(
            lambda w=world: w.relay.metric("relay_bus_publish_ok_total") == 201, "all are published"
        )
        assert world.relay.metric("relay_bus_publish_failed_total") == 0
        workers = world.relay.state()["backplane"]
        assert any(w["batch"] for w in workers), workers  # it takes batches, and has said so
    daemon.close()
    eventually(lambda: site.resolve() is None, "nobody has it")


def test_a_relay_ends(site):
    here, there = site.worlds
    daemon = here.daemon()
    eventually(lambda: site.resolve() == "relay-a", "presence")
    here.relay.signal(signal.SIGTERM)
    daemon.expect_close(1001, "relay shutting down")
    assert here.relay.wait() == 0
    assert site.resolve() is None
    moved = there.daemon()
    eventually(lambda: site.resolve() == "relay-b", "presence at the other one")
    client = there.client()
    client.send(f.text(f.e2ee()))
    assert moved.recv_text() == f.text(f.e2ee())
