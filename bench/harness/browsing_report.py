# SPDX-License-Identifier: Apache-2.0
"""From raw samples of the page's bench to browser.md and browser.json."""

import json

from . import machine
from .figures import line, median, number
from .browsing import FEW, STEPS

BOUND_MS = 1000


def _loads(results):
    out = [line(["view", "first paint, ms (lowest – highest)", "first row of the list, ms",
                 "document, KiB", "target of the first paint", "verdict"]),
           "|---|---:|---:|---:|---|---|"]
    for view, samples in results["loads"].items():
        paint = [sample["paint"] for sample in samples]
        row = [sample["row"] for sample in samples]
        reached = median(paint) < BOUND_MS
        out.append(line([
            view, f"{number(median(paint))} ({number(min(paint))} – {number(max(paint))})",
            f"{number(median(row))} ({number(min(row))} – {number(max(row))})",
            number(median([sample["document"] for sample in samples]) / 1024),
            f"< {BOUND_MS:,} ms", "reached" if reached else "**missed**"]))
    return out


def _rides(results):
    many = results["plan"]["many"]
    out = [line(["list", f"{many:,} rows: a frame, ms (median, 95 %)",
                 f"{FEW} rows: a frame, ms (median, 95 %)", "ratio of the 95 %", "rows in the page"]),
           "|---|---:|---:|---:|---:|"]
    for view, taken in results["rides"].items():
        def of(count, key, taken=taken):
            return median([sample[key] for sample in taken[count]])
        out.append(line([
            view, f"{number(of(many, 'median_ms'))}, {number(of(many, 'p95_ms'))}",
            f"{number(of(FEW, 'median_ms'))}, {number(of(FEW, 'p95_ms'))}",
            f"{of(many, 'p95_ms') / of(FEW, 'p95_ms'):.2f} x",
            str(max(sample["rows"] for sample in taken[many]))]))
    return out


def _markdown(results):
    facts = results["machine"]
    plan = results["plan"]
    kind = "Virtual machine" if facts["virtual"] else "Machine"
    return "\n".join([
        "# The page in a browser, measured", "",
        f"{facts['date']}. {kind} with {facts['cores']} cores of {facts['processor']}, "
        f"{facts['memory']}; {facts['system']}, Linux {facts['kernel']}; {facts['compiler']}; "
        f"weir {facts['weir']}, {facts['chromium']}. Browser, monitor and stubs share the cores.", "",
        f"## Opened with {plan['checks']:,} checks, {plan['checks']:,} cells and {plan['checks']:,} "
        "tunnels", "", *_loads(results), "",
        "## Scrolled", "", *_rides(results), "",
        "## Method", "",
        f"One run of `./bench/run browser`, {results['seconds']:.0f} s, plan `{plan['name']}`. Headless "
        f"Chromium, 1280 by 1000 pixels, no GPU, its cache emptied before each of {plan['loads']} "
        "loads. First paint is the browser's own first-contentful-paint; the first row counts when "
        "the frame with it has been handed over. The monitor checks pid files every ten seconds; "
        "the relay and the engine are stubs that answer with documents of that size.", "",
        f"A ride scrolls a list by three rows a frame, {STEPS} times, and back where it ends; what is "
        f"told are the times between frames, of {plan['rides']} rides each, in alternation.", ""])


def write(results, output):
    """Writes browser.md and browser.json into `output` and prints the result."""
    results["machine"] = machine.describe(["weir", "chromium"])
    output.mkdir(parents=True, exist_ok=True)
    text = _markdown(results)
    (output / "browser.md").write_text(text, encoding="utf-8")
    (output / "browser.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"\n{text}\nwritten to {output}/browser.md and browser.json")
