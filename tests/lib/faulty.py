# SPDX-License-Identifier: Apache-2.0
"""A relay whose Nth allocation, or Nth system call, fails. Only builds with the fault seams can."""
import http.client
import re
import signal
import socket
import subprocess
import time

from lib import weir

START_S = 10
END_S = 20


class Faulty:
    """A relay under a fault. Its log may be what fails, so its port is known beforehand."""

    tls = None
    host = "127.0.0.1"

    def __init__(self, name, number, platform, **more):
        with socket.create_server((self.host, 0)) as free:
            self.port = free.getsockname()[1]
        env = {
            **weir.base_environment(), name: str(number), "RELAY_LISTEN_PORT": str(self.port),
            "RELAY_TLS": "0", "SERVER_URL": platform.origin, "RELAY_BACKPLANE_MODE": "single",
            **more,
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


def run_under(name, number, platform, session, **env):
    """Returns how many allocations or calls the session made in all; None if it never got there."""
    relay = Faulty(name, number, platform, **env)
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
