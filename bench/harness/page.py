# SPDX-License-Identifier: Apache-2.0
"""What the monitor's page costs the server that tells it.

Ten services are checked once a second, and each check finds another state than the one before: ten
events a second, with what they change. The same monitor is measured without a watcher and with a
hundred, in turns; the difference is what the sockets cost. Nothing is averaged here.
"""

import dataclasses
import json
import os
import pathlib
import selectors
import socket
import tempfile
import threading
import time

from .checkers import Checker, ask
from .edges import cpu_ns
from .procs import BenchError, cores

EVENTS_PER_SECOND = 10
WATCHERS = 100
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclasses.dataclass(frozen=True)
class Plan:
    name: str
    rounds: int
    window_seconds: float
    services: int  # that are checked besides, once in an hour


FULL = Plan("full", 5, 12, 2000)
QUICK = Plan("quick", 2, 4, 200)


class Monitor(Checker):
    def __init__(self, programs, scratch, services):
        self.flags = [scratch / f"{i}.pid" for i in range(EVENTS_PER_SECOND)]
        registry = scratch / "registry.yml"
        lines = ["hosts:", "  here: {ip: 127.0.0.1}", "services:"]
        checks = [(path, "1s") for path in self.flags] + [
            (scratch / "none.pid", "1h") for _ in range(services)]
        for i, (path, interval) in enumerate(checks):
            lines += [f"  service-number-{i}:", "    current_host: here",
                      f"    health_check: {{type: process, pid_file: {path}, interval: {interval}, "
                      "failure_threshold: 1}"]
        registry.write_text("\n".join(lines) + "\n", encoding="utf-8")
        super().__init__(lambda port: [programs.weir, "health", "serve", "--registry", registry,
                                       "--listen", f"127.0.0.1:{port}"], scratch, "weir", "/ping")


class Toggles:
    """Turns all services over once a second, as often as they are checked."""

    def __init__(self, flags):
        self.flags = flags
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        there = False
        while not self.over.wait(1):
            there = not there
            for path in self.flags:
                if there:
                    path.write_text(str(os.getpid()), encoding="ascii")
                else:
                    path.unlink(missing_ok=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


class Crowd:
    """Watchers that read whatever comes, and count it."""

    def __init__(self, port, count):
        self.selector = selectors.DefaultSelector()
        self.sockets = [self._open(port) for _ in range(count)]
        self.bytes = 0
        self.over = False
        self.thread = threading.Thread(target=self._read, daemon=True)

    def _open(self, port):
        peer = socket.create_connection(("127.0.0.1", port), 10)
        peer.sendall((f"GET /ws/page HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                      f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      f"Sec-WebSocket-Key: {KEY}\r\n\r\n").encode())
        if not peer.recv(12).endswith(b" 101"):
            raise BenchError("the monitor does not open its socket")
        peer.setblocking(False)
        self.selector.register(peer, selectors.EVENT_READ)
        return peer

    def _read(self):
        while not self.over:
            for key, _ in self.selector.select(0.2):
                more = key.fileobj.recv(1 << 18)
                if not more:
                    self.selector.unregister(key.fileobj)
                self.bytes += len(more)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        for peer in self.sockets:
            peer.close()


def _events(monitor):
    newest = json.loads(ask(monitor.port, "/api/health/timeline?limit=1")[2])["events"]
    return int(newest[0]["id"].rpartition("-")[2]) if newest else 0


def _messages(monitor):
    for line in ask(monitor.port, "/metrics")[2].decode().splitlines():
        if line.startswith("portoser_socket_messages_total "):
            return int(line.split()[1])
    raise BenchError("the monitor does not say how many messages it sent")


def _window(monitor, plan, watchers):
    with Crowd(monitor.port, watchers) as crowd:
        time.sleep(2)  # snapshots are read
        heard, sent, events = crowd.bytes, _messages(monitor), _events(monitor)
        used, begun = cpu_ns([monitor.pid]), time.monotonic()
        time.sleep(plan.window_seconds)
        used, took = cpu_ns([monitor.pid]) - used, time.monotonic() - begun
        return {"cpu_ns": used, "seconds": took, "bytes": crowd.bytes - heard,
                "messages": _messages(monitor) - sent, "events": _events(monitor) - events}


def measure(programs, plan):
    """Runs everything; returns one dictionary of raw samples."""
    begun = time.monotonic()
    results = {"plan": dataclasses.asdict(plan), "cores": cores(), "watchers": WATCHERS,
               "nobody": [], "crowd": []}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as scratch:
        with Monitor(programs, pathlib.Path(scratch), plan.services) as monitor, Toggles(
                monitor.flags):
            print("first checks", flush=True)
            time.sleep(12)
            for number in range(plan.rounds):
                print(f"round {number + 1} of {plan.rounds}", flush=True)
                results["nobody"].append(_window(monitor, plan, 0))
                results["crowd"].append(_window(monitor, plan, WATCHERS))
                time.sleep(6)  # nobody watches any more: the page falls asleep
    results["seconds"] = time.monotonic() - begun
    return results
