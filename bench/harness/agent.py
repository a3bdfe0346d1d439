# SPDX-License-Identifier: Apache-2.0
"""What is measured for the agent's command line, and in which order.

`weir forward` beside `ssh -R`, both with the same origin behind and TLS in front, and nginx without
a tunnel as what there is to add to. A sample is what one of them did in one window; nothing is
averaged here.
"""

import contextlib
import dataclasses
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from . import edges, engine
from .procs import BenchError, cores, end, environment, free_port, pinned

FRONTS = ("forward", "openssh", "nginx")
TUNNELS = ("forward", "openssh")
STALLED = 100
START_SECONDS_MAX = 20
SSH_ONLINE = "remote forward success"  # with -v
STILL_SECONDS = 2
LATENCY_SKIP_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    rounds: int
    starts: int
    requests: int
    rate: int
    rate_seconds: int
    tunnels: int
    streams: tuple
    ssh_streams: int
    budget_seconds: int


FULL = Plan("full", 5, 15, 20000, 1000, 3, 100, (1000, 5000), 1000, 230)
QUICK = Plan("quick", 2, 3, 2000, 1000, 2, 100, (200,), 200, 60)


def _start_ms(command, said, answers):
    """From exec until it says that the port is published; then a visitor has to be answered."""
    begun = time.monotonic()
    process = subprocess.Popen(pinned(cores()[1], command), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env=environment())
    bound = threading.Timer(START_SECONDS_MAX, process.kill)
    bound.start()
    lines = []
    try:
        for line in process.stdout:
            if said in line:
                taken_ms = (time.monotonic() - begun) * 1000
                if not answers():
                    break
                return taken_ms
            lines.append(line)
        raise BenchError(f"{command[0]} published nothing:\n{''.join(lines[-10:])}")
    finally:
        bound.cancel()
        end(process)
        process.stdout.close()


def _weir_start(run, front, number):
    label = f"start{number}"
    command = front.command(run.programs, run.scratch, "--host", label, run.origin.port)
    return _start_ms(command, edges.ONLINE,
                     lambda: edges.answers(front.port, f"{label}.t.{edges.HOST}"))


def _ssh_start(run, sshd):
    port = free_port()
    return _start_ms(sshd.command([(port, run.origin.port)], "-v"), SSH_ONLINE,
                     lambda: edges.answers(port, edges.HOST, scheme="http"))


def _starts(run, kinds, results):
    """Each against a server that runs already, with a label or port that nobody had before."""
    engine.say(f"{run.plan.starts} starts")
    with contextlib.ExitStack() as stack:
        front = sshd = None
        if "forward" in kinds:
            front = stack.enter_context(run.front("forward"))
        if "openssh" in kinds:
            sshd = stack.enter_context(contextlib.closing(edges.Sshd(run.scratch)))
        for number in range(run.plan.starts):
            if front:
                results["starts"]["forward"].append(_weir_start(run, front, number))
            if sshd:
                results["starts"]["openssh"].append(_ssh_start(run, sshd))


def _traffic(run, kinds, results):
    with contextlib.ExitStack() as stack:
        fronts = {kind: stack.enter_context(run.front(kind)) for kind in kinds}
        for front in fronts.values():
            engine.h2load(front, "--h1", "-c", 64, "-n", 2000)
            engine.h2load(front, "-c", 8, "-m", 8, "-n", 2000)
        for number in range(run.plan.rounds):
            if number >= 2 and not run.in_budget("requests"):
                break
            engine.say(f"requests, round {number + 1} of {run.plan.rounds}")
            for key, (_, how) in engine.SCENARIOS.items():
                for kind, front in fronts.items():
                    results[key][kind].append(engine.request_sample(front, run.plan, how))
            for kind, front in fronts.items():
                results["latency"][kind].append(
                    engine.latency_sample(front, run.plan, run.scratch, LATENCY_SKIP_SECONDS))


def _settled_memory(child, what, online):
    """Memory of a client once it says so often that something is published."""
    edges.wait_for(what, child, lambda: online(child.log_path.read_text(errors="replace")))
    time.sleep(engine.SETTLE_SECONDS)
    return {"pss_bytes": edges.pss_bytes([child.pid]), "rss_bytes": edges.rss_bytes([child.pid])}


def _client(run, command, name):
    return contextlib.closing(edges.Child(cores()[1], command, run.scratch, name))


def _weir_tunnels(run, front, count):
    file = run.scratch / f"tunnels-{count}.yml"
    file.write_text("version: 1\ntunnels:\n" + "".join(
        f"  - {{name: t{number}, forward: {run.origin.port}, tunnel: {{host: t{number}}}}}\n"
        for number in range(count)))
    ports = [run.origin.port] * count
    found = {}
    for verb, words in (("forward", ports), ("run", ("-c", file))):
        command = front.command(run.programs, run.scratch, *words, verb=verb)
        with _client(run, command, f"{verb}-of-{count}") as client:
            found[verb] = _settled_memory(
                client, f"weir {verb}", lambda said: said.count(edges.ONLINE) >= count)
    return found


def _ssh_tunnels(run, count):
    with contextlib.closing(edges.Sshd(run.scratch)) as sshd:
        # ssh asks once only for port 0, however often that is said.
        ports = set()
        while len(ports) < count:
            ports.add(free_port())
        command = sshd.command([(port, run.origin.port) for port in ports], "-v")
        with _client(run, command, f"ssh-of-{count}") as client:
            return _settled_memory(client, "ssh -R", lambda said: said.count(SSH_ONLINE) >= count)


def _tunnels(run, kinds, results):
    for count in (1, run.plan.tunnels):
        engine.say(f"idle tunnels: {count}")
        found = results["tunnels"][str(count)] = {}
        if "forward" in kinds:
            with run.front("forward") as front:
                found.update(_weir_tunnels(run, front, count))
        if "openssh" in kinds:
            found["openssh"] = _ssh_tunnels(run, count)


def _streams(run, count):
    """Visitors that have had an answer each and stay, and so do their streams."""
    with run.front("forward") as front:
        before = {"agent": edges.pss_bytes(front.helpers), "engine": edges.pss_bytes(front.pids)}
        sockets = edges.sockets(front.helpers)
        with engine.held(run.programs, front, "hold", count):
            after = {"agent": edges.pss_bytes(front.helpers),
                     "engine": edges.pss_bytes(front.pids)}
            cpu_ns = edges.cpu_ns(front.helpers)
            time.sleep(STILL_SECONDS)
            cpu_ns = edges.cpu_ns(front.helpers) - cpu_ns
            # A stream is two sockets of the agent: to the engine, and to the origin.
            streams = (edges.sockets(front.helpers) - sockets) // 2
            served = edges.answers(front.port, front.host)
        if not served:
            raise BenchError(f"with {count} streams another visitor got no answer")
        return {"asked": count, "streams": streams, "still_cpu_ns": cpu_ns,
                **{f"{who}_bytes": (after[who] - before[who]) / count for who in before}}


def _plain_stream(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=10)
    stream.sendall(f"GET / HTTP/1.1\r\nHost: {edges.HOST}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"x" * 1024):
        more = stream.recv(65536)
        if not more:
            raise BenchError("ssh -R ended a stream instead of answering")
        answer += more
    return stream


def _ssh_streams(run, count):
    """The same without TLS in front: nginx would not keep a stream for each visitor."""
    with run.front("openssh") as front, contextlib.ExitStack() as stack:
        before = edges.pss_bytes(front.helpers)
        for _ in range(count):
            stack.enter_context(contextlib.closing(_plain_stream(front.back_port)))
        time.sleep(engine.SETTLE_SECONDS)
        return {"asked": count, "streams": count,
                "agent_bytes": (edges.pss_bytes(front.helpers) - before) / count}


def _stalled_visitor(front):
    """Asks for 1 GiB, and reads no more than the first of it."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", front.port), timeout=10)
    visitor = trusting.wrap_socket(plain, server_hostname=front.host)
    visitor.sendall(f"GET /big HTTP/1.1\r\nHost: {front.host}\r\n\r\n".encode())
    answer = visitor.recv(4096)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"1 GiB was asked for, {answer[:100]} came")
    return visitor


def _stalled(run, kind, count):
    with run.front(kind) as front, contextlib.ExitStack() as stack:
        before = edges.pss_bytes(front.helpers)
        for _ in range(count):
            stack.enter_context(contextlib.closing(_stalled_visitor(front)))
        time.sleep(engine.SETTLE_SECONDS)
        return {"asked": count,
                "agent_bytes": (edges.pss_bytes(front.helpers) - before) / count}


def _held(run, kinds, results):
    if "forward" in kinds:
        for count in run.plan.streams:
            engine.say(f"{count} streams at once")
            results["streams"]["forward"].append(_streams(run, count))
    if "openssh" in kinds:
        engine.say(f"{run.plan.ssh_streams} streams at once, OpenSSH")
        results["streams"]["openssh"].append(_ssh_streams(run, run.plan.ssh_streams))
    for kind in (kind for kind in kinds if kind in TUNNELS):
        engine.say(f"{STALLED} streams that are not read, {kind}")
        results["stalled"][kind].append(_stalled(run, kind, STALLED))


def measure(programs, kinds, plan):
    """Runs everything; returns one dictionary of raw samples."""
    begun = time.monotonic()
    results = {"plan": dataclasses.asdict(plan), "fronts": list(kinds), "cores": cores(),
               "tunnels": {}}
    for key in ("starts", "latency", "streams", "stalled", *engine.SCENARIOS):
        results[key] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as scratch:
        run = engine.Run(programs, plan, pathlib.Path(scratch))
        try:
            _starts(run, kinds, results)
            _tunnels(run, kinds, results)
            _held(run, kinds, results)
            _traffic(run, kinds, results)
        finally:
            run.origin.close()
        results["shortened"] = run.shortened
    results["seconds"] = time.monotonic() - begun
    return results
