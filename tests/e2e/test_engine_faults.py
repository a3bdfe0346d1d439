# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in a scripted session of an engine, for every N
there is. Whatever N is, every step of the session ends, well or by a refusal, and never by silence;
then another agent and another visitor are served; and the engine drains with exit code 0, or it
refused to start and said why. Only builds with the fault seams take part."""
import concurrent.futures
import contextlib
import re
import signal
import socket
import ssl
import subprocess
import time

import pytest

from lib import tls, weir
from lib.agent import Agent, Refused, dial, http_echo
from lib.engine import Engine, free_port
from lib.h2_visitor import Visitor

START_S = 10
END_S = 20
STEP_S = 8  # above every deadline of the configuration below
NUMBER_MAX = 1000
AT_ONCE = 4
TRIES = 3  # the fault may hit the first one
SETTINGS = {"timeouts": {"stream_request_seconds": 1}}
# How a step may fail. A TimeoutError is an OSError, and is told apart.
FAILURES = (OSError, EOFError, ssl.SSLError, Refused, AssertionError, IndexError, ValueError)
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Faulty(Engine):
    """An engine under a fault. Its log may be what fails, so its port is known beforehand."""

    def __init__(self, model, name, number):  # pylint: disable=super-init-not-called
        self.host = model.host
        self.ca = model.ca
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.process = subprocess.Popen(
            [
                weir.binary(), "engine", "-c", str(model.config),
                "--listen", f"127.0.0.1:{self.port}",
            ],
            env={**weir.base_environment(), name: str(number)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def listens(self):
        """False when it has ended instead."""
        end = time.monotonic() + START_S
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(self.address, 1).close()
                return True
            time.sleep(0.005)
        return False

    def finish(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            _, errors = self.process.communicate(timeout=END_S)
        finally:
            self.process.kill()
        return self.process.returncode, errors.decode("utf-8", "replace")


def step(call):
    """What it gave, or None when it failed in time."""
    try:
        return call()
    except TimeoutError:
        raise
    except FAILURES:
        return None


def asked(engine, path):
    """A request to the API: the head of the answer, and what follows it."""
    visitor = engine.visit(engine.host, alpn=["http/1.1"], timeout=STEP_S)
    visitor.send(
        f"GET {path} HTTP/1.1\r\nHost: {engine.host}\r\n"
        f"Authorization: Bearer {engine.token()}\r\n\r\n".encode()
    )
    return visitor.recv_until(b"\r\n\r\n") + visitor.recv_exact(1), visitor


def dialled(engine):
    dialer = dial(engine, "private", more=REQUEST)
    dialer.timeout = STEP_S
    member, answer = dialer.read()
    assert member == "stream_rsp"
    if answer.HasField("error"):
        raise Refused(answer.error)
    return dialer.recv_until(b"\r\n\r\n")


def visited_h2(engine):
    visitor = Visitor(engine, engine.name("web"), timeout=STEP_S)
    answer = visitor.finish(visitor.request(engine.name("web")), STEP_S)
    visitor.close()
    return answer.status


def watched(engine):
    """The first event that tells something."""
    head, watcher = asked(engine, "/api/sse")
    assert head[9:12] == b"200"
    return watcher.recv_until(b"\n\n")


def publish(engine, label):
    agent = Agent(engine, timeout=STEP_S)
    agent.tunnel(hostname=label)
    return agent


def session(engine):
    """What each step gave."""
    agent = step(lambda: publish(engine, "web"))
    if agent is not None:
        step(lambda: agent.tunnel(name="private", publish=False, type="bytestream"))
        agent.serve(http_echo)
    return [
        agent,
        step(lambda: engine.get("web", timeout=STEP_S)[0]),
        step(lambda: visited_h2(engine)),
        step(lambda: dialled(engine)[9:12]),
        step(lambda: asked(engine, "/api/tunnels")[0][9:12]),
        step(lambda: bool(watched(engine))),
    ]


def serves_others(engine):
    """Another agent and another visitor, however often."""

    def whole():
        agent = publish(engine, "other")
        try:
            agent.serve(http_echo)
            return engine.get("other", timeout=STEP_S)[0]
        finally:
            agent.close()

    return any(step(whole) == 200 for _ in range(TRIES))


def ended(engine):
    """A start that failed may end behind the first answers of its doors."""
    try:
        engine.process.wait(STEP_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def run_under(model, name, number):
    """What the steps gave (None: it did not start), and how many allocations or calls there were."""
    engine = Faulty(model, name, number)
    given = None
    served = True
    where = f"{name}={number}"
    try:
        if engine.listens():
            given = session(engine)
            served = engine.process.poll() is not None or serves_others(engine) or ended(engine)
    except TimeoutError as error:
        raise AssertionError(f"{where}: silence") from error
    finally:
        tls.close_all(engine.address)
        code, errors = engine.finish()
    where = f"{where}: exit code {code}\n{errors}"
    assert code in (0, 1), where
    assert served, where
    assert "Sanitizer" not in errors and "runtime error" not in errors, where
    assert "broken invariant" not in errors, where
    assert code == 0 or errors.strip(), f"{where}it ended without a word"
    counts = re.search(r"weir: (\d+) allocations, (\d+) system calls", errors)
    return given, counts and int(counts[1 if name == "WEIR_FAIL_ALLOCATION" else 2])


@pytest.fixture(scope="module")
def model(authority, tmp_path_factory):
    """An engine whose configuration the others share."""
    running = Engine(authority, tmp_path_factory.mktemp("faults"), SETTINGS, workers=1)
    yield running
    running.stop()


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_every_fault_has_an_outcome(model, name):
    given, last = run_under(model, name, NUMBER_MAX * 1000)
    assert given[1:] == [200, 200, b"200", b"200", True], "a whole session without a fault"
    assert 50 < last < NUMBER_MAX
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda number: run_under(model, name, number), range(1, last + 1)))
