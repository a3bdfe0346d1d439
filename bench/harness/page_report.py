# SPDX-License-Identifier: Apache-2.0
"""From raw samples of the page's bench to page.md and page.json."""

import dataclasses
import json

from . import machine
from .figures import Row, line, median, number


def _share(sample):
    return sample["cpu_ns"] / 1e9 / sample["seconds"] * 100


def _a_second(samples, key, scale=1.0):
    return median([sample[key] / sample["seconds"] / scale for sample in samples])


def rows_of(results):
    crowd, watchers = results["crowd"], results["watchers"]
    # Paired: what one round took with them, less what it took without.
    cost = median([_share(some) - _share(none) for none, some in zip(results["nobody"], crowd)])
    return [
        Row("events", "1/s", {"nobody": _a_second(results["nobody"], "events"),
                              "crowd": _a_second(crowd, "events")}),
        Row("the monitor's share of a core", "%", {
            "nobody": median([_share(sample) for sample in results["nobody"]]),
            "crowd": median([_share(sample) for sample in crowd])}),
        Row("what the sockets take of it", "%", {"crowd": cost}, "< 1 %", cost, 1.0,
            f"{number(cost)} %"),
        Row("messages to one watcher", "1/s",
            {"crowd": _a_second(crowd, "messages", watchers)}),
        Row("bytes to one watcher", "KiB/s", {"crowd": _a_second(crowd, "bytes", watchers * 1024)}),
    ]


def _table(rows, watchers):
    out = [line(["what", "nobody watches", f"{watchers} watch", "target", "verdict"]),
           "|---|---:|---:|---|---|"]
    for row in rows:
        out.append(line([f"{row.title}, {row.unit}", number(row.values.get("nobody")),
                         number(row.values.get("crowd")), row.target, row.verdict()]))
    return out


def _method(results):
    plan = results["plan"]
    core, other = results["cores"]
    return [
        f"One run of `./bench/run page`, {results['seconds']:.0f} s, plan `{plan['name']}`. The "
        f"monitor runs on core {core}, the watchers on core {other}. Ten services are checked once a "
        "second, and each check finds another state than the one before: ten events a second, each "
        "with the rows that it changes, sums among them. "
        f"{plan['services']:,} more services stay as they are; all rows are looked at every ten "
        f"seconds. {plan['rounds']} rounds, each {plan['window_seconds']} s without a watcher and as "
        "long with a hundred, who have read their snapshots before; CPU is the monitor's own clock, "
        "user and kernel; figures are medians, the difference that of each round. Over loopback the "
        "kernel does the receivers' work on the sender's account, too.",
    ]


def _markdown(results, rows):
    facts = results["machine"]
    kind = "Virtual machine" if facts["virtual"] else "Machine"
    return "\n".join([
        "# The page's socket, measured", "",
        f"{facts['date']}. {kind} with {facts['cores']} cores of {facts['processor']}, "
        f"{facts['memory']}; {facts['system']}, Linux {facts['kernel']}; {facts['compiler']}.", "",
        "## Result", "", *_table(rows, results["watchers"]), "", "## Method", "",
        *_method(results)]) + "\n"


def write(results, output):
    """Writes page.md and page.json into `output` and prints the result table."""
    results["machine"] = machine.describe(("weir",))
    rows = rows_of(results)
    results["rows"] = [{**dataclasses.asdict(row), "verdict": row.verdict()} for row in rows]
    output.mkdir(parents=True, exist_ok=True)
    (output / "page.md").write_text(_markdown(results, rows), encoding="utf-8")
    (output / "page.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print()
    print("\n".join(_table(rows, results["watchers"])))
    print(f"\n{results['seconds']:.0f} s; written to {output}/page.md and page.json")
