# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in a scripted session. Whatever N is, weir ends
by a named outcome: it refuses to start with a message, or it runs and then drains with exit code 0."""
import json
import os
import signal
import subprocess

import pytest

from lib import frames, weir, ws
from lib.platform import StubPlatform
from lib.world import World

SCRIPT_TIMEOUT_S = 20


class Faulty:
    """A relay under a fault; only what a script needs."""

    def __init__(self, name, number, platform):
        env = {
            **weir.base_environment(), name: str(number), "RELAY_LISTEN_PORT": "0",
            "RELAY_TLS": "0", "SERVER_URL": platform.origin, "RELAY_BACKPLANE_MODE": "single",
        }
        self.process = subprocess.Popen(
            [weir.binary(), "relay", "--workers", "1"], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.tls = None
        self.host, self.port = None, None
        for raw in self.process.stdout:
            line = json.loads(raw)
            if line["event"] == "relay_started":
                self.host, self.port = line["details"]["host"], line["details"]["port"]
                break

    def end(self):
        """Exit code and what was said on standard error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=SCRIPT_TIMEOUT_S)
        return self.process.returncode, errors.decode("utf-8", "replace")


def script(relay, platform):
    """What a session does; any step may fail because of the fault."""
    world = World(relay, platform)
    try:
        daemon, client = world.pair()
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
    relay = Faulty(name, number, platform)
    if relay.port is not None:
        script(relay, platform)
    code, errors = relay.end()
    assert code in (0, 1), (name, number, code, errors)
    assert "Sanitizer" not in errors and "runtime error" not in errors, (name, number, errors)
    assert code == 0 or errors.strip(), f"{name}={number}: it ended without a word"
    return code


@pytest.mark.slow
@pytest.mark.parametrize("name, numbers", [
    ("WEIR_FAIL_ALLOCATION", range(1, 130)),
    ("WEIR_FAIL_SYSCALL", range(1, 60)),
])
def test_every_fault_has_an_outcome(name, numbers):
    platform = StubPlatform()
    try:
        for number in numbers:
            run_under(name, number, platform)
    finally:
        platform.stop()
