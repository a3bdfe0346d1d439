# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in a session of `weir forward`, for every N there
is. Whatever N is, the tunnel comes online, or the command ends and says why; a visitor is served in
the end; and Ctrl-C ends it in order. Only builds with the fault seams take part."""
import concurrent.futures
import re
import signal
import time

import pytest

from lib.forwarding import Forward, Service

AT_ONCE = 4
ONLINE_S = 15
TRIES = 100  # the fault may hit the first ones, or the tunnel's opening
NUMBER_MAX = 1000


@pytest.fixture(scope="module")
def service():
    running = Service()
    yield running
    running.stop()


def wait_online(running):
    """False when it has ended instead."""
    end = time.monotonic() + ONLINE_S
    while running.process.poll() is None:
        # The line that tells it may be what is lost.
        if "online" in running.statuses() or any("is lost" in line for line in running.errors):
            return True
        assert time.monotonic() < end, f"neither online nor ended: {running.lines}"
        time.sleep(0.01)
    return False


def serve_one(engine, label):
    for _ in range(TRIES):
        try:
            if engine.get(label, timeout=5)[0] == 200:
                return
        except (OSError, EOFError, IndexError, ValueError):
            pass
        time.sleep(0.05)
    raise AssertionError("no visitor was served")


def session(engine, service, name, number):
    """How many there were of what `name` counts."""
    label = f"{'a' if 'ALLOC' in name else 's'}{number}"
    running = Forward(
        engine, service.port, "--host", label, env={name: str(number)} if number else {name: "0"}
    )
    try:
        if wait_online(running):
            serve_one(engine, label)
            running.signal(signal.SIGINT)
            assert running.wait() == 0
        else:
            assert running.wait() in (1, 64, 78) and running.errors, running.errors
    finally:
        running.kill()
    found = re.search(r"(\d+) allocations, (\d+) system calls", "\n".join(running.errors))
    return int(found.group(1 if "ALLOC" in name else 2)) if found else None


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_every_one(engine, service, name):
    count = session(engine, service, name, 0)
    assert count is not None and 10 < count < NUMBER_MAX
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        sessions = [
            pool.submit(session, engine, service, name, number) for number in range(1, count + 1)
        ]
        for number, done in enumerate(sessions, 1):
            try:
                done.result()
            except AssertionError as error:
                raise AssertionError(f"{name}={number}: {error}") from None
