# SPDX-License-Identifier: Apache-2.0
"""Surroundings that fail: output nobody reads, no descriptors left (spec 11, 14.4, 14.16)."""
import fcntl
import json
import os
import resource
import select
import signal
import subprocess
import time

import pytest

from lib import frames as f
from lib import weir, ws
from lib.wait import eventually
from lib.world import World


class Blind(weir.Relay):
    """A relay whose output is read up to its start and then left alone."""

    def __init__(self, platform, limit=None, **env):  # pylint: disable=super-init-not-called
        self.platform_ports = {platform.port}
        self.workers = 2
        self.tls = None
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(
            [weir.binary(), "relay", "--workers", "2"],
            env={
                **weir.base_environment(),
                "SERVER_URL": platform.origin,
                "RELAY_LISTEN_PORT": "0",
                "RELAY_BACKPLANE_MODE": "single",
                "RELAY_ADMIN_TOKEN": weir.ADMIN_TOKEN,
                "RELAY_ENABLE_ADMIN_HTTP": "1",
                "RELAY_UPGRADE_RATE_PER_MINUTE": "1000000",
                **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            preexec_fn=limit,
        )
        os.close(writer)
        self.pid = self.process.pid
        self.first_lines = self._read_start()
        started = json.loads(self.first_lines.splitlines()[-1])["details"]
        self.host, self.port = started["host"], started["port"]

    def _read_start(self):
        seen = b""
        while b'"relay_started"' not in seen or not seen.endswith(b"\n"):
            assert select.select([self.reader], [], [], weir.START_TIMEOUT_S)[0], seen
            more = os.read(self.reader, 4096)
            assert more, self.process.stderr.read()
            seen += more
        return seen.decode()

    def go_away(self):
        os.close(self.reader)
        self.reader = None

    def end(self):
        """SIGTERM; exit code and what came on standard error."""
        self.signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=weir.STOP_TIMEOUT_S)
        return self.process.returncode, err.decode()


@pytest.fixture(name="blind")
def blind_fixture(platform):
    started = []

    def starter(**options):
        started.append(Blind(platform, **options))
        return World(started[-1], platform)

    yield starter
    ws.close_all()
    for running in started:
        running.kill()
        if running.reader is not None:
            running.go_away()


def conversation(world):
    daemon, client = world.pair()
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    daemon.finish()
    client.finish()


def test_output_nobody_reads_holds_nobody_up(blind):
    """The pipe is full after a few lines; the ring goes on, and the end does not wait for it."""
    world = blind(RELAY_MAX_LOGS="50")
    for _ in range(40):
        conversation(world)
    assert len(world.relay.admin("/logs").json()["logs"]) == 50
    began = time.monotonic()
    assert world.relay.end() == (0, "")
    assert time.monotonic() - began < 5
    assert len(os.read(world.relay.reader, 65536)) <= 4096, "it was full"


def test_reader_that_goes_away_ends_nothing(blind):
    world = blind()
    world.relay.go_away()
    for _ in range(20):
        conversation(world)
    told = "weir: the log cannot be written, and its lines are lost: nobody reads it\n"
    assert world.relay.end() == (0, told)


def is_served(world):
    try:
        conversation(world)
    except (ConnectionResetError, ws.Refused):
        return False
    return True


def newcomer(world):
    """Its connection, or None when it was turned away before it knew that it had one."""
    try:
        return ws.Peer(world.relay.host, world.relay.port)
    except ConnectionResetError:
        return None


def test_descriptors_run_out_and_come_back(blind):
    """Newcomers wait, and one after the other is turned away; those who are in go on, the processor is
    not burnt."""

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    world = blind(limit=limit)
    assert "RLIMIT_NOFILE" in world.relay.first_lines, "the start says that the limit is too low"
    daemon, client = world.pair()
    crowd = [newcomer(world) for _ in range(100)]
    eventually(lambda: len(os.listdir(f"/proc/{world.relay.pid}/fd")) >= 60, "all are used")

    def spent():
        with open(f"/proc/{world.relay.pid}/stat", encoding="ascii") as stat:
            return sum(int(n) for n in stat.read().rsplit(")", 1)[1].split()[11:13])

    def turned_away():
        crowd.append(newcomer(world))
        here = [peer.sock for peer in crowd if peer]
        return len(crowd) - len(here) + len(select.select(here, [], [], 0)[0])

    before, began, first = spent(), time.monotonic(), turned_away()
    eventually(lambda: turned_away() >= first + 10, "some are told that they must go")
    seconds = (spent() - before) / os.sysconf("SC_CLK_TCK")
    assert seconds < (time.monotonic() - began) / 2, "more than half of the time it did something"
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    for peer in filter(None, crowd):
        peer.reset()
    # Those who waited are taken, found gone, and let go first.
    eventually(lambda: is_served(World(world.relay, world.platform)), "there is room again")
    daemon.close()
    client.close()
    assert world.relay.end() == (0, "")
