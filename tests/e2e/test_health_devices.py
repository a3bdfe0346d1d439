# SPDX-License-Identifier: Apache-2.0
"""Resources of machines: this one's, others' over ssh, and what machines say of themselves."""
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from lib import health, targets
from lib.health_ws import Watcher
from lib.wait import eventually

REMOTE = "198.51.100.7"  # an address that is nobody's
NUMBERS = ("cpu_percent", "memory_used_mb", "memory_total_mb", "memory_percent", "disk_used_gb",
           "disk_total_gb", "disk_percent")


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, env=None, **kwargs):
        registry = lab.directory / "registry.yml"
        running.append(health.Monitor(registry, "--metrics-interval", "1", *args,
                                      env={**lab.env, **(env or {})}, **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    server = targets.Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


HOSTS = {"here": {"ip": "127.0.0.1", "roles": ["web"]}, "there": {"ip": REMOTE}}


def sampled(monitor, machine="here"):
    return eventually(
        lambda: (m := monitor.get(f"/api/metrics/machine/{machine}"))["status"] == "ok" and m,
        f"a sample of {machine}", 15)


def judge(sample):
    """Against what the machine says of itself right now."""
    with open("/proc/meminfo", encoding="ascii") as file:
        total_kb = int(re.search(r"MemTotal: +(\d+)", file.read())[1])
    disk = shutil.disk_usage("/")
    assert sample["memory_total_mb"] == pytest.approx(total_kb / 1024, abs=0.01)
    assert sample["disk_total_gb"] == pytest.approx(disk.total / 2**30, abs=0.02)
    assert sample["disk_used_gb"] == pytest.approx(disk.used / 2**30, rel=0.05, abs=0.5)
    assert 0 <= sample["cpu_percent"] <= 100
    assert 0 < sample["memory_percent"] < 100
    assert sample["load1"] == pytest.approx(os.getloadavg()[0], abs=3)
    assert (sample["reachable"], sample["error"], sample["services"]) == (True, "", [])


def test_this_machine(lab, serve):
    lab.write({}, HOSTS)
    monitor = serve()
    judge(sampled(monitor))
    rows = {row["machine"]: row for row in monitor.get("/api/metrics/all")}
    assert set(rows) == {"here", "there"}
    assert (rows["there"]["status"], rows["there"]["reachable"]) == ("unavailable", False)
    assert all(rows["there"][name] == 0 for name in NUMBERS)
    dashboard = {m["machine"]: m for m in monitor.get("/api/health/dashboard")["machines"]}
    assert dashboard["here"]["reachable"] is True and dashboard["there"]["reachable"] is None
    assert 0 <= dashboard["here"]["cpu_usage"] <= 100
    assert dashboard["here"]["memory_usage"] > 0 and dashboard["here"]["disk_usage"] > 0
    assert dashboard["there"]["cpu_usage"] is None
    metrics = monitor.metrics()
    for kind in ("cpu", "memory", "disk"):
        assert 0 <= metrics[f'portoser_machine_{kind}_percent{{machine="here"}}'] <= 100
        assert f'portoser_machine_{kind}_percent{{machine="there"}}' not in metrics
    assert metrics['portoser_machine_reachable{machine="here"}'] == 1
    assert metrics["devices_online"] == 1
    assert metrics['device_last_seen_seconds{hostname="here"}'] < 5
    page = monitor.ask("GET", "/api/devices/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"devices_online 1\n" in page.body


def test_processor_time_is_seen(lab, serve):
    """Two busy loops: the share between two looks rises to what they use."""
    lab.write({}, HOSTS)
    monitor = serve()
    sampled(monitor)
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count())]
    try:
        eventually(lambda: sampled(monitor)["cpu_percent"] > 80, "a busy machine", 15)
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_over_ssh(lab, serve, sshd):
    far = {"ip": REMOTE, "ssh_hostname": "127.0.0.1", "ssh_port": sshd.port, "ssh_user": "root",
           "ssh_key": str(sshd.key)}
    lab.write({}, {"far": far, "away": {**far, "ssh_port": targets.free_port()}})
    env = {"PATH": f"{sshd.path}:{os.environ['PATH']}"}
    before = sshd.logins()
    monitor = serve("--ssh-metrics", "--ssh-metrics-interval", "1", env=env)
    first = sampled(monitor, "far")
    judge(first)
    away = eventually(lambda: (m := monitor.get("/api/metrics/machine/away"))["status"] == "error"
                      and m, "a failure")
    assert away["reachable"] is False and "refused" in away["error"]
    eventually(lambda: monitor.get("/api/metrics/machine/far")["timestamp"] > first["timestamp"],
               "the next sample")
    assert sshd.logins() == before + 1  # connections are shared
    assert monitor.metrics()['portoser_machine_reachable{machine="away"}'] == 0
    assert monitor.get("/api/metrics/health")["status"] == "degraded"
    for path in (lab.directory / "run" / "weir-ssh").glob("*"):
        subprocess.run(["/usr/bin/ssh", "-O", "exit", "-S", path, "x"], check=False,
                       stderr=subprocess.DEVNULL)


def test_ssh_that_hangs_does_not_outlive_the_monitor(lab, serve):
    hang = lab.directory / "bin"
    hang.mkdir()
    pid = lab.directory / "pid"
    (hang / "ssh").write_text(f"#!/bin/sh\necho $$ > {pid}.new\nmv {pid}.new {pid}\nexec sleep 600\n")
    (hang / "ssh").chmod(0o755)
    lab.write({}, {"far": {"ip": REMOTE}})
    monitor = serve("--ssh-metrics", env={"PATH": f"{hang}:{os.environ['PATH']}"})
    eventually(pid.exists, "ssh runs")
    assert monitor.get("/api/metrics/collector/status")["running"] is True
    monitor.stop()
    assert not targets.is_running(int(pid.read_text()))


# ---- Heartbeats


def test_heartbeats(lab, serve):
    lab.write({}, HOSTS)
    registry = (lab.directory / "registry.yml").read_bytes()
    monitor = serve(env={"DEVICE_HEARTBEAT_TIMEOUT_SECONDS": "2"})
    sampled(monitor)
    watcher = Watcher(monitor, "/ws")
    answer = monitor.ask("POST", "/api/devices/there/heartbeat", {
        "status": "online",
        "metrics": {"cpu": 12.5, "memory_percent": 40, "disk": 101, "memory_used_mb": -1,
                    "network_rx_bytes": 7, "load1": "no", "what": {}}})
    assert answer.status == 200
    body = answer.json()
    assert (body["success"], body["hostname"], body["status"]) == (True, "there", "online")
    change = watcher.until("device_status_change")["data"]
    assert (change["hostname"], change["old_status"], change["new_status"]) == (
        "there", "unknown", "online")
    seen = monitor.get("/api/devices/there")
    assert seen["last_seen_at"] == body["last_seen_at"] and seen["age_seconds"] < 5
    metrics = seen["metrics"]
    assert (metrics["cpu"], metrics["memory"], metrics["disk"]) == (12.5, 40, 100)
    assert (metrics["memory_used_mb"], metrics["load1"]) == (None, None)
    assert monitor.metrics()['device_heartbeats_total{hostname="there",status="accepted"}'] == 1
    # Silence, and a sign of life without numbers.
    change = watcher.until("device_status_change")["data"]
    assert (change["hostname"], change["new_status"], change["reason"]) == (
        "there", "offline", "heartbeat_timeout")
    row = monitor.get("/api/metrics/machine/there")
    assert (row["status"], row["reachable"]) == ("offline", False)
    dashboard = {m["machine"]: m for m in monitor.get("/api/health/dashboard")["machines"]}
    assert dashboard["there"]["reachable"] is False and dashboard["there"]["cpu_usage"] is None
    assert monitor.ask("POST", "/api/devices/there/heartbeat").status == 200
    change = watcher.until("device_status_change")["data"]
    assert (change["new_status"], change["reason"]) == ("online", "heartbeat_recovered")
    watcher.close()
    assert (lab.directory / "registry.yml").read_bytes() == registry


def test_bad_heartbeats(lab, serve):
    lab.write({}, HOSTS)
    monitor = serve()
    assert monitor.ask("POST", "/api/devices/nobody/heartbeat").status == 404
    for body in ([], "x", {"metrics": [1]}, {"metrics": 7}):
        assert monitor.ask("POST", "/api/devices/there/heartbeat", body).status == 422, body
    assert monitor.get("/api/devices/there")["status"] == "unknown"


# ---- Routes


def test_shapes(lab, serve):
    lab.write({"web": {"type": "tcp", "port": 1}}, HOSTS)
    monitor = serve()
    sampled(monitor)
    answer = monitor.ask("GET", "/api/metrics/all")
    assert answer.headers["cache-control"] == "public, max-age=5"
    assert answer.headers["x-cache-ttl"] == "5"
    stream = monitor.ask("GET", "/api/metrics/all/stream")
    assert stream.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in stream.body.splitlines()]
    assert [line["type"] for line in lines] == ["status", "data", "data", "complete"]
    assert [(line["machine"], line["progress"], line["total"]) for line in lines[1:3]] == [
        ("here", 1, 2), ("there", 2, 2)]
    assert monitor.get("/api/metrics/services") == {"web": ["here"]}
    service = monitor.get("/api/metrics/web/here?timeRange=6h")
    assert service == {"service": "web", "machine": "here", "current": None, "history": [],
                       "avg_cpu": 0, "avg_memory": 0, "peak_cpu": 0, "peak_memory": 0,
                       "time_range": "6h"}
    health_of = monitor.get("/api/metrics/health")
    assert set(health_of) == {
        "status", "timestamp", "cache", "queue", "circuit_breakers", "machines",
        "machine_details", "collector_running", "collection_interval_seconds", "response_time_ms"}
    assert health_of["status"] == "healthy"
    assert health_of["machines"] == {"here": "ok", "there": "unavailable"}
    assert health_of["cache"]["total_entries"] >= 1
    assert set(monitor.get("/api/metrics/workers/status")["workers"]) >= {"scheduler"}
    assert monitor.get("/api/metrics/cache/stats")["cache_size"] >= 1
    devices = monitor.get("/api/devices")
    assert devices["total"] == 2
    assert devices["devices"][0]["hostname"] == "here" and devices["devices"][0]["roles"] == ["web"]
    for path, status in [
        ("/api/metrics/web/here?timeRange=2h", 400), ("/api/metrics/web/there", 404),
        ("/api/metrics/machine/nobody", 404), ("/api/metrics/web/here/history", 404),
        ("/api/metrics/web/here/history?interval=2m", 400), ("/api/devices/nobody", 404),
    ]:
        assert monitor.ask("GET", path).status == status, path


def test_changing_things(lab, serve):
    lab.write({}, HOSTS)
    monitor = serve()
    sampled(monitor)
    for path, status in [
        ("/api/metrics/collector/interval?interval=300", 200),
        ("/api/metrics/collector/interval?interval=0", 422),
        ("/api/metrics/collector/interval?interval=301", 422),
        ("/api/metrics/collector/interval", 422), ("/api/metrics/snapshot", 400),
    ]:
        assert monitor.ask("POST", path).status == status, path
    assert monitor.get("/api/metrics/collector/status")["interval"] == 300
    before = monitor.get("/api/metrics/collector/status")["statistics"]["samples"]
    answer = monitor.ask("POST", "/api/metrics/snapshot", {"machine": "here"}).json()
    assert (answer["status"], answer["machine"]) == ("completed", "here")
    assert monitor.get("/api/metrics/collector/status")["statistics"]["samples"] == before + 1
    answer = monitor.ask("POST", "/api/metrics/snapshot", {"machine": "there"}).json()
    assert answer["status"] == "failed"
    assert monitor.ask("DELETE", "/api/metrics/cleanup?days=1").status == 200
    assert monitor.ask("DELETE", "/api/metrics/cleanup?days=0").status == 422


def test_reload_follows(lab, serve):
    lab.write({}, HOSTS)
    monitor = serve()
    sampled(monitor)
    assert monitor.ask("POST", "/api/devices/there/heartbeat").status == 200
    lab.write({}, {"there": {"ip": REMOTE}, "new": {"ip": "127.0.0.1"}})
    monitor.signal(signal.SIGHUP)
    sampled(monitor, "new")
    names = [device["hostname"] for device in monitor.get("/api/devices")["devices"]]
    assert sorted(names) == ["new", "there"]
    assert monitor.get("/api/devices/there")["status"] == "online"  # what was known stays
