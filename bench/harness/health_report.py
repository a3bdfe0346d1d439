# SPDX-License-Identifier: Apache-2.0
"""From raw samples of the health monitor's bench to health.md and health.json."""

import dataclasses
import json

from . import machine
from .checkers import NAMES
from .figures import MISSING, Row, line, median, number, ratio, times


def _medians(samples, take):
    return {kind: median([take(sample) for sample in taken]) for kind, taken in samples.items()
            if taken}


def _per_1000_ms(sample):
    return sample["cpu_ns"] / 1e6 / sample["checks"] * 1000


def _judged(title, unit, values, bound, at_least=False):
    ours = values.get("weir")
    sign = "≥" if at_least else "≤"
    return Row(title, unit, values, f"{sign} {bound:,} {unit}", ours, bound,
               f"{number(ours)} {unit}", at_least)


def _cost_rows(results):
    services = results["plan"]["services"]
    rows = []
    for kind in ("http", "tcp"):
        cost = _medians(results[kind], _per_1000_ms)
        title = f"CPU per 1,000 {kind.upper()} checks"
        rows.append(_judged(title, "ms", cost, 45) if kind == "http" else Row(title, "ms", cost))
    # Paired: what one round did, against the same round of the peer.
    paired = median([_per_1000_ms(ours) / _per_1000_ms(theirs) for ours, theirs in
                     zip(results["http"].get("weir", []), results["http"].get("haproxy", []))])
    rows.insert(1, Row("the same, weir / HAProxy, paired", "x", {"weir": paired}, "≤ 1.10 x (45 / 41)",
                       paired, 1.1, times(paired)))
    rows.append(_judged(f"memory at {services:,} HTTP targets", "MiB", _medians(
        results["http"], lambda s: s["pss_bytes"] / (1 << 20)), 16))
    return rows


def _rate_rows(results):
    many = results["plan"]["many"]
    rate = _medians(results["rate"], lambda s: s["checks"] / s["seconds"])
    share = _medians(results["rate"], lambda s: s["cpu_ns"] / 1e9 / s["seconds"] * 100)
    # What the target's core allows is no property of the checker: CPU alone says what one core can do.
    able = _medians(results["rate"], lambda s: s["checks"] / (s["cpu_ns"] / 1e9))
    return [Row(f"{many:,} targets, each once a second: checks made", "1/s", rate),
            Row("the same: share of the core", "%", share),
            _judged("checks that a whole core is enough for, by that share", "1/s", able, 10000,
                    at_least=True)]


def _delay_rows(results):
    def added(key):
        return _medians(results["delay"], lambda s: s["5"][key] - s["0"][key])
    rows = [Row(f"latest start of the others, {hanging} of {results['plan']['services']:,} hang",
                "ms", _medians(results["delay"], lambda s, h=hanging: s[h]["worst_ms"]))
            for hanging in ("0", "5")]
    worst = added("worst_ms")
    return [*rows, _judged("what the five add to the latest start", "ms", worst, 50)]


def _document_rows(results):
    def cost(key):
        return _medians(results[key], lambda s: s["cpu_ns"] / 1e6 / s["count"])
    return [
        _judged(f"status document of {results['plan']['services']:,} services, printed: CPU", "ms",
                cost("document"), 5),
        Row("the same again within a second (printed once for all): CPU", "ms", cost("again")),
        Row("the same unchanged, by ETag: CPU", "ms", cost("unchanged")),
        Row("size of the document", "KiB",
            _medians(results["document"], lambda s: s["bytes"] / 1024)),
    ]


def rows_of(results):
    started = _medians(results["start"], lambda s: s["seconds"] * 1000)
    return [*_cost_rows(results), *_rate_rows(results), *_delay_rows(results),
            *_document_rows(results),
            _judged("start to serving", "ms", started, 50)]


def _table(rows, kinds):
    out = [line(["what", *(NAMES[kind] for kind in kinds), "weir / HAProxy", "target", "weir has",
                 "verdict"]), "|---" + "|---:" * (len(kinds) + 1) + "|---|---|---|"]
    for row in rows:
        out.append(line([
            f"{row.title}, {row.unit}", *(number(row.values.get(kind)) for kind in kinds),
            times(ratio(row.values.get("weir"), row.values.get("haproxy"))), row.target,
            row.judged_text if row.judged is not None else MISSING, row.verdict()]))
    return out


def _spread(results):
    out = []
    for kind in ("http", "tcp"):
        for name, samples in results[kind].items():
            cost = [_per_1000_ms(sample) for sample in samples]
            if cost:
                rate = median([s["checks"] / s["seconds"] for s in samples])
                out.append(line([kind, NAMES[name], f"{number(rate)}",
                                 f"{number(median(cost))} ({number(min(cost))} – {number(max(cost))})"]))
    return out


def _method(results):
    plan = results["plan"]
    core, other = results["cores"]
    shortened = ", ".join(results["shortened"])
    return [
        f"One run of `./bench/run health`, {results['seconds']:.0f} s, plan `{plan['name']}`. "
        f"Checkers run on core {core}, the target (one nginx worker) and whoever asks on core "
        f"{other}; one checker at a time, in alternation, {plan['rounds']} rounds; figures are "
        "medians.",
        "",
        f"CPU is the checker's own clock (user and kernel) over {plan['window_seconds']} s, divided "
        "by the checks nginx counted: requests for HTTP, connections for TCP (HAProxy's by "
        "its schedule: it resets them before nginx counts). weir, HAProxy and monit check "
        f"{plan['services']:,} services each second, every check over a connection of its own; "
        "monit one after the other, so that it makes fewer. The blackbox exporter checks "
        f"when it is asked: h2load asks {plan['probes']:,} times over eight connections. weir's "
        "figure holds everything it does besides: states, events, its log.",
        "",
        "Late is what the distance between two starts of a service is longer than the interval, by "
        "nginx's log in milliseconds; the five that hang accept and never answer, with a timeout "
        "of a second at an interval of two. What the checker's core is taken away by others shows "
        "in both columns; so does a core of the target that has others to serve, in the checks made at "
        "12,000 targets. Memory is Pss after the window. The status document is the dashboard's "
        "JSON, HAProxy's CSV, monit's XML; they hold different things. A start is exec to the first "
        "200, with that many services in the file.",
        "", *([f"The time budget cut rounds short in: {shortened}."] if shortened else []),
    ]


def _markdown(results, rows):
    facts = results["machine"]
    kind = "Virtual machine" if facts["virtual"] else "Machine"
    versions = ", ".join(f"{NAMES[name]} {facts[name]}" for name in results["peers"])
    return "\n".join([
        "# The health monitor, measured", "",
        f"{facts['date']}. {kind} with {facts['cores']} cores of {facts['processor']}, "
        f"{facts['memory']}; {facts['system']}, Linux {facts['kernel']}; {facts['compiler']}; "
        f"{versions}. Everything over loopback: only ratios travel.", "",
        "## Result", "", *_table(rows, results["checkers"]), "", "## Checks in detail", "",
        line(["checks", "checker", "checks per second", "CPU per 1,000, ms (lowest – highest)"]),
        "|---|---|---:|---:|", *_spread(results), "", "## Method", "", *_method(results)]) + "\n"


def write(results, output):
    """Writes health.md and health.json into `output` and prints the result table."""
    results["machine"] = machine.describe(results["checkers"])
    results["peers"] = [kind for kind in results["checkers"] if kind in results["machine"]]
    rows = rows_of(results)
    results["rows"] = [{**dataclasses.asdict(row), "verdict": row.verdict()} for row in rows]
    output.mkdir(parents=True, exist_ok=True)
    (output / "health.md").write_text(_markdown(results, rows), encoding="utf-8")
    (output / "health.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print()
    print("\n".join(_table(rows, results["checkers"])))
    print(f"\n{results['seconds']:.0f} s; written to {output}/health.md and health.json")
