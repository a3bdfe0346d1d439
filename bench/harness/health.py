# SPDX-License-Identifier: Apache-2.0
"""What is measured for the health monitor, and in which order.

All checkers check the same nginx. They are compared inside one run and in alternation; a sample is
what one checker did in one window; nothing is averaged here.
"""

import contextlib
import dataclasses
import pathlib
import tempfile
import time

from .checkers import Haproxy, Job, Targets, ask, checker
from .edges import cpu_ns, pss_bytes
from .procs import BenchError, cores

CHECKERS = ("weir", "haproxy", "monit", "blackbox")
CONTINUOUS = ("weir", "haproxy", "monit")  # check by themselves
HANGING = 5


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    rounds: int
    window_seconds: float
    services: int
    probes: int  # of a blackbox window
    many: int    # services at one check a second, for the rate
    delay_seconds: int
    delay_rounds: int
    starts: int
    documents: int
    budget_seconds: int


FULL = Plan("full", 4, 3, 1000, 1500, 12000, 5, 2, 5, 5, 220)
QUICK = Plan("quick", 2, 2, 300, 300, 3000, 5, 1, 2, 2, 60)


class Run:
    def __init__(self, programs, plan, scratch):
        self.programs = programs
        self.plan = plan
        self.scratch = scratch
        self.targets = Targets(scratch)
        self.begun = time.monotonic()
        self.shortened = []

    def job(self, **more):
        job = {"port": self.targets.port, "count": self.plan.services, "interval": 1, **more}
        return Job(silent_port=self.targets.silent_port, **job)

    def checker(self, kind, job):
        return checker(kind, self.programs, self.scratch, job)

    def in_budget(self, what):
        if time.monotonic() - self.begun < self.plan.budget_seconds:
            return True
        self.shortened.append(what)
        return False


def _say(text):
    print(text, flush=True)


def _window(run, running, job, seconds):
    """One checker's checks in a window, and its CPU for them."""
    column = 0 if job.kind == "tcp" else 1
    before, used, begun = run.targets.counts()[column], cpu_ns([running.pid]), time.monotonic()
    if hasattr(running, "drive"):
        running.drive(run.plan.probes)
    else:
        time.sleep(seconds)
    used, took = cpu_ns([running.pid]) - used, time.monotonic() - begun
    checks = run.targets.counts()[column] - before
    if job.kind == "tcp" and isinstance(running, Haproxy):
        # It resets the connection before nginx has taken and counted it; its schedule tells.
        checks = round(job.count * took / job.interval)
    if checks == 0:
        raise BenchError(f"{type(running).__name__} has checked nothing in {took:.1f} s")
    return {"checks": checks, "cpu_ns": used, "seconds": took}


def _checks(run, kinds, results, kind):
    """Checkers take turns: each is started, settles, is measured, and ends, so that none pays for
    what another does at the same moment."""
    for number in range(run.plan.rounds):
        if number >= 2 and not run.in_budget(f"{kind} checks"):
            break
        _say(f"{kind} checks, round {number + 1} of {run.plan.rounds}")
        for name in kinds:
            job = run.job(kind=kind)
            with run.checker(name, job) as running:
                time.sleep(1.5)  # the first round of checks, and what comes with a start
                sample = _window(run, running, job, run.plan.window_seconds)
                sample["pss_bytes"] = pss_bytes([running.pid])
                results[kind][name].append(sample)


def _rate(run, kinds, results):
    """More checks a second than a core may be able to do."""
    for number in range(2):
        for name in (name for name in kinds if name in ("weir", "haproxy")):
            if number and not run.in_budget("rate"):
                return
            _say(f"{run.plan.many} checks a second, {name}")
            job = run.job(count=run.plan.many)
            with run.checker(name, job) as running:
                time.sleep(3)
                results["rate"][name].append(_window(run, running, job, run.plan.window_seconds))


def _lateness(asked, begun, ended, job):
    """How late starts were, in milliseconds: what a distance between two is longer than the
    interval. One that began before the window, or had not ended with it, counts as far as it was
    seen, if that is too long already."""
    late = []
    for moments in (*asked.values(), *[[]] * (job.count - job.hanging - len(asked))):
        edges = [begun, *moments, ended]
        gaps = [after - before for before, after in zip(edges, edges[1:])]
        late += [(gap - job.interval) * 1000 for number, gap in enumerate(gaps)
                 if 0 < number < len(gaps) - 1 or gap > job.interval]
    return sorted(late)


def _delays(run, kinds, results):
    interval = 2
    for number in range(run.plan.delay_rounds):
        if number and not run.in_budget("hanging targets"):
            return
        _say(f"hanging targets, round {number + 1} of {run.plan.delay_rounds}")
        for name in (name for name in kinds if name in CONTINUOUS):
            sample = {}
            for hanging in (0, HANGING):
                job = run.job(port=run.targets.logged_port, interval=interval, hanging=hanging)
                with run.checker(name, job):
                    time.sleep(interval)
                    run.targets.begin_log()
                    begun = time.time()
                    time.sleep(run.plan.delay_seconds)
                    late = _lateness(run.targets.asked(), begun, time.time(), job)
                sample[str(hanging)] = {
                    "checks": len(late), "p99_ms": late[len(late) * 99 // 100],
                    "worst_ms": late[-1]}
            results["delay"][name].append(sample)


def _documents(run, kinds, results):
    """The status document while nothing is checked: what it costs to be asked for it."""
    # Checks have all been made within ten seconds, and come again in an hour.
    with contextlib.ExitStack() as stack:
        job = run.job(interval=3600)
        asked = {name: stack.enter_context(run.checker(name, job))
                 for name in kinds if name in CONTINUOUS}
        _say("status documents")
        time.sleep(11)
        for _ in range(run.plan.documents):
            for name, running in asked.items():
                results["document"][name].append(_ask_for_it(running, running.document, 1))
            time.sleep(1.1)  # a printed page is a second old at most
        weir = asked.get("weir")
        if weir:
            known = {"If-None-Match": ask(weir.port, weir.document)[1]["ETag"]}
            results["again"]["weir"].append(_ask_for_it(weir, weir.document, 50))
            known = {"If-None-Match": ask(weir.port, weir.document)[1]["ETag"]}
            results["unchanged"]["weir"].append(
                _ask_for_it(weir, weir.document, 50, known, expected=304))


def _ask_for_it(running, path, count, headers=None, expected=200):
    used, size = cpu_ns([running.pid]), 0
    for _ in range(count):
        status, _, body = ask(running.port, path, headers)
        if status != expected:
            raise BenchError(f"{path}: {status}, not {expected}")
        size = len(body)
    return {"count": count, "cpu_ns": cpu_ns([running.pid]) - used, "bytes": size}


def _starts(run, kinds, results):
    _say("starts")
    for _ in range(run.plan.starts):
        for name in kinds:
            with run.checker(name, run.job(interval=60)) as running:
                results["start"][name].append({"seconds": running.start_seconds})


def measure(programs, kinds, plan):
    """Runs everything; returns one dictionary of raw samples."""
    begun = time.monotonic()
    results = {"plan": dataclasses.asdict(plan), "checkers": list(kinds), "cores": cores()}
    for key in ("http", "tcp", "rate", "delay", "document", "again", "unchanged", "start"):
        results[key] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as scratch:
        run = Run(programs, plan, pathlib.Path(scratch))
        try:
            _checks(run, kinds, results, "http")
            _rate(run, kinds, results)
            _documents(run, kinds, results)
            _starts(run, kinds, results)
            _delays(run, kinds, results)
            _checks(run, kinds, results, "tcp")
        finally:
            run.targets.close()
        results["shortened"] = run.shortened
    results["seconds"] = time.monotonic() - begun
    return results
