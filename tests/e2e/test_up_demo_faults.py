# SPDX-License-Identifier: Apache-2.0
"""One allocation, or one system call, of `weir up --demo` fails: it does not start and says why, or it
comes to publish its service and to talk through the relay all the same. A sample of the numbers; the parts
are swept on their own."""
import concurrent.futures
import os
import subprocess

import pytest

from lib import weir
from lib.wait import eventually

NUMBERS = range(20, 700, 85)
AT_ONCE = 2
STARTED_S = 90


def moves(log):
    """A line of the log may be what found no memory: of each, one of two is enough."""
    visited = log.find("demo_published") or log.find("http_request", status=200)
    met = log.find("client_connected") or log.find(
        "health_event", service="relay-session", status="healthy")
    return visited and met


def run_under(state_dir, name, number):
    with open(state_dir / "said", "wb") as out, subprocess.Popen(
        [weir.binary(), "up", "--demo", "--state-dir", state_dir, "--listen", "127.0.0.1:0",
         "--engine-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--workers", "1"],
        env={**weir.base_environment(), name: str(number)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=out,
    ) as process:
        log = weir.Log(process.stdout)
        try:
            eventually(lambda: process.poll() is not None or moves(log), f"{name}={number}", STARTED_S)
        finally:
            process.terminate()
            code = process.wait(weir.STOP_TIMEOUT_S)
        said = (state_dir / "said").read_text()
        where = f"{name}={number}: exit code {code}\n{said}"
        assert code in (0, 1, 64, 66, 78), where
        assert "Sanitizer" not in said and "runtime error" not in said, where
        assert moves(log) if code == 0 else "weir" in said, where
        return code


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_a_fault_ends_the_start_or_is_overcome(tmp_path, name):
    def every_second(first):
        state_dir = tmp_path / str(first)
        os.makedirs(state_dir)
        return [run_under(state_dir, name, number) for number in NUMBERS[first::AT_ONCE]]

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        codes = sum(pool.map(every_second, range(AT_ONCE)), [])
    assert 0 in codes
