# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump: a machine that slept, a wall clock that is set, deadlines (engine spec, sections
11.4 and 12). The process sees clocks that the test moves."""
import socket
import threading

import pytest

from lib.cli import Cli
from lib.clock import Clock
from lib.scripted import Scripted
from lib.wait import eventually
from test_cli_doctor import examine
from test_cli_run import Running, tunnels, web
from test_cli_run_shared import opened

PATIENCE_MS = 600_000  # of the liveness agreed on: what is noticed earlier is not noticed by it
HOUR_S = 3600


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


@pytest.fixture
def scripted(authority):
    running = Scripted(authority)
    yield running
    running.stop()


@pytest.fixture
def run(scripted, clock, tmp_path):
    path = tunnels(tmp_path / "t.yml", web("a", 80))
    running = Running(scripted, "run", "-c", str(path), env=clock.environment())
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait(10)


class Answering:
    """Acknowledges heartbeats until it is told to be silent; takes tunnels as they come."""

    def __init__(self, channel):
        self.channel = channel
        self.silent = threading.Event()
        self.beats = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                member, part = self.channel.read()
            except (EOFError, OSError):
                return
            if member == "open_tunnel_req":
                self.channel.answer_tunnel(part, "id-a")
            elif member == "heartbeat":
                self.beats += 1
                if not self.silent.is_set():
                    self.channel.write("heartbeat", acknowledgement=part.sequence)


def test_waking_up(scripted, clock, run):
    """The channel is asked for a sign of life at once, long before it would be given up."""
    engine = Answering(scripted.channel(liveness=(5000, PATIENCE_MS)))
    run.wait_line("a: online")
    before = engine.beats
    clock.forward(boot=HOUR_S)
    eventually(lambda: engine.beats >= before + 2, "it was asked, and more", timeout=60)
    assert run.count("disconnected") == 0, "the engine answers, so it stays"
    engine.silent.set()
    clock.forward(boot=HOUR_S)
    eventually(lambda: run.count("no sign of life"), "it was asked in vain", timeout=60)
    again = scripted.channel()
    assert opened(again, 1) == ["a"]
    eventually(lambda: run.count("a: online") == 2, "it is back")


def test_the_wall_clock_is_set(scripted, clock, run):
    """Forward and back: nothing happens, and what is lost meanwhile comes back."""
    channel = scripted.channel()
    opened(channel, 1)
    run.wait_line("a: online")
    for round_number, seconds in enumerate((HOUR_S, -48 * HOUR_S)):
        clock.forward(wall=seconds)
        channel.reset()
        channel = scripted.channel()
        assert opened(channel, 1) == ["a"]
        eventually(lambda n=round_number: run.count("a: online") == n + 2, "it is back")
    assert run.count("disconnected") == 2


def test_an_engine_that_says_nothing(clock, authority, tmp_path):
    """It takes the connection of doctor, and that is all: TLS has 10 s."""
    del authority
    listener = socket.create_server(("127.0.0.1", 0))
    cli = Cli(tmp_path / "home")
    cli.env["RSTREAM_AUTHENTICATION_TOKEN"] = "a.b.c"

    def be_silent():
        connection, _ = listener.accept()
        connection.recv(1)
        clock.forward(monotonic=11)
        connection.sendall(b"\x16")  # half a record: the clock is looked at
        while connection.recv(65536):
            pass

    threading.Thread(target=be_silent, daemon=True).start()
    checks = examine(
        cli,
        "--engine",
        f"127.0.0.1:{listener.getsockname()[1]}",
        env=clock.environment(),
        failing=("tls",),
    )
    assert "10 s" in checks["tls"]["message"], checks["tls"]
    listener.close()
