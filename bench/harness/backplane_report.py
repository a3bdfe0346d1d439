# SPDX-License-Identifier: Apache-2.0
"""From the raw samples of backplane.py to backplane.md and backplane.json."""

import dataclasses
import json

from . import machine
from .backplane import SCENARIOS
from .figures import MISSING, Row, line, median, number

TITLES = {"one": "one relay", "channel": "Redis, pub/sub", "list": "Redis, lists",
          "postgres": "platform, PostgreSQL", "sqlite": "platform, SQLite"}
RATE_WANTED = 20000


def _cross(results):
    return [way for way in results["ways"] if way != "one"]


def _added(results, way, quantile):
    """What the way adds to one relay, in ms; medians of the differences within a round."""
    taken = results["samples"]["open_1000"]
    pairs = zip(taken.get(way, []), taken.get("one", []))
    return median([(far["latency_ns"][quantile] - near["latency_ns"][quantile]) / 1e6
                   for far, near in pairs])


def _relays_us(sample):
    """CPU of both relays per frame; the last of the others are the way's own."""
    relays = sample["server_cpu_ns"] + sum(sample["others_cpu_ns"][:1])
    return relays / sample["frames"] / 1000


def _own_us(sample):
    return sum(sample["others_cpu_ns"][1:]) / sample["frames"] / 1000


def _values(results, key, take):
    return {way: median([take(sample) for sample in samples])
            for way, samples in results["samples"][key].items() if samples}


def _latency_rows(results):
    rows = []
    wanted = (("p50", "channel", 1), ("p50", "postgres", 10), ("p99", None, None))
    for quantile, way, bound in wanted:
        added = {way: _added(results, way, quantile) for way in _cross(results)}
        row = Row(f"added one-way latency {quantile} at 1,000 frames/s", "ms", added)
        if way is not None and way not in added:
            continue
        if way is not None:
            row.target, row.judged, row.bound = f"< {bound} ms ({TITLES[way]})", added[way], bound
            row.judged_text = f"{number(added[way])} ms"
        rows.append(row)
    return rows


def rows_of(results):
    rows = _latency_rows(results)
    for scenario in SCENARIOS:
        if scenario.key == "open_1000":
            continue
        rate = Row(f"frames/s, {scenario.title}", "1/s",
                   _values(results, scenario.key, lambda s: s["frames_per_s"]))
        if scenario.key == "closed":
            rate.target = f"≥ {RATE_WANTED:,} ({TITLES['channel']})"
            rate.judged, rate.bound, rate.at_least = rate.values.get("channel"), RATE_WANTED, True
            rate.judged_text = number(rate.judged)
        rows += [rate, Row(f"CPU of the relays per frame, {scenario.title}", "µs",
                           _values(results, scenario.key, _relays_us)),
                 Row(f"CPU between the relays per frame, {scenario.title}", "µs",
                     _values(results, scenario.key, _own_us))]
    return rows


def _table(rows, ways):
    out = [line(["what", *(TITLES[way] for way in ways), "target", "weir has", "verdict"]),
           "|---" + "|---:" * len(ways) + "|---|---|---|"]
    for row in rows:
        out.append(line([f"{row.title}, {row.unit}", *(number(row.values.get(way)) for way in ways),
                         row.target, row.judged_text if row.judged is not None else MISSING,
                         row.verdict()]))
    return out


def _detail(results):
    out = [line(["traffic", "way", "frames/s", "p50, ms", "p99, ms", "p99.9, ms",
                 "first relay's share of its core", "generator's share"]),
           "|---|---" + "|---:" * 6 + "|"]
    for scenario in SCENARIOS:
        for way, samples in results["samples"][scenario.key].items():
            if not samples:
                continue
            out.append(line([
                scenario.title, TITLES[way], number(median([s["frames_per_s"] for s in samples])),
                *(number(median([s["latency_ns"][q] / 1e6 for s in samples]))
                  for q in ("p50", "p99", "p999")),
                f"{median([s['server_share'] for s in samples]):.0%}",
                f"{median([s['generator_share'] for s in samples]):.0%}"]))
    return out


def _method(results):
    plan = results["plan"]
    server_core, generator_core = results["cores"]
    return [
        f"One run of `./bench/run backplane`, {results['seconds']:.0f} s, plan `{plan['name']}`: "
        f"both relays (one worker each) and what is between them on core {server_core}, generator and stub "
        f"platform on core {generator_core}; ways in alternation, {plan['rounds']} rounds, windows "
        f"of {plan['window_seconds']} s after {plan['warmup_seconds']} s of warm-up. Figures are "
        "medians over the rounds. Daemons are on the first relay, clients on the second, and frames "
        "go both ways; with `one relay` all are on one. Messages are signed. For the lists presence "
        "is written anew without the member that says that a relay reads channels.",
    ]


def write(results, output):
    """Writes backplane.md and backplane.json into `output` and prints the result table."""
    results["machine"] = machine.describe(["weir"])
    rows = rows_of(results)
    results["rows"] = [{**dataclasses.asdict(row), "verdict": row.verdict()} for row in rows]
    output.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["# Two relays, measured", "", machine.paragraph(results["machine"], ["weir"]),
                      "", "## Result", "", *_table(rows, results["ways"]), "", "## In detail", "",
                      *_detail(results), "", "## Method", "", *_method(results)]) + "\n"
    (output / "backplane.md").write_text(text, encoding="utf-8")
    (output / "backplane.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print()
    print("\n".join(_table(rows, results["ways"])))
    print(f"\n{results['seconds']:.0f} s; written to {output}/backplane.md and backplane.json")
