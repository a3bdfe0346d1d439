# SPDX-License-Identifier: Apache-2.0
"""From raw samples of the agent's bench to agent.md and agent.json."""

import dataclasses
import json

from . import machine
from .agent import STALLED
from .engine import SCENARIOS
from .figures import MISSING, Row, line, median, medians, number, ratio, times

NAMES = {"forward": "weir forward", "openssh": "OpenSSH -R", "nginx": "nginx, no tunnel"}
MIB = 1 << 20
STREAMS_TARGET = 5000


def _judge(row, target, value, bound, text, at_least=False):
    row.target, row.judged, row.bound, row.at_least = target, value, bound, at_least
    row.judged_text = text
    return row


def _start_rows(results):
    values = medians(results["starts"], lambda ms: ms)
    ours = values.get("forward")
    return [_judge(Row("from start to published", "ms", values), "≤ 1 s", ours, 1000,
                   f"{number(ours)} ms")]


def _request_rows(results, key):
    title = SCENARIOS[key][0]
    tunnels = {kind: taken for kind, taken in results[key].items() if kind != "nginx"}
    return [
        Row(f"{title}: requests per second", "1/s",
            medians(results[key], lambda s: s["requests"] / s["seconds"])),
        Row(f"{title}: CPU per request, both ends of the tunnel and TLS", "µs", medians(
            results[key], lambda s: (s["cpu_ns"] + s["helpers_cpu_ns"]) / s["requests"] / 1000)),
        Row(f"{title}: CPU per request, weir forward or ssh alone", "µs",
            medians(tunnels, lambda s: s["helpers_cpu_ns"] / s["requests"] / 1000)),
    ]


def _added_ms(results, kind, quantile):
    """Paired: what a visitor waits longer than without a tunnel, in the same round."""
    return median([(ours[quantile] - bare[quantile]) / 1000 for ours, bare in
                   zip(results["latency"][kind], results["latency"].get("nginx", []))])


def _latency_rows(results):
    rows = []
    title = f"latency {{}} at {results['plan']['rate']:,} requests/s"
    for quantile in ("p50_us", "p99_us"):
        name = title.format(quantile[:3])
        rows.append(Row(name, "ms", medians(results["latency"],
                                            lambda s, q=quantile: s[q] / 1000)))
        added = {kind: _added_ms(results, kind, quantile) for kind in results["latency"]
                 if kind != "nginx"}
        rows.append(Row(f"{name}, added to nginx without a tunnel", "ms", added))
    return rows


def _tunnel_rows(results):
    rows = []
    for count, found in results["tunnels"].items():
        what = "idle tunnel" if count == "1" else "idle tunnels"
        for ours, command in (("forward", "forward"), ("run", "run")):
            sides = {"forward": found.get(ours), "openssh": found.get("openssh")}
            if ours == "run":
                del sides["openssh"]
            pss, rss = ({side: memory[field] / MIB for side, memory in sides.items() if memory}
                        for field in ("pss_bytes", "rss_bytes"))
            title = f"{int(count):,} {what} of weir {command}"
            row = Row(f"{title}: memory (Pss)", "MiB", pss)
            if count != "1":  # the plan's hundred
                used = pss.get("forward")
                _judge(row, "≤ 8 MiB", used, 8, f"{number(used)} MiB")
            rows += [row, Row(f"{title}: with what it shares with others (Rss)", "MiB", rss)]
    return rows


def _stream_rows(results):
    rows = []
    peer = next((s["agent_bytes"] / 1024 for s in results["streams"].get("openssh", [])), None)
    for sample in results["streams"].get("forward", []):
        count = sample["asked"]
        values = {"forward": sample["agent_bytes"] / 1024}
        if peer and count == results["plan"]["ssh_streams"]:
            values["openssh"] = peer
        rows += [
            _judge(Row(f"{count:,} live streams: memory of one in weir forward (TLS) or ssh", "KiB",
                       values), "≤ 48 KiB", values["forward"], 48,
                   f"{number(values['forward'])} KiB"),
            Row(f"{count:,} live streams: memory of one in the engine, with its visitor", "KiB",
                {"forward": sample["engine_bytes"] / 1024}),
        ]
    stalled = medians(results["stalled"], lambda s: s["agent_bytes"] / 1024)
    if stalled:
        rows.append(_judge(
            Row(f"{STALLED} streams in the middle of 1 GiB that nobody reads: memory of one", "KiB",
                stalled), "≤ 48 KiB", stalled.get("forward"), 48,
            f"{number(stalled.get('forward'))} KiB"))
    most = max(results["streams"].get("forward", []), key=lambda s: s["asked"], default=None)
    if most:
        row = Row("streams at once, all answered", "", {"forward": most["streams"]})
        # A plan that asks for fewer says nothing about the target.
        if most["asked"] >= STREAMS_TARGET:
            _judge(row, f"≥ {STREAMS_TARGET:,}", most["streams"], STREAMS_TARGET,
                   f"{most['streams']:,}", at_least=True)
        rows.append(row)
    return rows


def rows_of(results):
    return [*_start_rows(results), *_request_rows(results, "h1"), *_request_rows(results, "h2"),
            *_latency_rows(results), *_tunnel_rows(results), *_stream_rows(results)]


def _compared(row):
    ours, theirs = row.values.get("forward"), row.values.get("openssh")
    # Differences that noise has turned round have no ratio.
    return times(ratio(ours, theirs)) if ours and theirs and min(ours, theirs) > 0 else MISSING


def _table(rows, fronts):
    out = [line(["what", *(NAMES[kind] for kind in fronts), "weir / OpenSSH", "target", "weir has",
                 "verdict"]), "|---" + "|---:" * (len(fronts) + 1) + "|---|---|---|"]
    for row in rows:
        out.append(line([
            f"{row.title}, {row.unit}" if row.unit else row.title,
            *(number(row.values.get(kind)) for kind in fronts),
            _compared(row), row.target,
            row.judged_text if row.judged is not None else MISSING, row.verdict()]))
    return out


def _spread_line(what, kind, values):
    return line([what, NAMES[kind], f"{number(median(values))} ({number(min(values))} – "
                                    f"{number(max(values))})", str(len(values))])


def _spreads(results):
    measures = [("from start to published, ms", "starts", lambda ms: ms)]
    for key, (title, _) in SCENARIOS.items():
        measures.append((f"{title}: CPU per request, both ends, µs", key,
                         lambda s: (s["cpu_ns"] + s["helpers_cpu_ns"]) / s["requests"] / 1000))
        measures.append((f"{title}: requests per second", key,
                         lambda s: s["requests"] / s["seconds"]))
    measures += [("latency p50, ms", "latency", lambda s: s["p50_us"] / 1000),
                 ("latency p99, ms", "latency", lambda s: s["p99_us"] / 1000)]
    return [_spread_line(what, kind, [take(sample) for sample in samples])
            for what, key, take in measures
            for kind, samples in results[key].items() if samples]


def _method(results):
    plan = results["plan"]
    front_core, other_core = results["cores"]
    shortened = ", ".join(results["shortened"])
    still = "; ".join(f"with {sample['asked']:,} of them {sample['still_cpu_ns'] / 1e6:.1f} ms"
                      for sample in results["streams"].get("forward", []))
    return [
        f"One run of `./bench/run agent`, {results['seconds']:.0f} s, plan `{plan['name']}`. What "
        f"a server runs (engine; sshd and nginx) is on core {front_core}; origin (nginx, files), "
        f"weir forward or ssh, and generator on core {other_core}; in alternation, "
        f"{plan['rounds']} rounds; figures are medians. weir forward speaks TLS to the engine, "
        "which ends the visitors' TLS; OpenSSH -R is the same nginx as in the last column in front "
        "of sshd's port.",
        "",
        "A start is exec, with the launchers `setpriv` and `taskset`, to the line that says it: "
        "`online` of `weir forward --json`, `remote forward success` of `ssh -v`; the server runs "
        "already, ssh logs in with an Ed25519 key; after that line a visitor has to be answered. "
        "Requests by h2load; every one has to be answered 200. CPU is the processes' own clock "
        "(user and kernel). Latency is that of 50 connections at a fixed rate which all of them "
        "can carry, without the first half second and its handshakes; added is the difference to "
        "nginx in the same round.",
        "",
        "Memory is that of the client alone, 1.5 s after the last tunnel or stream. weir forward "
        "has one control channel for all tunnels, weir run one for each. On the same machine the "
        "engine has the same program and libraries open, which makes Pss smaller than on a machine "
        "of its own; Rss counts all of them and is the upper bound. A live stream has carried a "
        "request and its answer, and visitor, engine, agent and origin keep it; counted by the "
        "sockets of weir forward, two for each, and one more visitor has to be answered meanwhile. "
        "ssh's streams are plain connections to sshd's port. Those that nobody reads come through "
        "TLS on both sides."
        + (f" In two seconds without traffic weir forward takes, {still} of CPU." if still else ""),
        "", *([f"The time budget cut rounds short in: {shortened}."] if shortened else []),
    ]


def _markdown(results, rows):
    return "\n".join([
        "# The agent, measured", "", machine.paragraph(results["machine"], results["peers"]), "",
        "## Result", "", *_table(rows, results["fronts"]), "", "## Spread", "",
        line(["what", "which", "median (lowest – highest)", "samples"]), "|---|---|---:|---:|",
        *_spreads(results), "", "## Method", "", *_method(results)]) + "\n"


def write(results, output):
    """Writes agent.md and agent.json into `output` and prints the result table."""
    results["peers"] = ["weir" if kind == "forward" else kind for kind in results["fronts"]]
    results["machine"] = machine.describe(results["peers"])
    rows = rows_of(results)
    results["rows"] = [{**dataclasses.asdict(row), "verdict": row.verdict()} for row in rows]
    output.mkdir(parents=True, exist_ok=True)
    (output / "agent.md").write_text(_markdown(results, rows), encoding="utf-8")
    (output / "agent.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print()
    print("\n".join(_table(rows, results["fronts"])))
    print(f"\n{results['seconds']:.0f} s; written to {output}/agent.md and agent.json")
