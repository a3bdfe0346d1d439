# SPDX-License-Identifier: Apache-2.0
"""What is measured for the relay, and in which order.

Servers are compared inside one run and in alternation (floor, weir, uws, node, floor, ...), so
that whatever else the machine does falls on all of them. A sample is one JSON object of the
generator; nothing is averaged here.
"""

import contextlib
import dataclasses
import pathlib
import subprocess
import tempfile
import time

from .procs import BenchError, Generator, Platform, Server, cores, generate

__all__ = ["BenchError", "FULL", "QUICK", "SCENARIOS", "measure"]


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    rounds: int
    warmup_seconds: float
    window_seconds: float
    latency_seconds: float
    worker_rounds: int
    connections: int
    connect_rounds: int
    starts: int
    budget_seconds: int  # no further round is begun after this


FULL = Plan("full", 5, 0.25, 0.8, 2.0, 8, 10000, 3, 7, 240)
QUICK = Plan("quick", 2, 0.1, 0.25, 0.5, 2, 2000, 1, 3, 60)


@dataclasses.dataclass(frozen=True)
class Scenario:
    key: str
    title: str
    arguments: tuple
    open_loop: bool = False


SCENARIOS = (
    Scenario("pair_512", "one busy pair, 512 B",
             ("--pairs", 1, "--size", 512, "--inflight", 512)),
    Scenario("pair_16k", "one busy pair, 16 KiB",
             ("--pairs", 1, "--size", 16384, "--inflight", 32)),
    Scenario("pairs50_512", "50 pairs, 2 frames in flight each way, 512 B",
             ("--pairs", 50, "--size", 512, "--inflight", 2)),
    Scenario("pairs50_16k", "50 pairs, 2 frames in flight each way, 16 KiB",
             ("--pairs", 50, "--size", 16384, "--inflight", 2)),
    Scenario("open_5000", "10 pairs, 5,000 frames/s in sum, 512 B",
             ("--pairs", 10, "--size", 512, "--rate", 5000), open_loop=True),
)


def _say(text):
    print(text, flush=True)


class Run:
    def __init__(self, programs, servers, plan, platform, scratch):
        self.programs = programs
        self.servers = servers
        self.plan = plan
        self.platform = platform
        self.scratch = scratch
        self.begun = time.monotonic()
        self.shortened = []

    def server(self, kind, **options):
        return Server(self.programs, self.platform, self.scratch, kind, **options)

    def in_budget(self, what):
        if time.monotonic() - self.begun < self.plan.budget_seconds:
            return True
        self.shortened.append(what)
        return False

    def traffic(self, server, scenario):
        seconds = self.plan.latency_seconds if scenario.open_loop else self.plan.window_seconds
        return generate(self.programs, server, "traffic",
                        (*scenario.arguments, "--warmup", self.plan.warmup_seconds,
                         "--seconds", seconds), seconds_max=30)

    def relays(self):
        """Servers that admit and route; the floor and uWebSockets only forward."""
        return [kind for kind in self.servers if kind in ("weir", "node")]


def _measure_traffic(run):
    samples = {scenario.key: {kind: [] for kind in run.servers} for scenario in SCENARIOS}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(run.server(kind)) for kind in run.servers]
        for server in servers:  # just-in-time compilers and caches, not counted
            run.traffic(server, SCENARIOS[0])
            run.traffic(server, SCENARIOS[1])
        for number in range(run.plan.rounds):
            if number >= 2 and not run.in_budget("traffic"):
                break
            _say(f"traffic, round {number + 1} of {run.plan.rounds}")
            for scenario in SCENARIOS:
                for server in servers:
                    samples[scenario.key][server.kind].append(run.traffic(server, scenario))
    return samples


def _measure_second_worker(run):
    """The same single pair through one worker and through the first of two, on the same core."""
    samples = {"1": [], "2": []}
    with run.server("weir", workers=1) as one, run.server("weir", workers=2) as two:
        for server in (one, two):
            run.traffic(server, SCENARIOS[0])
        for number in range(run.plan.worker_rounds):
            if number >= 2 and not run.in_budget("second worker"):
                break
            order = (("1", one), ("2", two))
            for workers, server in order if number % 2 == 0 else reversed(order):
                samples[workers].append(run.traffic(server, SCENARIOS[0]))
    return samples


def _measure_starts(run):
    samples = {kind: [] for kind in run.servers}
    for _ in range(run.plan.starts):
        for kind in run.servers:
            with run.server(kind) as server:
                samples[kind].append(
                    {"seconds": server.start_seconds, "pss_bytes": server.pss_bytes()})
    return samples


def _certificate(scratch):
    key = scratch / "key.pem"
    certificate = scratch / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key), "-out",
         str(certificate)], check=True, capture_output=True, timeout=30)
    return certificate, key


def _idle_sample(run, kind, certificate=None):
    """Fresh server; cells of one daemon and nine clients; Pss before and after."""
    with run.server(kind, certificate=certificate) as server:
        before = server.pss_bytes()
        shape = ("--cells", run.plan.connections // 10, "--clients", 9)
        with Generator(run.programs, server, "connect", shape, 60, hold=True) as generator:
            time.sleep(1)  # idle, not just connected: servers tidy up behind a burst
            after = server.pss_bytes()
            count = generator.result["connections"]
            return {"pss_before": before, "pss_after": after, "connections": count,
                    "bytes_per_connection": (after - before) / count,
                    "connect": generator.result}


def _measure_idle(run):
    samples = {"plain": {}, "tls": {}}
    for kind in run.servers:
        samples["plain"][kind] = _idle_sample(run, kind)
    certificate = _certificate(run.scratch)
    for kind in run.relays():
        samples["tls"][kind] = _idle_sample(run, kind, certificate)
    return samples


def _measure_connect(run):
    """As many clients in one cell, and each in its own; a fresh server each time."""
    shapes = {"one_cell": ("--cells", 1, "--clients", run.plan.connections, "--no-daemon"),
              "own_cells": ("--cells", run.plan.connections, "--clients", 1, "--no-daemon")}
    samples = {kind: {shape: [] for shape in shapes} for kind in run.relays()}
    for number in range(run.plan.connect_rounds):
        if number >= 1 and not run.in_budget("connecting"):
            break
        for kind in run.relays():
            for shape, arguments in shapes.items():
                with run.server(kind) as server:
                    samples[kind][shape].append(
                        generate(run.programs, server, "connect", arguments))
    return samples


def _stolen_seconds():
    with open("/proc/stat", encoding="ascii") as stat:
        fields = stat.readline().split()
    return int(fields[8]) / 100


def measure(programs, servers, plan):
    """Runs everything; returns one dictionary of raw samples."""
    stolen = _stolen_seconds()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as scratch, \
            Platform(programs.platform) as platform:
        run = Run(programs, servers, plan, platform, pathlib.Path(scratch))
        results = {"plan": dataclasses.asdict(plan), "servers": servers, "cores": cores()}
        _say("starting and stopping")
        results["starts"] = _measure_starts(run)
        results["traffic"] = _measure_traffic(run)
        if "weir" in servers:
            _say("second worker")
            results["second_worker"] = _measure_second_worker(run)
        _say(f"{plan.connections} connections at rest")
        results["idle"] = _measure_idle(run)
        _say(f"connecting {plan.connections} clients")
        results["connect"] = _measure_connect(run)
        results["shortened"] = run.shortened
    results["seconds"] = time.monotonic() - begun
    results["stolen_seconds"] = _stolen_seconds() - stolen
    return results
