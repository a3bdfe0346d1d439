# SPDX-License-Identifier: Apache-2.0
"""As test_faults.py, for a relay on a Redis: an allocation, or a system call, fails somewhere while it
announces a daemon, looks another one up, and frames go by channel and by list. What is swept is what
the Redis adds; the relay ends by a named outcome, and soon."""
import json
import re
import signal
import subprocess

import pytest

from lib import bus, frames, weir, ws
from lib.platform import StubPlatform
from lib.redis_relays import ENV, PREFIX, ReferenceRelay
from lib.redis_servers import Redis, Server
from lib.targets import free_port
from lib.wait import eventually
from lib.world import World

STRIDE = 7  # every one is too slow for each run; the sum of runs at other numbers covers them
STEP_S = 1.0
END_S = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("redis"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def stub():
    running = StubPlatform()
    yield running
    running.stop()


class Faulty:
    tls = None
    host = "127.0.0.1"

    def __init__(self, name, number, stub, server):
        self.port = free_port()
        env = {**weir.base_environment(), **ENV, name: str(number), "RELAY_TLS": "0",
               "RELAY_LISTEN_PORT": str(self.port), "SERVER_URL": stub.origin,
               "RELAY_ID": "relay-a", "RELAY_BACKPLANE_URL": server.url,
               "RELAY_INTERNAL_API_TIMEOUT_MS": "300"}
        self.process = subprocess.Popen(
            [weir.binary(), "relay", "--workers", "1"], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def serves(self):
        def looks():
            if self.process.poll() is not None:
                return "ended"
            try:
                probe = ws.Peer(self.host, self.port)
                probe.close()
                return "serves"
            except OSError:
                return None

        return eventually(looks, "it serves, or has ended") == "serves"

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            _, errors = self.process.communicate(timeout=END_S)
        finally:
            self.process.kill()
        return self.process.returncode, errors.decode("utf-8", "replace")


def session(relay, stub, server):
    """Any step may fail because of the fault; none may take long."""
    world = World(relay, stub)
    reference = ReferenceRelay(server.port)
    other = Redis(server.port, timeout=STEP_S)
    try:
        daemon = world.daemon()
        far = world.client(target="rt_far")
        for peer in (daemon, far):
            peer.sock.settimeout(STEP_S)
        reference.redis.sock.settimeout(STEP_S)
        reference.announce(world.workspace, "rt_list")
        entry = {"relayId": "relay-x", "relayWsBaseUrl": "ws://x.test/ws", "daemonConnected": True,
                 "updatedAtMs": 1, "bus": "channel"}
        other("SET", f"{PREFIX}:presence:{world.workspace}:rt_far", json.dumps(entry))
        other("SUBSCRIBE", f"{PREFIX}:bus:{{{world.workspace}}}:relay-x")
        far.send(frames.text(frames.init_v3("k1")))
        text = other.read()[2].split("\n", 1)[1]
        assert text and json.loads(text)["payload"]  # else it is the mark behind a lost frame
        listed = world.client(target="rt_list")
        listed.sock.settimeout(STEP_S)
        listed.send(frames.text(frames.init_v3("k2")))
        reference.take(timeout=1)
        reference.publish("relay-a", world.workspace, world.target, "client_to_daemon",
                          frames.text(frames.init_v3("k3")))
        daemon.recv_text()
        daemon.send(frames.text(frames.response_v3("k3", "s3")))
        reference.take(timeout=1)
        frame = bus.signed(
            workspaceId=world.workspace, runtimeTargetId=world.target, sourceRelayId="relay-x",
            targetRelayId="relay-a", direction="client_to_daemon",
            payload=frames.text(frames.init_v3("k4")))
        reference.redis("PUBLISH", f"{PREFIX}:bus:{{{world.workspace}}}:relay-a",
                        f"weir1 0123456789abcdef 1 0 0\n{frames.text(frame)}")
        daemon.recv_text()
        daemon.close()
    except (OSError, AssertionError, ws.Refused, ws.Closed):
        pass
    finally:
        ws.close_all()
        reference.close()
        other.close()


def run_under(name, number, stub, server):
    """Returns how many allocations or calls there were in all; None if it did not say."""
    relay = Faulty(name, number, stub, server)
    if relay.serves():
        session(relay, stub, server)
    code, errors = relay.end()
    where = f"{name}={number}: exit code {code}\n{errors}"
    assert code in (0, 1), where
    assert "Sanitizer" not in errors and "runtime error" not in errors, where
    assert "broken invariant" not in errors, where
    counts = re.search(r"weir: (\d+) allocations, (\d+) system calls", errors)
    return counts and int(counts[1 if name == "WEIR_FAIL_ALLOCATION" else 2])


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_faults_of_a_relay_on_a_redis(name, stub, server):
    last = run_under(name, 10_000_000, stub, server)
    assert last is not None and last > 100, "a whole session without a fault"
    for number in range(3, last + 1, STRIDE):
        run_under(name, number, stub, server)
