# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios, verdicts: from raw samples to relay.md and relay.json."""

import dataclasses
import json

from . import machine
from .figures import MISSING, Row, line, median, number, ratio, times
from .relay import SCENARIOS

NAMES = {"floor": "floor", "weir": "weir", "uws": "uWebSockets", "node": "Node"}


def _medians(results, key, take):
    return {kind: median([take(sample) for sample in samples])
            for kind, samples in results["traffic"][key].items()}


def _cpu_row(results, key, title, target, bound, against_floor):
    values = _medians(results, key, lambda sample: sample["server_cpu_ns_per_frame"] / 1000)
    weir = values.get("weir")
    against = ratio(weir, values.get("floor"))
    if against_floor:
        return Row(title, "µs", values, target, against, bound, times(against))
    return Row(title, "µs", values, target, weir, bound, f"{number(weir)} µs")


def _beside_uws_row(results, key, title):
    values = _medians(results, key, lambda sample: sample["server_cpu_ns_per_frame"] / 1000)
    weir = values.get("weir")
    against = ratio(weir, values.get("uws"))
    return Row(title, "µs", {kind: values.get(kind) for kind in ("weir", "uws")},
               "≤ uWebSockets", against, 1, times(against))


def _latency_row(results, quantile, title, bound):
    values = _medians(results, "open_5000", lambda sample: sample["latency_ns"][quantile] / 1000)
    samples = results["traffic"]["open_5000"]
    added = median([(ours["latency_ns"][quantile] - floors["latency_ns"][quantile]) / 1000
                     for ours, floors in zip(samples.get("weir", []), samples.get("floor", []))])
    return Row(title, "µs", values, f"≤ {bound} µs over the floor", added, bound,
               f"{number(added)} µs over the floor")


def _idle_row(results, how, title, bound_kib):
    values = {kind: sample["bytes_per_connection"] / 1024
              for kind, sample in results["idle"][how].items()}
    weir = values.get("weir")
    return Row(title, "KiB", values, f"≤ {bound_kib} KiB", weir, bound_kib,
               f"{number(weir)} KiB")


def _start_row(results, field, scale, title, unit, bound):
    values = {kind: median([sample[field] * scale for sample in samples])
              for kind, samples in results["starts"].items()}
    weir = values.get("weir")
    return Row(title, unit, values, f"< {bound} {unit}", weir, bound, f"{number(weir)} {unit}")


def _connect_rows(results):
    medians = {kind: {shape: median([s["server_cpu_ns_per_connection"] / 1000 for s in samples])
                      for shape, samples in shapes.items()}
               for kind, shapes in results["connect"].items()}
    one = {kind: shapes["one_cell"] for kind, shapes in medians.items()}
    own = {kind: shapes["own_cells"] for kind, shapes in medians.items()}
    growth = ratio(own.get("weir"), one.get("weir"))
    count = f"{results['plan']['connections']:,}"
    return [
        Row(f"CPU per connection, {count} clients in one cell", "µs", one),
        Row(f"CPU per connection, {count} clients in {count} cells", "µs", own,
            "the same (≤ 1.1 x one cell)", growth, 1.1, times(growth)),
        Row(f"CPU per TLS connection, ECDSA P-256, {count} peers", "µs",
            {kind: sample["connect"]["server_cpu_ns_per_connection"] / 1000
             for kind, sample in results["idle"]["tls"].items()}),
    ]


def _second_worker_row(results):
    samples = results.get("second_worker")
    if samples is None:
        return Row("the same pair with a second worker", "µs", {}, "≤ 1.05 x one worker", None, 1.05)
    per_frame = {workers: [s["server_cpu_ns_per_frame"] / 1000 for s in taken]
                 for workers, taken in samples.items()}
    cost = median([two / one for one, two in zip(per_frame["1"], per_frame["2"])])
    return Row(f"CPU per 512 B frame, one busy pair, `--workers 2` "
               f"(with one: {number(median(per_frame['1']))})", "µs",
               {"weir": median(per_frame["2"])}, "≤ 1.05 x one worker", cost, 1.05, times(cost))


def rows_of(results):
    return [
        _cpu_row(results, "pair_512", "CPU per frame, one busy pair, 512 B", "≤ 1.2 µs", 1.2, False),
        _cpu_row(results, "pair_16k", "CPU per frame, one busy pair, 16 KiB", "≤ 10 µs", 10, False),
        _cpu_row(results, "pairs50_512", "CPU per frame, 50 pairs, 512 B", "≤ 1.2 x floor", 1.2,
                 True),
        _cpu_row(results, "pairs50_16k", "CPU per frame, 50 pairs, 16 KiB", "≤ 1.2 x floor", 1.2,
                 True),
        _beside_uws_row(results, "pairs50_512", "the same beside uWebSockets, 512 B"),
        _beside_uws_row(results, "pairs50_16k", "the same beside uWebSockets, 16 KiB"),
        _latency_row(results, "p50", "latency p50 at 5,000 frames/s", 3),
        _latency_row(results, "p99", "latency p99 at 5,000 frames/s", 15),
        _idle_row(results, "plain", "idle connection, plain", 1),
        _idle_row(results, "tls", "idle connection, TLS", 16),
        _start_row(results, "pss_bytes", 1 / 2**20, "memory before the first client", "MiB", 8),
        _start_row(results, "seconds", 1000, "start to serving", "ms", 50),
        *_connect_rows(results),
        _second_worker_row(results),
    ]


def _summary_table(rows, servers):
    out = [line(["what", *(NAMES[kind] for kind in servers), "weir / floor", "Node / weir",
                  "target", "weir has", "verdict"]),
           "|---" + "|---:" * (len(servers) + 2) + "|---|---|---|"]
    for row in rows:
        values = row.values
        out.append(line([
            f"{row.title}, {row.unit}", *(number(values.get(kind)) for kind in servers),
            times(ratio(values.get("weir"), values.get("floor"))),
            times(ratio(values.get("node"), values.get("weir"))),
            row.target, row.judged_text if row.judged is not None else MISSING, row.verdict()]))
    return out


def _detail_table(results):
    out = [line(["traffic", "server", "frames/s", "CPU per frame, µs (lowest – highest)",
                  "server's share of its core", "of that in the kernel", "generator's share",
                  "p50, µs", "p99, µs", "p99.9, µs"]), "|---|---" + "|---:" * 8 + "|"]
    for scenario in SCENARIOS:
        for kind, samples in results["traffic"][scenario.key].items():
            cpu = [sample["server_cpu_ns_per_frame"] / 1000 for sample in samples]
            used = sum(s["server_user_ns"] + s["server_system_ns"] for s in samples)
            kernel = sum(s["server_system_ns"] for s in samples)
            out.append(line([
                scenario.title, NAMES[kind], number(median([s["frames_per_s"] for s in samples])),
                f"{number(median(cpu))} ({number(min(cpu))} – {number(max(cpu))})",
                f"{median([s['server_share'] for s in samples]):.0%}",
                f"{kernel / used:.0%}" if used else MISSING,
                f"{median([s['generator_share'] for s in samples]):.0%}",
                *(number(median([s["latency_ns"][q] / 1000 for s in samples]))
                  for q in ("p50", "p99", "p999"))]))
    return out


def _lateness(results):
    samples = [sample["lateness_ns"]["p99"] / 1000
               for taken in results["traffic"]["open_5000"].values() for sample in taken]
    return number(median(samples))


def _method(results):
    plan = results["plan"]
    server_core, generator_core = results["cores"]
    shortened = ", ".join(results["shortened"])
    return [
        f"One run of `./bench/run relay`, {results['seconds']:.0f} s, plan `{plan['name']}`: every "
        f"server on core {server_core}, generator and stub platform on core {generator_core}, "
        f"servers in alternation ({', '.join(NAMES[kind] for kind in results['servers'])}, and "
        f"again), {plan['rounds']} rounds, windows of {plan['window_seconds']} s (latency "
        f"{plan['latency_seconds']} s) after {plan['warmup_seconds']} s of warm-up. Figures are "
        "medians over the rounds; latencies over the floor are medians of the differences within "
        "a round.",
        "",
        "CPU is the server's process clock (utime + stime) over the window, divided by the frames "
        "delivered in it. A frame is one `e2ee` message of the size named, half of them from "
        "client to daemon and half back. Latency counts from the moment a frame was allowed to go, "
        "at 5,000 frames/s from the moment it was due. The generator itself was late by "
        f"{_lateness(results)} µs at p99. Memory is Pss, before and after {plan['connections']:,} "
        "connections, over their number. What each row means and what it does not: "
        "[bench/README.md](../README.md).",
        "",
        f"The hypervisor took {results['stolen_seconds']:.1f} s of the two cores during the run."
        + (f" The time budget cut rounds short in: {shortened}." if shortened else ""),
    ]


def _machine_lines(facts):
    kind = "virtual machine" if facts["virtual"] else "machine"
    programs = ", ".join(f"{name} {facts[key]}" for name, key in
                         (("weir", "weir"), ("Node", "node"), ("ws", "ws"), ("uwebsockets", "uwebsockets")) if key in facts)
    return [f"{facts['date']}. {kind.capitalize()} with {facts['cores']} cores of {facts['processor']}, "
            f"{facts['memory']}; {facts['system']}, Linux {facts['kernel']}; {facts['compiler']}; "
            f"{facts['openssl']}; {programs}. Everything over loopback: only ratios travel."]


def _markdown(results, rows):
    lines = ["# The relay, measured", "", *_machine_lines(results["machine"]), "", "## Result", "",
             *_summary_table(rows, results["servers"]), "", "## Traffic in detail", "",
             *_detail_table(results), "", "## Method", "", *_method(results)]
    return "\n".join(lines) + "\n"


def write(results, output):
    """Writes relay.md and relay.json into `output` and prints the result table."""
    results["machine"] = machine.describe(results["servers"])
    rows = rows_of(results)
    results["rows"] = [{**dataclasses.asdict(row), "verdict": row.verdict()} for row in rows]
    output.mkdir(parents=True, exist_ok=True)
    (output / "relay.md").write_text(_markdown(results, rows), encoding="utf-8")
    (output / "relay.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print()
    print("\n".join(_summary_table(rows, results["servers"])))
    print(f"\n{results['seconds']:.0f} s; written to {output}/relay.md and relay.json")
