# SPDX-License-Identifier: Apache-2.0
"""What it costs that a daemon is on one relay and its client on another.

A way is how the two are joined: `one` (both on one relay, for comparison), `channel` and `list` over
a Redis, `postgres` and `sqlite` over a `weir platform`. Ways are compared in alternation within one run. A way that needs something else than a
Redis is one more class here, with the same members.
"""

import contextlib
import dataclasses
import json
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

from .platforms import PlatformWay, Postgres
from .procs import BenchError, Platform, Server, cores, end, environment, free_port, generate, pinned

__all__ = ["FULL", "QUICK", "SCENARIOS", "WAYS", "measure"]

PREFIX = "viewport:relay"
PAUSE_SECONDS = 0.4  # until every daemon is announced


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    rounds: int
    warmup_seconds: float
    window_seconds: float


FULL = Plan("full", 7, 0.3, 1.5)
QUICK = Plan("quick", 2, 0.2, 0.5)


@dataclasses.dataclass(frozen=True)
class Scenario:
    key: str
    title: str
    arguments: tuple


SCENARIOS = (
    Scenario("open_1000", "10 pairs, 1,000 frames/s in sum, 512 B",
             ("--pairs", 10, "--size", 512, "--rate", 1000)),
    Scenario("open_20000", "10 pairs, 20,000 frames/s in sum, 512 B",
             ("--pairs", 10, "--size", 512, "--rate", 20000)),
    Scenario("closed", "10 pairs, 32 frames in flight each way, 512 B",
             ("--pairs", 10, "--size", 512, "--inflight", 32)),
    Scenario("closed_16k", "10 pairs, 4 frames in flight each way, 16 KiB",
             ("--pairs", 10, "--size", 16384, "--inflight", 4)),
)


class Redis:
    """A redis-server that keeps nothing."""

    def __init__(self, scratch):
        self.port = free_port()
        self._process = subprocess.Popen(
            pinned(cores()[0], ["redis-server", "--port", self.port, "--bind", "127.0.0.1",
                                "--save", "", "--dir", scratch]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment())
        self.pid = self._process.pid
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if time.monotonic() > deadline:
                end(self._process)
                raise BenchError("the Redis does not start")
            time.sleep(0.01)

    def ask(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, words)], text=True,
                              capture_output=True, timeout=10, check=True)
        return done.stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self._process)


class RedisWay:
    """Two relays on one Redis. Frames go by channels."""

    key = "channel"
    title = "pub/sub"

    def __init__(self, redis):
        self.redis = redis

    def settings(self):
        return {"RELAY_BACKPLANE_MODE": "redis", "RELAY_INTERNAL_KEY": "internal-key-of-the-bench",
                "RELAY_BACKPLANE_URL": f"redis://127.0.0.1:{self.redis.port}",
                "RELAY_BUS_HMAC_KEY": "signing-key-of-the-bench",
                "RELAY_PRESENCE_SYNC_INTERVAL_MS": "3600000"}

    def pids(self):
        """Whose CPU is the way's own."""
        return [self.redis.pid]

    def prepare(self, _seconds):
        """Runs beside the generator's pause between connecting and the key exchange."""


class ListWay(RedisWay):
    """The same, by lists: presence is written again as a relay would that knows nothing else."""

    key = "list"
    title = "lists"

    def prepare(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for key in self.redis.ask("--scan", "--pattern", f"{PREFIX}:presence:*").split():
                entry = json.loads(self.redis.ask("GET", key) or "{}")
                if entry.pop("bus", None) is not None:
                    self.redis.ask("SET", key, json.dumps(entry), "KEEPTTL")
            time.sleep(0.02)


WAYS = ("one", "channel", "list", "postgres", "sqlite")
# What a platform is not for: the generator would wait for frames that are not coming.
LEFT_OUT = {("open_20000", "postgres"), ("open_20000", "sqlite")}


class Pair:
    """Daemons on the first relay, clients on the second, or both on one."""

    def __init__(self, programs, platform, scratch, way, joined):
        self.way = way
        self.programs = programs
        options = {"settings": way.settings()} if way else {}
        self.first = Server(programs, platform, scratch, "weir", **options)
        try:
            self.second = Server(programs, platform, scratch, "weir", **options) if joined else None
        except BaseException:
            self.first.__exit__()
            raise

    def traffic(self, plan, scenario):
        arguments = [*scenario.arguments, "--warmup", plan.warmup_seconds, "--seconds",
                     plan.window_seconds]
        helper = None
        if self.second is not None:
            arguments += ["--client-port", self.second.port, "--pause", PAUSE_SECONDS]
            for pid in (self.second.pid, *self.way.pids()):
                arguments += ["--other-pid", pid]
            helper = threading.Thread(target=self.way.prepare, args=(PAUSE_SECONDS * 0.9,))
            helper.start()
        try:
            return generate(self.programs, self.first, "traffic", arguments, seconds_max=40)
        finally:
            if helper is not None:
                helper.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in (self.first, self.second):
            if server is not None:
                server.__exit__()


def _open_ways(stack, programs, platform, scratch, ways):
    opened = {}
    redis = stack.enter_context(Redis(scratch)) if {"channel", "list"} & set(ways) else None
    for key in ways:
        if key == "one":
            way = None
        elif key in ("channel", "list"):
            way = (RedisWay if key == "channel" else ListWay)(redis)
        else:
            database = stack.enter_context(Postgres()) if key == "postgres" else None
            way = stack.enter_context(PlatformWay(programs, scratch, key, database))
        opened[key] = stack.enter_context(Pair(programs, platform, scratch, way, way is not None))
    return opened


def measure(programs, ways, plan):
    """Runs everything; returns one dictionary of raw samples."""
    begun = time.monotonic()
    samples = {scenario.key: {way: [] for way in ways} for scenario in SCENARIOS}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as scratch, \
            Platform(programs.platform) as platform, contextlib.ExitStack() as stack:
        pairs = _open_ways(stack, programs, platform, pathlib.Path(scratch), ways)
        for number in range(plan.rounds):
            print(f"backplane, round {number + 1} of {plan.rounds}", flush=True)
            for scenario in SCENARIOS:
                for way, pair in pairs.items():
                    if (scenario.key, way) not in LEFT_OUT:
                        samples[scenario.key][way].append(pair.traffic(plan, scenario))
    return {"plan": dataclasses.asdict(plan), "ways": list(ways), "samples": samples,
            "cores": cores(), "seconds": time.monotonic() - begun}
