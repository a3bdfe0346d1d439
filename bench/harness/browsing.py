# SPDX-License-Identifier: Apache-2.0
"""How fast the page is there, and how smoothly its lists move: headless Chromium with an empty cache
against a monitor of many checks, beside a relay and an engine that hold as many cells and tunnels.

The relay and the engine are stubs that answer with documents of that size: what is measured is the
monitor and the page.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
import tempfile
import time

from .build import ROOT
from .procs import BenchError

sys.path.insert(0, str(ROOT / "tests"))
from lib import browser, health, stage  # noqa: E402  pylint: disable=wrong-import-position
from lib.wait import eventually  # noqa: E402  pylint: disable=wrong-import-position

VIEWS = {"services": "", "cells": "#relay", "tunnels": "#tunnels"}
FEW = 100
STEPS = 120  # frames of one ride through a list

# Before anything of the page: when did the first row of a list stand there, drawn by the page's script?
WATCH = """
new MutationObserver((_, watch) => {
  if (document.querySelector('.rows .row') !== null) {
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.firstRow = performance.now(); }));
  }
}).observe(document, { childList: true, subtree: true });
"""
PAINT = """
const paint = performance.getEntriesByName('first-contentful-paint')[0]?.startTime;
const page = performance.getEntriesByType('navigation')[0];
return window.firstRow === undefined || paint === undefined ? null
  : { paint, row: window.firstRow, document: page.transferSize };
"""
# Through a list by three rows a frame, and back where it ends: how long each frame took, and the most
# rows that there were.
RIDE = """
const [steps, done] = arguments;
const list = document.querySelector('.rows');
const end = list.scrollHeight - list.clientHeight;
let way = 3 * list.querySelector('li').offsetHeight;
const frames = [];
let most = 0, step = 0, last = performance.now();
function next(now) {
  frames.push(now - last);
  last = now;
  most = Math.max(most, list.querySelectorAll('.row').length);
  if (++step > steps) done({ frames: frames.slice(2), rows: most });
  else {
    if (list.scrollTop + way > end || list.scrollTop + way < 0) way = -way;
    list.scrollTop += way;
    requestAnimationFrame(next);
  }
}
requestAnimationFrame(next);
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    checks: int
    many: int
    loads: int
    rides: int


FULL = Plan("full", 2000, 10000, 9, 5)
QUICK = Plan("quick", 2000, 10000, 3, 1)


@contextlib.contextmanager
def _site(directory, count):
    """A monitor of so many checks, beside as many cells and tunnels."""
    directory.mkdir()
    lab = health.Lab(directory)
    check = {"type": "process", "pid_file": str(directory / "good.pid"), "interval": 10}
    lab.write({f"service-{i:05}": check for i in range(count)})
    neighbours = stage.Neighbours(count)
    monitor = health.Monitor(directory / "registry.yml", *neighbours.options(), env=lab.env)
    try:
        eventually(lambda: monitor.get("/api/health/dashboard")["healthy_services"] == count,
                   "every service was checked", 60)
        yield monitor
    finally:
        monitor.stop()
        neighbours.stop()


def _open(driver, url, view):
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    driver.get(f"{url}/health{VIEWS[view]}")
    return eventually(lambda: driver.execute_script(PAINT), f"the list of {view}", 30)


def _ride(driver, url, view):
    _open(driver, url, view)
    time.sleep(1)  # what belongs to loading is over
    seen = driver.execute_async_script(RIDE, STEPS)
    frames = sorted(seen["frames"])
    return {"median_ms": frames[len(frames) // 2], "p95_ms": frames[len(frames) * 95 // 100],
            "rows": seen["rows"]}


def measure(programs, plan):
    begun = time.monotonic()
    os.environ["WEIR_BIN"] = str(programs.weir)
    loads = {view: [] for view in VIEWS}
    rides = {view: {FEW: [], plan.many: []} for view in VIEWS}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        scratch = pathlib.Path(scratch)
        driver = browser.start(scratch / "chromium")
        stack.callback(driver.quit)
        driver.set_window_size(1280, 1000)
        driver.set_script_timeout(60)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        with _site(scratch / "loads", plan.checks) as monitor:
            for view in VIEWS:
                _open(driver, monitor.url, view)  # the browser itself has warmed up
            for _ in range(plan.loads):
                for view, samples in loads.items():
                    samples.append(_open(driver, monitor.url, view))
        with _site(scratch / "few", FEW) as few, _site(scratch / "many", plan.many) as many:
            for _ in range(plan.rides):
                for view, samples in rides.items():
                    samples[FEW].append(_ride(driver, few.url, view))
                    samples[plan.many].append(_ride(driver, many.url, view))
    if any(sample["rows"] >= FEW for taken in rides.values() for sample in taken[plan.many]):
        raise BenchError("a list holds rows that are not in sight")
    return {"plan": dataclasses.asdict(plan), "loads": loads, "rides": rides,
            "seconds": time.monotonic() - begun}
