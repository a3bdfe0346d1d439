# SPDX-License-Identifier: Apache-2.0
"""What is measured for the engine, and in which order.

Every front publishes the same nginx origin. They are compared inside one run and in alternation;
a sample is what one front did in one window; nothing is averaged here.
"""

import contextlib
import dataclasses
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

from . import edges
from .procs import BenchError, cores, environment, pinned

FRONTS = ("weir", "nginx", "haproxy", "openssh")
SETTLE_SECONDS = 1.5
TERMINATORS = ("weir", "nginx", "haproxy")
FLOORS = ("splice", "passage")  # beside them where nobody looks at the bytes


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    rounds: int
    requests: int
    handshakes: int
    rate: int
    rate_seconds: int
    body_rounds: int
    idle: tuple
    budget_seconds: int


FULL = Plan("full", 5, 20000, 3000, 10000, 3, 3, (1000, 5000), 280)
QUICK = Plan("quick", 2, 4000, 500, 5000, 1, 1, (500,), 60)


def say(text):
    print(text, flush=True)


def _run(core, command, seconds_max=60, stdin=subprocess.DEVNULL):
    done = subprocess.run(pinned(core, command), stdin=stdin, capture_output=True, text=True,
                          env=environment(), timeout=seconds_max, check=False)
    if done.returncode != 0:
        raise BenchError(f"{command[0]} failed: {done.stderr[-1000:]}{done.stdout[-1000:]}")
    return done.stdout


def measured(front, action):
    """Runs action; CPU of the front and of its helpers (agent, ssh client) around it."""
    own, helpers = edges.cpu_ns(front.pids), edges.cpu_ns(front.helpers)
    begun = time.monotonic()
    result = action()
    return {"seconds": time.monotonic() - begun, "cpu_ns": edges.cpu_ns(front.pids) - own,
            "helpers_cpu_ns": edges.cpu_ns(front.helpers) - helpers, "result": result}


def h2load(front, *arguments, seconds_max=60):
    # A name, not an address: Host, SNI and routing go by it.
    url = f"https://{front.host}:{front.port}/"
    out = _run(cores()[1], ["h2load", "--connect-to", f"127.0.0.1:{front.port}", *arguments, url],
               seconds_max)
    if ", 0 failed, 0 errored, 0 timeout" not in out:
        raise BenchError(f"h2load: not every request was answered:\n{out[-1500:]}")
    return out


def request_sample(front, plan, how):
    sample = measured(front, lambda: h2load(front, "-n", plan.requests, *how))
    del sample["result"]
    return {**sample, "requests": plan.requests}


SCENARIOS = {
    "h1": ("HTTP/1.1, keep-alive, 64 connections, 1 KiB", ("--h1", "-c", 64)),
    "h2": ("HTTP/2, 8 connections of 8 streams, 1 KiB", ("-c", 8, "-m", 8)),
}


def latency_sample(front, plan, scratch, skip_seconds=0):
    """Every request's time at a fixed rate, in microseconds, but for those that began in the first
    seconds: at low rates the handshakes are many of them."""
    log = scratch / "latency.log"
    log.unlink(missing_ok=True)
    per_connection = plan.rate // 50
    h2load(front, "--h1", "-c", 50, "--rps", per_connection, "-D", plan.rate_seconds,
            "--log-file", log, seconds_max=plan.rate_seconds + 30)
    requests = [tuple(map(int, line.split("\t"))) for line in log.read_text().splitlines()]
    begun_us = min(start for start, _, _ in requests) + skip_seconds * 1e6
    taken = sorted(us for start, _, us in requests if start >= begun_us)
    quantiles = statistics.quantiles(taken, n=1000)
    return {"requests": len(taken), "p50_us": quantiles[499], "p99_us": quantiles[989],
            "rate": len(taken) / (plan.rate_seconds - skip_seconds)}


def _handshakes(programs, front, count):
    out = _run(cores()[1], [programs.tls, "connect", "--port", front.port, "--name", front.host,
                            "--server-pid", front.pids[0], "--count", count])
    return json.loads(out)


def _body(front, upload=None):
    """One GiB through the front; curl takes it, or gives it out of the file upload, on any core."""
    command = ["curl", "-sk", "--http1.1", "--resolve", f"{front.host}:{front.port}:127.0.0.1",
               "-o", "/dev/null", "-m", "60"]
    if upload:
        command += ["-T", upload, "-H", "Expect:", "-w", "%{http_code} %{size_upload}",
                    f"https://{front.host}:{front.port}/sink"]
    else:
        command += ["-w", "%{http_code} %{size_download}",
                    f"https://{front.host}:{front.port}/big"]

    def transfer():
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        if done.stdout != f"200 {1 << 30}":
            raise BenchError(f"1 GiB did not pass: {done.stdout} {done.stderr[-300:]}")
    sample = measured(front, transfer)
    del sample["result"]
    return sample


@contextlib.contextmanager
def held(programs, front, mode, count):
    """So many connections of visitors for as long as the block runs; mode as weir-bench-tls has it."""
    process = subprocess.Popen(
        pinned(cores()[1], [programs.tls, mode, "--port", front.port, "--name", front.host,
                            "--server-pid", front.pids[0], "--count", count]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    try:
        if not process.stdout.readline():
            raise BenchError("the idle connections were not made")
        # Memory settles when the burst is over.
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def _idle(programs, front, mode, count):
    before = edges.pss_bytes(front.pids)
    with held(programs, front, mode, count):
        after = edges.pss_bytes(front.pids)
    return {"connections": count, "bytes_per_connection": (after - before) / count}


class Run:
    def __init__(self, programs, plan, scratch):
        self.programs = programs
        self.plan = plan
        self.scratch = scratch
        self.pair = edges.certificate(scratch)
        self.origin = edges.Origin(scratch, self.pair)
        self.begun = time.monotonic()
        self.shortened = []

    def front(self, kind, **options):
        return edges.front(kind, self.programs, self.scratch, self.pair, self.origin, **options)

    def in_budget(self, what):
        if time.monotonic() - self.begun < self.plan.budget_seconds:
            return True
        self.shortened.append(what)
        return False


def _traffic(run, kinds, results):
    with contextlib.ExitStack() as stack:
        fronts = {kind: stack.enter_context(run.front(kind)) for kind in kinds}
        for front in fronts.values():
            h2load(front, "--h1", "-c", 64, "-n", 2000)
            h2load(front, "-c", 8, "-m", 8, "-n", 2000)
        for number in range(run.plan.rounds):
            if number >= 2 and not run.in_budget("requests"):
                break
            say(f"requests, round {number + 1} of {run.plan.rounds}")
            for key, (_, how) in SCENARIOS.items():
                for kind, front in fronts.items():
                    results[key][kind].append(request_sample(front, run.plan, how))
            for kind, front in fronts.items():
                results["latency"][kind].append(latency_sample(front, run.plan, run.scratch))
        for number in range(run.plan.body_rounds):
            if number >= 1 and not run.in_budget("bodies"):
                break
            say(f"1 GiB, round {number + 1} of {run.plan.body_rounds}")
            for kind, front in fronts.items():
                results["body"][kind].append(_body(front))
        for number in range(run.plan.rounds):
            if number >= 1 and not run.in_budget("handshakes"):
                break
            for kind in (kind for kind in kinds if kind in TERMINATORS):
                results["handshakes"][kind].append(
                    _handshakes(run.programs, fronts[kind], run.plan.handshakes))


def _workers(run, results):
    """The same handshakes through one worker and through two, on both cores and without pinning
    the generator: what two workers do is bounded by what the generator leaves them."""
    with run.front("weir") as one, run.front("weir", workers=2) as two:
        for number in range(run.plan.rounds):
            if number >= 2 and not run.in_budget("second worker"):
                break
            for workers, front in (("1", one), ("2", two)):
                results["workers"][workers].append(
                    _handshakes(run.programs, front, run.plan.handshakes))


def _passthrough(run, kinds, results):
    with contextlib.ExitStack() as stack:
        kinds = [*(kind for kind in kinds if kind in TERMINATORS), *FLOORS]
        fronts = {kind: stack.enter_context(run.front(kind, passthrough=True)) for kind in kinds}
        for number in range(run.plan.body_rounds):
            if number >= 1 and not run.in_budget("passthrough"):
                break
            say(f"passthrough, round {number + 1} of {run.plan.body_rounds}")
            for kind, front in fronts.items():
                results["passthrough"].setdefault(kind, []).append(_body(front))
            for kind, front in fronts.items():
                results["passed_up"].setdefault(kind, []).append(_body(front, run.origin.big))


def _memory(run, kinds, results):
    for count in run.plan.idle:
        say(f"{count} idle TLS connections")
        for kind in (kind for kind in kinds if kind in TERMINATORS):
            with run.front(kind) as front:
                results["idle"].setdefault(str(count), {})[kind] = _idle(
                    run.programs, front, "idle", count)
    for kind in (kind for kind in kinds if kind in TERMINATORS):
        with run.front(kind) as front:
            results["asked"][kind] = _idle(run.programs, front, "hold", run.plan.idle[0])


def measure(programs, kinds, plan):
    """Runs everything; returns one dictionary of raw samples."""
    begun = time.monotonic()
    results = {"plan": dataclasses.asdict(plan), "fronts": list(kinds), "cores": cores(),
               "idle": {}, "asked": {}, "workers": {"1": [], "2": []}, "passthrough": {},
               "passed_up": {}}
    for key in (*SCENARIOS, "latency", "body", "handshakes"):
        results[key] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as scratch:
        run = Run(programs, plan, pathlib.Path(scratch))
        try:
            _traffic(run, kinds, results)
            _passthrough(run, kinds, results)
            _memory(run, kinds, results)
            if "weir" in kinds:
                _workers(run, results)
        finally:
            run.origin.close()
        results["shortened"] = run.shortened
    results["seconds"] = time.monotonic() - begun
    return results
