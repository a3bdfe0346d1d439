# SPDX-License-Identifier: Apache-2.0
"""A small site for pictures of the page: machines, services, and a month of what befell them, with a
relay and an engine beside them. The monitor is real, and so is all that it says; its clock is moved,
so that a month takes seconds and always ends at the same moment."""
import datetime
import json
import threading
import time

from lib import health
from lib.clock import NS_PER_S, Clock
from lib.stub_http import StubHttp, sse
from lib.wait import eventually

DAY_S = 86400
ROUND_S = 1800
SPREAD_S = 12  # first checks come within ten seconds
ENDS = datetime.datetime(2026, 3, 14, 3, 12, tzinfo=datetime.timezone.utc).timestamp()
DAYS = 27
ROUNDS = 50

HOSTS = {
    "edge": {"ip": "192.0.2.10", "roles": ["ingress"]},
    "app-1": {"ip": "192.0.2.21", "roles": ["app"]},
    "app-2": {"ip": "192.0.2.22", "roles": ["app"]},
    "nas": {"ip": "192.0.2.40", "roles": ["storage"]},
}
LOADS = {"edge": (12, 41, 38), "app-1": (64, 72, 51), "app-2": (93, 81, 55), "nas": (8, 35, 91)}
SERVICES = {
    "edge": ["caddy", "dns", "engine", "relay"],
    "app-1": ["api", "auth", "billing", "search", "web", "worker"],
    "app-2": ["api-canary", "mailer", "queue", "thumbnails", "web-canary"],
    "nas": ["backups", "minio", "postgres", "redis", "registry-of-container-images"],
}
# Rounds before the end in which a service fails, and days before the end.
FAILS = {
    "queue": (range(0, 4), (3, 9, 10)),
    "billing": (range(0, 2), (16,)),
    "search": (range(20, 26), (2, 5, 6, 7, 21)),
    "redis": ((), (12,)),
    "web-canary": (range(9, 15), (1, 2, 3)),
}


def iso(before_s):
    moment = datetime.datetime.fromtimestamp(ENDS - before_s, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cells(count):
    """So many cells of a relay, a few of them without a daemon."""
    return [{
        "workspaceId": f"ws_{i % 7:02}{i:05}", "runtimeTargetId": None if i % 9 == 4 else f"rt_{i:05}",
        "daemonConnected": i % 9 != 4, "clientCount": (i * 5) % 4, "lastActivityAt": iso(i * 7),
        "daemons": [] if i % 9 == 4 else [{
            "installId": f"install-{i:05}", "machineId": f"laptop-{i:05}",
            "connectedAt": iso(600 + i * 4001), "framesIn": 1000 + i, "framesOut": 2000 + i}],
    } for i in range(count)]


def log_lines(count):
    """So many lines of a relay's log, the newest last."""
    kinds = [
        ("info", "client_connected", {"workspaceId": "ws_0300003", "scope": "runtime"}),
        ("info", "daemon_connected", {"workspaceId": "ws_0100008", "version": "1.4.2"}),
        ("warn", "handshake_failed", {"reason": "token_expired", "address": "198.51.100.7"}),
        ("info", "client_closed", {"workspaceId": "ws_0300003", "reason": "peer_closed"}),
        ("error", "platform_unreachable", {"url": "https://app.example.com", "after_ms": 5000}),
    ]
    return [{"ts": iso((count - i) * 5), "level": level, "event": event, "details": details}
            for i in range(count) for level, event, details in [kinds[i * 7 % 11 % len(kinds)]]]


def clients_and_tunnels(count):
    """So many tunnels of an engine, and their agents."""
    agents = [{"id": f"agent-{i}", "agent": "weir", "version": "0.9.0", "os": "linux",
               "arch": "amd64" if i % 3 else "arm64"} for i in range(max(1, count // 4))]
    names = ["grafana", "wiki", "git", "photos", "home", "ssh", "printer", "cameras"]
    tunnels = []
    for i in range(count):
        name = f"{names[i % len(names)]}-{i:05}" if count > len(names) else names[i]
        tunnel = {"id": f"tunnel-{i}", "client_id": agents[i % len(agents)]["id"], "name": name,
                  "creation_date": iso(900 + i * 5003), "protocol": "http", "type": "bytestream"}
        if name.startswith("ssh"):
            tunnel.update(protocol="tcp", publish=False)
        else:
            tunnel.update(publish=True, hostname=f"{name}.edge.example.com")
        tunnels.append(tunnel)
    return agents, tunnels


RELAY_METRICS = """relay_frames_client_to_daemon_total {frames}
relay_frames_daemon_to_clients_total {frames}
relay_outbound_queue_bytes 4096
relay_handshake_failures_total{{reason="token_expired"}} 184
relay_handshake_failures_total{{reason="unknown_workspace"}} 23
relay_handshake_failures_total{{reason="rate_limited"}} 7
"""
ENGINE_METRICS = """weir_engine_streams_active 9
weir_engine_http_requests_total {frames}
weir_engine_http_request_duration_seconds_bucket{{le="0.1"}} {frames}
weir_engine_http_request_duration_seconds_bucket{{le="+Inf"}} {frames}
weir_engine_stream_bytes_total{{direction="to_agent"}} {frames}
weir_engine_stream_bytes_total{{direction="from_agent"}} {frames}
weir_engine_cert_not_after_timestamp_seconds {cert}
"""


class Neighbours:
    """A relay and an engine that always say the same, but for counters that count."""

    def __init__(self, count=24):
        agents, tunnels = clients_and_tunnels(count)
        workspaces = cells(count)
        self.pages = {
            "/health": {"ok": True},
            "/state": {
                "relayId": "relay-fra-1", "relayMode": "multi", "backplaneMode": "redis",
                "uptimeMs": 9 * DAY_S * 1000, "workspaces": workspaces,
                "totalConnections": sum(cell["clientCount"] + len(cell["daemons"])
                                        for cell in workspaces)},
            "/logs": {"logs": log_lines(count)},
        }
        self.initial = {"id": "evt_1", "type": "state.initial", "created_at": iso(0), "object": {
            "snapshot_at": iso(0), "clients": agents, "tunnels": tunnels}}
        self.over = threading.Event()
        self.texts = {"/metrics": RELAY_METRICS, "/engine-metrics": ENGINE_METRICS}
        self.stub = StubHttp(self.answer)
        self.url = f"http://127.0.0.1:{self.stub.port}"

    def options(self):
        return ("--relay", self.url, "--engine", self.url,
                "--engine-metrics", f"{self.url}/engine-metrics")

    def answer(self, request):
        path = request.path.partition("?")[0]
        if path in self.texts:
            text = self.texts[path].format(
                frames=int(time.monotonic() * 42), cert=int(ENDS + 62 * DAY_S))
            return 200, {"Content-Type": "text/plain"}, text.encode()
        if path == "/api/sse":
            return 200, {"Content-Type": "text/event-stream"}, self.events()
        if path not in self.pages:
            return 404, {}, b""
        return 200, {"Content-Type": "application/json"}, json.dumps(self.pages[path]).encode()

    def events(self):
        yield sse(self.initial)
        while not self.over.wait(10):
            yield b": ping\n\n"

    def stop(self):
        self.over.set()
        self.stub.stop()


class Stage:
    def __init__(self, directory):
        self.lab = health.Lab(directory)
        self.failing = set()
        self.services = StubHttp(self.check)
        self.neighbours = Neighbours()
        checks = {
            name: {"current_host": host, "health_check": {
                "type": "http", "url": f"http://127.0.0.1:{self.services.port}/{name}",
                "localhost_means": "monitor",
                "interval": ROUND_S, "timeout": 60, "failure_threshold": 3}}
            for host, names in SERVICES.items() for name in names}
        checks["scanner"] = {"current_host": "nas"}  # nobody says how it is checked
        self.lab.write({}, HOSTS, **checks)
        self.clock = Clock(directory)
        self.wall = ENDS - (DAYS * DAY_S + ROUNDS * ROUND_S)
        self.move_to(self.wall)
        self.monitor = health.Monitor(
            directory / "registry.yml", *self.neighbours.options(),
            env={**self.lab.env, **self.clock.environment(),
                 "DEVICE_HEARTBEAT_TIMEOUT_SECONDS": str(DAY_S)})
        self.move_to(self.wall + SPREAD_S)
        self.wait_checked()
        self.live()
        for host, (cpu, memory, disk) in LOADS.items():
            answer = self.monitor.ask("POST", f"/api/devices/{host}/heartbeat", {"metrics": {
                "cpu": cpu, "memory_percent": memory, "disk": disk}})
            assert answer.status == 200, answer.body
        self.move_to(ENDS + 95)

    def check(self, request):
        bad = request.path.removeprefix("/") in self.failing
        return (503 if bad else 200), {}, b""

    def now(self):
        """By the monitor's clock."""
        return time.time() + self.clock.offsets["wall"] / NS_PER_S

    def move_to(self, wall):
        seconds = wall - self.now()
        # The first move sets the wall clock only: before it nothing runs that could notice.
        first = self.clock.offsets["wall"] == 0
        self.clock.forward(wall=seconds, **({} if first else {"monotonic": seconds}))
        self.wall = wall

    def live(self):
        moments = [ENDS - ROUNDS * ROUND_S - day * DAY_S for day in range(DAYS - 1, 0, -1)]
        for moment in moments:
            day = round((ENDS - moment) / DAY_S)
            self.failing = {name for name, (_, days) in FAILS.items() if day in days}
            self.move_to(moment + SPREAD_S)
            self.wait_checked()
        for left in range(ROUNDS - 1, -1, -1):
            self.failing = {name for name, (rounds, _) in FAILS.items() if left in rounds}
            self.move_to(ENDS - left * ROUND_S + SPREAD_S)
            self.wait_checked()

    def wait_checked(self):
        """Asks for single services, because the dashboard stands for a second."""
        since = iso(ENDS - self.wall + SPREAD_S)
        for name in (name for names in SERVICES.values() for name in names):
            eventually(lambda name=name: (self.monitor.service(name)["last_checked"] or "") >= since,
                       f"{name} has been checked", 60)

    def stop(self):
        self.monitor.stop()
        self.services.stop()
        self.neighbours.stop()
