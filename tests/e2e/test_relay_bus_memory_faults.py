# SPDX-License-Identifier: Apache-2.0
"""Memory runs out at any point of a session across relays: presence, look-up, publish, pull, and what
comes from the bus. Whatever fails, weir goes on or ends by a named outcome. Only builds with the fault
seams take part."""
from lib import bus as b
from lib import frames as f
from lib import ws
from lib.faulty import run_under
from lib.platform import StubPlatform
from lib.relays import ENV
from lib.world import World

NAME = "WEIR_FAIL_ALLOCATION"
NEVER = 10_000_000
MARGIN = 10  # the end of a start is not always the same


def nothing(relay, platform):
    pass


def session(relay, platform):
    """Relay-x, which is the test, has a daemon and a client of its own."""
    bus = b.Bus(platform)
    world = World(relay, platform)
    far = World(relay, platform)
    far.workspace, far.target = world.workspace, "rt_far"
    bus.presence[far.workspace, far.target] = {
        "relayId": "relay-x", "relayWsBaseUrl": "ws://x.test/ws", "runtimeTargetId": far.target,
    }
    try:
        daemon, client = world.daemon(machineId="m_1"), far.client()
        for peer in (daemon, client):
            peer.sock.settimeout(0.25)
        client.send(f.text(f.e2ee("to the far daemon", ciphertext="c" * 100_000)))
        bus.wait_until(lambda: bus.frames, "a frame on the bus", timeout=0.25)
        bus.store(
            b.signed(
                workspaceId=world.workspace, runtimeTargetId=world.target, sourceRelayId="relay-x",
                targetRelayId="relay-a", direction="client_to_daemon", payload=f.text(f.init_v3("k\u00e4")),
            )
        )
        daemon.recv_text()
        daemon.send(f.text(f.response_v3("k\u00e4", session="rs_1")))
        daemon.send(f.text(f.e2ee("rs_1")))
        bus.wait_until(lambda: len(bus.frames) == 4, "the answers on the bus", timeout=0.25)
        daemon.send_close()
    except (OSError, AssertionError, ws.Refused, ws.Closed):
        pass
    finally:
        ws.close_all()


def test_every_failed_allocation_has_an_outcome():
    platform = StubPlatform()
    env = {**ENV, "RELAY_ID": "relay-a", "RELAY_BUS_PULL_WAIT_MS": "100"}
    try:
        start = run_under(NAME, NEVER, platform, nothing, **env)
        last = run_under(NAME, NEVER, platform, session, **env)
        assert last > start + 20
        for number in range(start - MARGIN, last + 1):
            run_under(NAME, number, platform, session, **env)
    finally:
        platform.stop()
