# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in a scripted session, for every N there is.
Whatever N is, weir ends by a named outcome: it refuses to start and says why, or it runs, whatever
becomes of the session, and drains with exit code 0. Only builds with the fault seams take part."""
import pytest

from lib import frames, ws
from lib.faulty import run_under
from lib.platform import StubPlatform
from lib.world import World

NUMBER_MAX = 2000


def session(relay, platform):
    """Any step may fail because of the fault; none may take long."""
    world = World(relay, platform)
    try:
        daemon, client = world.pair()
        for peer in (daemon, client):
            peer.sock.settimeout(1)
        client.send(frames.text(frames.init_v3("k1")))
        daemon.recv_text()
        daemon.send(frames.text(frames.response_v3("k1", session="rs_1")))
        client.recv_text()
        daemon.send(frames.text(frames.e2ee("rs_1", ciphertext="c" * 300_000)))
        client.recv_text()
        client.send("nonsense")
        client.recv_text()
        client.send_close()
    except (OSError, AssertionError, ws.Refused, ws.Closed):
        pass
    finally:
        ws.close_all()


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_every_fault_has_an_outcome(name):
    platform = StubPlatform()
    try:
        last = run_under(name, NUMBER_MAX * 1000, platform, session)
        assert last is not None and 20 < last < NUMBER_MAX, "a whole session without a fault"
        for number in range(1, last + 1):
            run_under(name, number, platform, session)
    finally:
        platform.stop()
