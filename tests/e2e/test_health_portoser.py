# SPDX-License-Identifier: Apache-2.0
"""Everything that is said to `portoser`, and the commands of `weir health` that ask a monitor."""
import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import threading

import pytest

from lib import health, targets, weir
from lib.wait import eventually


@pytest.fixture
def portoser(lab):
    """Runs the binary under that name, on the lab's registry and asking no other monitor."""
    path = lab.directory / "portoser"
    path.symlink_to(weir.binary())

    def run(*args, monitor=None, stdout=subprocess.PIPE, **kwargs):
        env = {**weir.base_environment(), **lab.env,
               "CADDY_REGISTRY_PATH": str(lab.directory / "registry.yml"),
               "PORTOSER_URL": monitor.url if monitor else "", **kwargs.pop("env", {})}
        return subprocess.run([str(path), *args], env=env, text=True, timeout=30, check=False,
                              stdout=stdout, stderr=subprocess.PIPE, **kwargs)

    return run


@pytest.fixture
def monitor(lab):
    up, down = health.Switch(lab, "up"), health.Switch(lab, "down", on=False)
    lab.write({}, {"pi1": {"ip": "127.0.0.1"}, "pi 2": {"ip": "198.51.100.7"}},
              web={"current_host": "pi1", "depends_on": ["db"], "health_check": up.check},
              db={"current_host": "pi1", "health_check": down.check},
              **{"idle/?&": {"current_host": "pi 2"}})
    running = health.Monitor(lab.directory / "registry.yml", "--metrics-interval", "1", env=lab.env)
    running.wait_status("web", "healthy")
    running.wait_status("db", "unhealthy")
    eventually(lambda: running.get("/api/metrics/machine/pi1")["status"] == "ok", "a sample")
    yield running
    running.stop()


@contextlib.contextmanager
def http_server():
    """The URL of a server that answers 200 to everything."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # the name is the library's
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def lines(done):
    assert (done.returncode, done.stderr) == (0, ""), done
    return [re.split(r" {2,}", line.rstrip()) for line in done.stdout.splitlines()]


# ---- Without a monitor


def test_names(portoser, lab):
    lab.write({})
    assert portoser("--version").stdout == "Portoser v0.1.0\n"
    told = portoser("--help")
    assert told.returncode == 0
    for word in ("health", "status", "cluster status", "verify", "diagnose", "machines", "metrics",
                 "uptime", "history", "events", "maintenance", "registry", "check-config", "serve",
                 "event", "deploy-log"):
        assert re.search(rf"^  {word} ", told.stdout, re.M), word
        assert portoser(*word.split(), "--help").stdout.startswith("weir health"), word
    refused = portoser("deploy", "pi1", "web")
    assert refused.returncode == 64 and 'there is no "deploy" here' in refused.stderr
    assert portoser().returncode == 64


def test_verify(portoser, lab):
    with http_server() as url:
        gone = f"http://127.0.0.1:{targets.free_port()}/"
        lab.write({"good": {"type": "http", "url": url}, "gone": {"type": "http", "url": gone},
                   "bad": {"type": "http", "url": url, "expected_status": 299},
                   "job": {"type": "exec", "command": "echo no paper; exit 2"}},
                  idle={"current_host": "here"})
        done = portoser("verify")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"✓ good — {url}", f"✗ gone — {gone} (HTTP 000)", f"✗ bad — {url} (HTTP 200)",
        "✗ job — exec (exit 2, expected 0: no paper)", "⊘ idle — no health check (skipped)",
        "", "Passed: 1", "Failed: 3", "Skipped: 1"]
    lab.write({"job": {"type": "exec", "command": "true"}})
    assert portoser("verify").returncode == 0
    assert portoser("verify", "--registry", "/none").returncode == 2
    (lab.directory / "registry.yml").write_text("nothing: of it\n")
    assert portoser("verify").returncode == 2


def test_diagnose(portoser, lab):
    with http_server() as url:
        lab.write({"db": {"type": "exec", "command": "echo no paper; exit 2"}},
                  web={"current_host": "here", "depends_on": ["db", "idle"],
                       "health_check": {"type": "http", "url": url}},
                  idle={"current_host": "here", "depends_on": ["web"]},
                  other={"current_host": "here", "health_check": {
                      "type": "exec", "command": f"touch {lab.directory}/other"}})
        done = portoser("diagnose", "web")
        assert (done.returncode, done.stderr) == (0, "")
        text = done.stdout.splitlines()
        assert text[:3] == ["Diagnosis: web on here", "Health Score: 100/100", ""]
        assert text[3].startswith("✓ web (http on here): HTTP 200")
        assert re.fullmatch(r"    after connect [\d.]+ ms, first byte [\d.]+ ms, end [\d.]+ ms", text[4])
        assert text[6:8] == ["Depends on:", "✗ db (exec on here): exit 2, expected 0: no paper"]
        assert text[9] == "⊘ idle (none on here): no health check declared"
        told = json.loads(portoser("diagnose", "web", "here", "--json-output").stdout)
    assert set(told) == {"service", "machine", "health_score", "categorized_observations",
                         "observations", "problems", "solutions", "timestamp"}
    assert {k: [o["type"] for o in v] for k, v in told["categorized_observations"].items()} == {
        "network": ["http_web"], "resources": [], "configuration": [],
        "dependencies": ["exec_db", "none_idle"]}
    assert [o["status"] for o in told["observations"]] == ["pass", "fail", "skipped"]
    assert told["observations"][0]["timing_ms"]["ttfb"] > 0
    problem = {"id": "problem-1", "severity": "high", "frequency": 1, "success_rate": None,
               "description": "db: exit 2, expected 0: no paper"}
    assert told["problems"] == [problem] and told["solutions"] == []
    assert not (lab.directory / "other").exists()  # what it does not need is left alone
    assert portoser("diagnose", "nobody").returncode == 3
    assert portoser("diagnose").returncode == 64
    assert portoser("diagnose", "web", "mars").returncode == 3


def test_check_config(portoser, lab):
    lab.write({"it": {"type": "smtp"}})
    assert portoser("check-config").returncode == 1
    assert json.loads(portoser("check-config", "--json").stdout)["errors"] == 1
    assert portoser("registry", "validate").stdout == portoser("check-config").stdout


def test_a_disk_that_is_full_is_told(portoser, lab):
    lab.write({"it": {"type": "exec", "command": "true"}})
    for args in (("health", "--once"), ("health", "--once", "--json-output"), ("registry", "show"),
                 ("registry", "path"), ("registry", "validate"), ("verify",), ("status",), ("--help",),
                 ("diagnose", "it"), ("health", "--help"), ("health", "nobody", "--json-output"),
                 ("--version",)):
        with open("/dev/full", "w") as full:
            done = portoser(*args, stdout=full)
        assert done.returncode == 74, (args, done)


def test_a_pipe_that_nobody_reads(portoser, lab):
    lab.write({"it": {"type": "exec", "command": "true"}})
    for args in (("health", "--once"), ("registry", "show"), ("verify",)):
        reader, writer = os.pipe()
        os.close(reader)
        done = portoser(*args, stdout=writer)
        os.close(writer)
        assert done.returncode in (74, -signal.SIGPIPE), (args, done)


# ---- Asking a monitor


def test_machines(portoser, monitor):
    table = lines(portoser("machines", monitor=monitor))
    assert table[0] == ["MACHINE", "STATUS", "SERVICES", "HEALTHY", "CPU", "MEMORY", "DISK", "REACHABLE"]
    assert table[1][:4] == ["pi1", "unhealthy", "2", "1"] and table[1][4].endswith(" %")
    assert table[2] == ["pi 2", "unknown", "1", "0", "-", "-", "-", "-"]
    told = json.loads(portoser("machines", "--json-output", monitor=monitor).stdout)
    assert [m["machine"] for m in told["machines"]] == ["pi1", "pi 2"]


def test_health_through_a_monitor(portoser, monitor):
    """What a monitor knows is shown as it knows it: results so far, resources of machines."""
    monitor.wait_status("db", "unhealthy")
    text = portoser("health", "db", monitor=monitor).stdout
    assert re.search(r"^Recent Results: x{3,20}$", text, re.M), text
    assert re.search(r"^Recent Results: \.{1,20}$", portoser("health", "web", monitor=monitor).stdout, re.M)
    told = json.loads(portoser("health", "--json-output", monitor=monitor).stdout)
    assert told["source"] == "daemon"
    assert set(told["services"][1]["recent"]) == {"x"}
    first, second = told["machines"]
    assert first["machine"] == "pi1" and first["memory_usage"] > 0 and first["disk_usage"] > 0
    assert (second["cpu_usage"], second["memory_usage"], second["disk_usage"]) == (None, None, None)


def test_metrics(portoser, monitor):
    table = lines(portoser("metrics", "all", monitor=monitor))
    assert table[0] == ["MACHINE", "STATUS", "CPU", "MEMORY", "DISK", "LOAD", "TIME"]
    assert [row[:2] for row in table[1:]] == [["pi1", "ok"], ["pi 2", "unavailable"]]
    assert [row[0] for row in lines(portoser("metrics", "machine", "pi 2", monitor=monitor))] == [
        "MACHINE", "pi 2"]
    one = json.loads(portoser("metrics", "machine", "pi1", "--json-output", monitor=monitor).stdout)
    assert {"hostname", "cpu_percent", "memory_used_mb", "memory_total_mb", "memory", "disk_used_gb",
            "disk_total_gb", "disk", "network", "timestamp", "timestamp_epoch"} <= set(one)
    assert one["hostname"] == "pi1" and one["memory"]["total_mb"] == one["memory_total_mb"] > 0
    assert one["disk"]["available_gb"] > 0 and one["timestamp_epoch"] > 1.7e9
    every = json.loads(portoser("metrics", "all", "--json-output", monitor=monitor).stdout)
    assert [m["machine"] for m in every["machines"]] == ["pi1", "pi 2"]
    assert every["machines"][1]["metrics"]["cpu_percent"] == 0
    refused = portoser("metrics", "service", "web", monitor=monitor)
    assert refused.returncode == 1 and "are not sampled" in refused.stderr
    assert portoser("metrics", "machine", "mars", monitor=monitor).returncode == 1
    assert portoser("metrics", monitor=monitor).returncode == 64


def test_uptime(portoser, monitor):
    table = lines(portoser("uptime", "all", monitor=monitor))
    assert table[0] == ["SERVICE", "MACHINE", "STATUS", "AVAILABILITY", "FAILURES", "MTBF", "MTTR"]
    assert table[1][:4] == ["web", "pi1", "up", "100.00 %"]
    assert table[3] == ["idle/?&", "pi 2", "unknown", "-", "0", "-", "-"]
    assert portoser("uptime", "status", monitor=monitor).stdout.splitlines()[0].startswith("SERVICE")
    for args in (("db",), ("db", "pi1")):
        assert lines(portoser("uptime", "service", *args, monitor=monitor))[1][:3] == ["db", "pi1", "down"]
    log = lines(portoser("uptime", "history", "db", "--days", "1", monitor=monitor))
    assert log[0] == ["TIME", "EVENT", "SERVICE", "MACHINE", "DETAILS"] and log[1][1] == "failure"
    told = json.loads(portoser("uptime", "service", "web", "--json", monitor=monitor).stdout)
    assert told["current_status"] == "up"
    assert portoser("uptime", "service", "no", monitor=monitor).returncode == 1
    assert portoser("uptime", "service", "idle/?&", monitor=monitor).returncode == 0


def test_history(portoser, monitor):
    table = lines(portoser("history", "web", "--since", "1h", monitor=monitor))
    assert table[0] == ["TIME", "STATE", "CHECKS", "FAILURES", "MEAN", "P95", "MAX"]
    assert len(table) in (2, 3) and table[-1][1] == "healthy"
    told = json.loads(portoser("history", "db", "pi1", "--json", "--since", "7d", monitor=monitor).stdout)
    assert (told["service"], told["step"]) == ("db", 3600)
    assert told["buckets"][-1]["failures"] >= 3
    for bad in ("soon", "0", "-1h", "99999d", "1w"):
        done = portoser("history", "web", "--since", bad, monitor=monitor)
        assert done.returncode == 64 and "is not usable" in done.stderr, bad
    assert portoser("history", "no", monitor=monitor).returncode == 1


def test_events(portoser, monitor):
    table = lines(portoser("events", "--service", "db", "--type", "status_change", monitor=monitor))
    assert table[0] == ["TIME", "TYPE", "SERVICE", "MACHINE", "STATUS", "MESSAGE"]
    assert [row[4] for row in table[1:]] == ["degraded", "unhealthy"]
    told = json.loads(portoser("events", "--json", "--limit", "1", monitor=monitor).stdout)
    assert told["total_events"] == 1


def test_events_are_followed(lab, monitor):
    follower = subprocess.Popen(
        [weir.binary(), "health", "events", "-f", "--json", "--server", monitor.url, "--type",
         "service_deployed"],
        env={**weir.base_environment(), **lab.env}, stdout=subprocess.PIPE, text=True)
    asked = 'http_requests_total{method="GET",endpoint="/api/health/timeline",status="200"}'
    try:
        eventually(lambda: monitor.metrics()["portoser_sockets"] == 1, "it listens", 20)
        eventually(lambda: monitor.metrics().get(asked, 0) >= 2, "it has asked once more since", 20)
        for number in (1, 2):
            monitor.ask("POST", "/api/events", {"type": "deployment_completed", "service": "web",
                                                "message": f"release {number}"})
            event = json.loads(follower.stdout.readline())
            assert event["message"] == f"deployment_completed: release {number}"
    finally:
        follower.terminate()
        follower.stdout.close()
        assert follower.wait(10) == 0


def test_maintenance(portoser, monitor):
    done = portoser("maintenance", "on", "db", "--for", "30m", "--reason", "new disk", monitor=monitor)
    assert (done.returncode, done.stdout) == (0, "maintenance started\n")
    assert monitor.service("db")["maintenance_reason"] == "new disk"
    assert portoser("maintenance", "off", "db", monitor=monitor).stdout == "maintenance ended\n"
    assert portoser("maintenance", "on", "pi 2", "--json", monitor=monitor).stdout.startswith('{"maintenance":true')
    assert monitor.service("idle%2F%3F%26")["maintenance"] is True
    done = portoser("maintenance", "on", "no", monitor=monitor)
    assert done.returncode == 1 and "no such service or machine" in done.stderr
    assert portoser("maintenance", "on", "db", "--for", "x", monitor=monitor).returncode == 64
    assert portoser("maintenance", "perhaps", "db", monitor=monitor).returncode == 64


def test_a_log_is_told(portoser, monitor):
    done = portoser("deploy-log", "--stdin", "--deployment-id", "7", monitor=monitor, input="one\ntwo\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert monitor.metrics()[
        'http_requests_total{method="POST",endpoint="/api/events",status="202"}'] == 2


def test_no_monitor_to_ask(portoser, lab):
    lab.write({})
    url = {"PORTOSER_URL": f"http://127.0.0.1:{targets.free_port()}"}
    for args in (("machines",), ("metrics", "all"), ("uptime", "all"), ("history", "x"), ("events",),
                 ("maintenance", "off", "x"), ("events", "-f")):
        done = portoser(*args, env=url)
        assert done.returncode == 69 and "cannot be reached" in done.stderr, args
        done = portoser(*args, "--json-output", env=url)
        assert "cannot be reached" in json.loads(done.stdout)["error"], args


def test_a_token_is_wanted(portoser, lab):
    lab.write({}, it={"current_host": "here"})
    tokens = lab.directory / "tokens"
    tokens.write_text("viewer-token-0123456 viewer\n")
    monitor = health.Monitor(lab.directory / "registry.yml", "--tokens", str(tokens), env=lab.env)
    try:
        assert portoser("uptime", "all", monitor=monitor).returncode == 77
        assert portoser("uptime", "all", "--token", "viewer-token-0123456", monitor=monitor).returncode == 0
        token = {"PORTOSER_TOKEN": "viewer-token-0123456"}
        assert portoser("maintenance", "on", "it", monitor=monitor, env=token).returncode == 77
    finally:
        monitor.stop()
