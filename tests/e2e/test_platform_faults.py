# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, of a `weir platform` fails, for every N of a session
with all it is asked. Whatever N is, it refuses to start and says why, or it serves on and drains.
Only builds with the fault seams take part."""
import concurrent.futures
import http.client
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from lib import weir
from lib.selfhosted import ADMIN_TOKEN, INTERNAL_KEY, RELAY, Platform, frame

NUMBER_MAX = 1000
AT_ONCE = 4
WHO = {"workspaceId": "ws", "runtimeTargetId": "rt"}
BY_ADMIN = {"authorization": f"Bearer {ADMIN_TOKEN}"}
BY_RELAY = {"x-relay-internal-key": INTERNAL_KEY}


@pytest.fixture(scope="module", name="seed")
def seed_fixture(tmp_path_factory):
    """A state directory that has been used: making a key takes a while."""
    platform = Platform(tmp_path_factory.mktemp("seed") / "state")
    platform.stop()
    return platform


class Faulty(Platform):
    """Its log may be what fails, so its port is known beforehand."""

    def __init__(self, state_dir, seed, name, number):  # pylint: disable=super-init-not-called
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.tls = None
        env = {**seed.env, "WEIR_STATE_DIR": str(state_dir), name: str(number),
               "WEIR_PLATFORM_LISTEN": f"127.0.0.1:{self.port}"}
        self.process = subprocess.Popen(
            [weir.binary(), "platform"], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def ask_anything(self, method, path, body, headers):
        """The answer, or None: any of them may be lost to the fault."""
        conn = self.connect(timeout=6)
        try:
            return self.request(method, path, body, headers, conn=conn)
        except (OSError, http.client.HTTPException):
            return None
        finally:
            conn.close()

    def serves(self):
        end = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < end:
            if self.ask_anything("GET", "/health", None, {}) is not None:
                return True
            time.sleep(0.02)
        return False

    def session(self):
        for method, path, body, headers in (
            ("POST", RELAY + "presence/upsert", {**WHO, "relayId": "a", "machineId": "m",
             "relayWsBaseUrl": "ws://a", "daemonConnected": True}, BY_RELAY),
            ("POST", RELAY + "presence/resolve", WHO, BY_RELAY),
            ("POST", RELAY + "bus/publish", {"frames": [frame("x" * 5000), 7]}, BY_RELAY),
            ("POST", RELAY + "bus/publish", frame("y"), BY_RELAY),
            ("POST", RELAY + "bus/pull",
             {"relayId": "relay-b", "sinceId": 0, "limit": 9, "waitMs": 9}, BY_RELAY),
            ("POST", RELAY + "bus/pull",
             {"relayId": "relay-c", "sinceId": 0, "limit": 9, "waitMs": 9}, BY_RELAY),
            ("POST", RELAY + "validate", {**WHO, "relayToken": "a.b.c", "role": "client"}, BY_RELAY),
            ("POST", "/api/runtime/workspaces/ws/daemon-key",
             {"credential": ADMIN_TOKEN, "daemonPublicKey": "k", "runtimeTargetId": "rt"}, {}),
            ("POST", "/api/workspaces/ws/relay-token", {"runtime_target_id": "rt"}, BY_ADMIN),
            ("GET", "/jwks.json", None, {}),
            ("GET", "/metrics", None, BY_ADMIN),
        ):
            answer = self.ask_anything(method, path, body, headers)
            assert answer is None or answer.status in (200, 401, 500, 503), (path, answer.status)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            errors = self.process.communicate(timeout=30)[1]
        finally:
            self.process.kill()
        return self.process.returncode, errors.decode("utf-8", "replace")


def run_under(directory, seed, name, number):
    """How many allocations and calls there were in all; None if it never got there."""
    state_dir = directory / f"{name}-{number}"
    shutil.copytree(seed.state_dir, state_dir)
    platform = Faulty(state_dir, seed, name, number)
    try:
        if platform.serves():
            platform.session()
    finally:
        code, errors = platform.end()
    where = f"{name}={number}: exit code {code}\n{errors}"
    assert code in (0, 1, 78), where
    for word in ("Sanitizer", "runtime error", "broken invariant"):
        assert word not in errors, where
    assert code == 0 or errors.strip(), f"{where}it ended without a word"
    counts = re.search(r"weir: (\d+) allocations, (\d+) system calls", errors)
    return counts and int(counts[1 if name == "WEIR_FAIL_ALLOCATION" else 2])


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_every_fault_has_an_outcome(tmp_path, seed, name):
    last = run_under(tmp_path, seed, name, NUMBER_MAX * 1000)
    assert last is not None and 50 < last < NUMBER_MAX, "a whole session without a fault"
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda number: run_under(tmp_path, seed, name, number), range(1, last + 1)))
