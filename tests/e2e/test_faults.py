# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in a scripted session, for every N there is.
Whatever N is, weir ends by a named outcome: it refuses to start and says why, or it runs, whatever
becomes of the session, and drains with exit code 0. Only builds with the fault seams take part."""
import http.client
import re
import signal
import socket
import subprocess
import time

import pytest

from lib import frames, weir, ws
from lib.platform import StubPlatform
from lib.world import World

START_S = 10
END_S = 20
NUMBER_MAX = 2000


class Faulty:
    """A relay under a fault. Its log may be what fails, so its port is known beforehand."""

    tls = None
    host = "127.0.0.1"

    def __init__(self, name, number, platform):
        with socket.create_server((self.host, 0)) as free:
            self.port = free.getsockname()[1]
        env = {
            **weir.base_environment(), name: str(number), "RELAY_LISTEN_PORT": str(self.port),
            "RELAY_TLS": "0", "SERVER_URL": platform.origin, "RELAY_BACKPLANE_MODE": "single",
        }
        self.process = subprocess.Popen(
            [weir.binary(), "relay", "--workers", "1"], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def serves(self):
        """True once it answers (it listens before it is ready); False when it has ended instead."""
        end = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < end:
            try:
                connection = http.client.HTTPConnection(self.host, self.port, timeout=1)
                connection.request("GET", "/health", headers={"Connection": "close"})
                connection.getresponse().read()
                return True
            except (OSError, http.client.HTTPException):
                time.sleep(0.005)
            finally:
                connection.close()
        return False

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            _, errors = self.process.communicate(timeout=END_S)
        finally:
            self.process.kill()
        return self.process.returncode, errors.decode("utf-8", "replace")


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


def run_under(name, number, platform):
    """Returns how many allocations or calls the session made in all; None if it never got there."""
    relay = Faulty(name, number, platform)
    if relay.serves():
        session(relay, platform)
    code, errors = relay.end()
    where = f"{name}={number}: exit code {code}\n{errors}"
    assert code in (0, 1), where
    assert "Sanitizer" not in errors and "runtime error" not in errors, where
    assert "broken invariant" not in errors, where
    assert code == 0 or errors.strip(), f"{where}it ended without a word"
    counts = re.search(r"weir: (\d+) allocations, (\d+) system calls", errors)
    return counts and int(counts[1 if name == "WEIR_FAIL_ALLOCATION" else 2])


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_every_fault_has_an_outcome(name):
    platform = StubPlatform()
    try:
        last = run_under(name, NUMBER_MAX * 1000, platform)
        assert last is not None and 20 < last < NUMBER_MAX, "a whole session without a fault"
        for number in range(1, last + 1):
            run_under(name, number, platform)
    finally:
        platform.stop()
