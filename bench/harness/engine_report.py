# SPDX-License-Identifier: Apache-2.0
"""From raw samples of the engine's bench to engine.md and engine.json."""

import dataclasses
import json

from . import machine
from .edges import NAMES
from .engine import SCENARIOS
from .figures import MISSING, Row, line, median, medians, number, ratio, times

GIB = 1 << 30
PASSAGE_BOUND = 1.2  # times the loop that does what the wire asks for
PASSED = {"passthrough": "1 GiB to the visitor", "passed_up": "1 GiB from the visitor"}


def _request_rows(results, key):
    title = SCENARIOS[key][0]
    own = medians(results[key], lambda s: s["cpu_ns"] / s["requests"] / 1000)
    both = medians(results[key], lambda s: (s["cpu_ns"] + s["helpers_cpu_ns"]) / s["requests"] / 1000)
    rate = medians(results[key], lambda s: s["requests"] / s["seconds"])
    # Paired: what one round did, against the same round of the peer.
    paired = [ours["cpu_ns"] / theirs["cpu_ns"]
              for ours, theirs in zip(results[key].get("weir", []), results[key].get("nginx", []))]
    cost = median(paired)
    rows = [Row(f"{title}: CPU per request, the front alone", "µs", own, "≤ 1.3 x nginx", cost, 1.3,
                times(cost)),
            Row(f"{title}: CPU per request with agent or ssh client", "µs", both)]
    if key == "h1":
        rows[1].target, rows[1].bound = "≤ 40 µs", 40
        rows[1].judged, rows[1].judged_text = both.get("weir"), f"{number(both.get('weir'))} µs"
    return [*rows, Row(f"{title}: requests per second", "1/s", rate)]


def _latency_rows(results):
    rate = results["plan"]["rate"]
    rows = []
    for quantile, bound in (("p50_us", None), ("p99_us", 3)):
        values = medians(results["latency"], lambda s, q=quantile: s[q] / 1000)
        row = Row(f"latency {quantile[:3]} at {rate:,} requests/s", "ms", values)
        if bound:
            row.target, row.bound = f"< {bound} ms", bound
            row.judged, row.judged_text = values.get("weir"), f"{number(values.get('weir'))} ms"
        rows.append(row)
    return rows


def _body_rows(results):
    speed = medians(results["body"], lambda s: GIB / 1e6 / s["seconds"])
    cpu = medians(results["body"], lambda s: (s["cpu_ns"] + s["helpers_cpu_ns"]) / 1e9)
    return [
        Row("1 GiB body", "MB/s", speed, "≥ 800 MB/s", speed.get("weir"), 800,
            f"{number(speed.get('weir'))} MB/s", at_least=True),
        Row("1 GiB body: CPU with agent or ssh client", "CPU-s/GiB", cpu, "≤ 2.0", cpu.get("weir"),
            2.0, number(cpu.get("weir"))),
    ]


def _own_cpu(results, key):
    return medians(results[key], lambda s: s["cpu_ns"] / 1e9)


def _paired(samples, kind):
    """weir's CPU against that of another front in the same round."""
    return median([ours["cpu_ns"] / theirs["cpu_ns"]
                   for ours, theirs in zip(samples.get("weir", []), samples.get(kind, []))])


def _passed_rows(results):
    rows = []
    for key, title in PASSED.items():
        cost = _paired(results[key], "passage")
        rows.append(Row(f"{title}, passed through: CPU of the front alone", "CPU-s/GiB",
                        _own_cpu(results, key), f"≤ {PASSAGE_BOUND} x the TLS loop", cost,
                        PASSAGE_BOUND, times(cost)))
    both = medians(results["passthrough"], lambda s: (s["cpu_ns"] + s["helpers_cpu_ns"]) / 1e9)
    return [*rows, Row("1 GiB to the visitor, passed through: CPU with the agent", "CPU-s/GiB", both)]


def _passed_table(results):
    out = [line(["front", "agent's leg", *(f"{title}, CPU-s (weir / it)" for title in PASSED.values())]),
           "|---|---|---:|---:|"]
    for kind in results["passthrough"]:
        cells = []
        for key in PASSED:
            own = _own_cpu(results, key).get(kind)
            cells.append(f"{number(own)} ({times(_paired(results[key], kind))})")
        out.append(line([NAMES[kind], "TLS" if kind in ("weir", "passage") else "plain", *cells]))
    return out


def _handshake_rows(results):
    values = medians(results["handshakes"], lambda s: s["server_cpu_ns"] / s["connections"] / 1000)
    cost = median([ours["server_cpu_ns"] / theirs["server_cpu_ns"] for ours, theirs in
                   zip(results["handshakes"].get("weir", []), results["handshakes"].get("nginx", []))])
    one, two = ([s["server_cpu_ns"] / s["connections"] / 1000 for s in results["workers"][workers]]
                for workers in ("1", "2"))
    # Two cores serve two workers' worth; what a handshake costs more with two is what is lost.
    capacity = median([2 * a / b for a, b in zip(one, two)])
    return [
        Row("new TLS connection, ECDSA P-256: CPU", "µs", values, "≤ 1.05 x nginx", cost, 1.05,
            times(cost)),
        Row(f"the same with two workers (one: {number(median(one))})", "µs",
            {"weir": median(two)}, "two workers ≥ 1.7 x one", capacity, 1.7,
            f"{number(capacity)} x by CPU", at_least=True),
    ]


def _idle_rows(results):
    rows = []
    for count, samples in results["idle"].items():
        values = {kind: sample["bytes_per_connection"] / 1024 for kind, sample in samples.items()}
        rows.append(Row(f"{int(count):,} idle TLS connections: memory of one", "KiB", values,
                        "≤ 16 KiB", values.get("weir"), 16, f"{number(values.get('weir'))} KiB"))
    asked = {kind: sample["bytes_per_connection"] / 1024
             for kind, sample in results["asked"].items()}
    return [*rows, Row("the same after one request (weir: and its stream to the agent)", "KiB",
                       asked)]


def rows_of(results):
    return [*_request_rows(results, "h1"), *_request_rows(results, "h2"), *_latency_rows(results),
            *_body_rows(results), *_passed_rows(results), *_handshake_rows(results), *_idle_rows(results)]


def _table(rows, fronts):
    out = [line(["what", *(NAMES[kind] for kind in fronts), "weir / nginx", "target", "weir has",
                 "verdict"]), "|---" + "|---:" * (len(fronts) + 1) + "|---|---|---|"]
    for row in rows:
        out.append(line([
            f"{row.title}, {row.unit}", *(number(row.values.get(kind)) for kind in fronts),
            times(ratio(row.values.get("weir"), row.values.get("nginx"))), row.target,
            row.judged_text if row.judged is not None else MISSING, row.verdict()]))
    return out


def _spread(results, key):
    out = []
    for kind, samples in results[key].items():
        cpu = [s["cpu_ns"] / s["requests"] / 1000 for s in samples]
        share = median([s["cpu_ns"] / 1e9 / s["seconds"] for s in samples])
        if cpu:
            out.append(line([SCENARIOS[key][0], NAMES[kind],
                             f"{number(median(cpu))} ({number(min(cpu))} – {number(max(cpu))})",
                             f"{share:.0%}"]))
    return out


def _method(results):
    plan = results["plan"]
    front_core, other_core = results["cores"]
    shortened = ", ".join(results["shortened"])
    return [
        f"One run of `./bench/run engine`, {results['seconds']:.0f} s, plan `{plan['name']}`. Every "
        f"front runs on core {front_core}; origin (nginx, files), agent or ssh client, and generator "
        f"on core {other_core}; fronts in alternation, {plan['rounds']} rounds; figures are medians, "
        "ratios to nginx medians of the ratios within a round. weir runs one worker and speaks to "
        "the agent in C of `bench/tunnel`, so it carries two TLS legs where nginx and HAProxy carry "
        "one; OpenSSH -R is nginx for the TLS, and sshd and ssh for the tunnel.",
        "",
        "CPU is the processes' own clock (user and kernel). Requests by h2load; every one has to be "
        "answered 200. New connections by `weir-bench-tls connect`: full handshakes, orderly "
        "closes. Memory is Pss before and 1.5 s after the connections; one that has made a request "
        "keeps its stream to the agent, a TLS connection of its own, for http_idle_seconds. 1 GiB is fetched by curl, which decrypts it on the same two cores, so its MB/s "
        "say as much about curl. Passed through: the origin's own TLS, which nobody opens on the "
        "way; between weir and its agent it is encrypted a second time, which nginx, HAProxy and the "
        "splice loop do not have to do. The TLS loop (`bench/floor/passage.c`) does it, with the "
        "same agent, and nothing else.",
        "", *([f"The time budget cut rounds short in: {shortened}."] if shortened else []),
    ]


def _markdown(results, rows):
    return "\n".join([
        "# The engine, measured", "",
        machine.paragraph(results["machine"], results["peers"]), "",
        "## Result", "", *_table(rows, results["fronts"]), "", "## Requests in detail", "",
        line(["traffic", "front", "CPU per request, µs (lowest – highest)",
              "front's share of its core"]), "|---|---|---:|---:|",
        *_spread(results, "h1"), *_spread(results, "h2"), "", "## Passed through", "",
        *_passed_table(results), "", "## Method", "",
        *_method(results)]) + "\n"


def write(results, output):
    """Writes engine.md and engine.json into `output` and prints the result table."""
    results["machine"] = machine.describe(results["fronts"])
    results["peers"] = [kind for kind in results["fronts"] if kind in results["machine"]]
    rows = rows_of(results)
    results["rows"] = [{**dataclasses.asdict(row), "verdict": row.verdict()} for row in rows]
    output.mkdir(parents=True, exist_ok=True)
    (output / "engine.md").write_text(_markdown(results, rows), encoding="utf-8")
    (output / "engine.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print()
    print("\n".join(_table(rows, results["fronts"])))
    print(f"\n{results['seconds']:.0f} s; written to {output}/engine.md and engine.json")
