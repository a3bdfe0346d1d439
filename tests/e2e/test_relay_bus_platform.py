# SPDX-License-Identifier: Apache-2.0
"""Two relays and nothing hosted: a daemon on one and a client on the other, through `weir platform`."""
import json

import pytest

from lib import frames as f
from lib import weir, ws
from lib.relays import ENV
from lib.selfhosted import INTERNAL_KEY, Platform
from lib.wait import eventually
from lib.world import World


@pytest.fixture(name="cell")
def cell_fixture(tmp_path):
    platform = Platform(tmp_path / "state")
    relays = [
        weir.Relay(
            {
                **ENV, "SERVER_URL": platform.origin, "RELAY_INTERNAL_KEY": INTERNAL_KEY,
                "RELAY_ID": f"relay-{name}", "RELAY_PUBLIC_WS_BASE_URL": f"ws://relay-{name}.test/ws",
            },
            platform_ports=[platform.port],
        )
        for name in "ab"
    ]
    worlds = [World(relay, platform) for relay in relays]
    for world in worlds:
        world.workspace = "ws_1"
    yield platform, *worlds
    ws.close_all()
    for relay in relays:
        relay.stop()
    platform.stop()


def test_a_session_through_our_own_platform(cell):
    platform, here, there = cell
    daemon = here.daemon()
    who = {"workspaceId": here.workspace, "runtimeTargetId": here.target}
    eventually(lambda: platform.ask("presence/resolve", who)["relayId"] == "relay-a", "presence")
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
    for world in (here, there):
        eventually(
            lambda w=world: w.relay.metric("relay_bus_publish_ok_total") == 201, "all are published"
        )
        assert world.relay.metric("relay_bus_publish_failed_total") == 0
        workers = world.relay.state()["backplane"]
        assert any(w["batch"] for w in workers), workers  # it takes batches, and has said so
    daemon.close()
    eventually(lambda: platform.ask("presence/resolve", who)["relayId"] is None, "nobody has it")
