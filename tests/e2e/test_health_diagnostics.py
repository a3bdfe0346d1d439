# SPDX-License-Identifier: Apache-2.0
"""What somebody asks of a running monitor beside looking: diagnoses, events that others tell, plans,
and maintenance that ends by itself."""
import http.client
import http.server
import json
import subprocess
import threading
import time

import pytest

from lib import health, targets
from lib.health_ws import Watcher
from lib.wait import eventually

RESULT_KEYS = {"service", "machine", "started_at", "completed_at", "duration_seconds", "observations",
               "problems", "solutions", "health_score", "success", "error"}
OBSERVATION_KEYS = {"type", "severity", "message", "details", "timestamp"}
PROBLEM_KEYS = {"id", "title", "description", "severity", "observations", "affected_components",
                "timestamp"}


@pytest.fixture
def watch():
    watchers = []

    def start(*args, **kwargs):
        watchers.append(Watcher(*args, **kwargs))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.close()


def diagnose(monitor, service, machine="here"):
    answer = monitor.ask("POST", "/api/diagnostics/run", {"service": service, "machine": machine})
    assert answer.status == 200, answer.body
    return answer.json()


# ---- Diagnoses


def test_a_diagnosis(lab, serve, watch):
    up, down = health.Switch(lab, "up"), health.Switch(lab, "down", on=False)
    lab.write({"db": {**down.check, "interval": "1h"}},
              web={"current_host": "here", "depends_on": ["db", "idle", "nobody"],
                   "health_check": {**up.check, "interval": "1h"}},
              idle={"current_host": "here", "depends_on": ["web"]})
    monitor = serve()
    events = watch(monitor, "/api/diagnostics/ws/web/here")
    assert events.next()["message"] == "Connected to diagnostics stream"
    assert monitor.ask("GET", "/api/diagnostics/web/here").status == 404
    result = diagnose(monitor, "web")
    assert set(result) == RESULT_KEYS
    assert (result["success"], result["error"], result["solutions"]) == (True, None, [])
    assert result["duration_seconds"] >= 0 and result["started_at"] <= result["completed_at"]
    assert result["health_score"] >= 90
    assert all(set(o) == OBSERVATION_KEYS for o in result["observations"])
    assert [(o["type"], o["severity"], o["message"]) for o in result["observations"][:3]] == [
        ("other", "info", f"web: {monitor.service('web')['last_result']['message']}"),
        ("dependency_missing", "high", "db: pid file missing"),
        ("other", "low", "idle: no health check declared"),
    ]
    details = result["observations"][0]["details"]
    assert (details["service"], details["check_type"], details["status"]) == ("web", "process", "healthy")
    assert details["latency_ms"] > 0 and details["dns_ms"] is None
    assert all(set(p) == PROBLEM_KEYS for p in result["problems"])
    assert [(p["id"], p["affected_components"]) for p in result["problems"][:2]] == [
        ("problem-1", ["db"]), ("problem-2", ["idle"])]
    # It is kept, told and noted.
    assert monitor.get("/api/diagnostics/web/here") == result
    assert monitor.get("/api/diagnostics/web/here/problems") == result["problems"]
    assert monitor.get("/api/diagnostics/web/here/solutions") == []
    told = events.until("diagnostic_completed")
    assert (told["service"], told["machine"], told["data"]) == ("web", "here", result)
    noted = monitor.events(type="diagnostic_run")
    assert noted[0]["service"] == "web" and noted[0]["message"].startswith("diagnosis: ")


def test_a_failing_service_is_its_own_problem(lab, serve):
    port = targets.free_port()
    lab.write({"gone": {"type": "http", "url": f"http://127.0.0.1:{port}/", "interval": "1h",
                        "failure_threshold": 1}})
    result = diagnose(serve(), "gone")
    assert (result["observations"][0]["type"], result["observations"][0]["severity"]) == (
        "service_down", "critical")
    assert result["observations"][0]["details"]["problem_type"] == "connection_refused"
    assert result["problems"][0]["description"] == "gone: connect: refused"
    assert 1 <= result["health_score"] <= 59


def test_mistakes_in_the_question_and_in_the_registry(lab, serve):
    lab.write({"wrong": {"type": "smtp"}})
    monitor = serve()
    for body, status in ((None, 422), ([], 422), ({}, 422), ({"service": 7}, 422),
                         ({"service": "no"}, 404), ({"service": "wrong", "machine": "mars"}, 404)):
        assert monitor.ask("POST", "/api/diagnostics/run", body).status == status, body
    result = diagnose(monitor, "wrong")
    assert result["observations"][0]["type"] == "configuration_error"
    assert "smtp" in result["problems"][0]["description"]


def slow_check(lab):
    """A check that runs until the file is there."""
    gate = lab.directory / "gate"
    lab.write({"slow": {"type": "exec", "interval": "1h", "timeout": "30s",
                        "command": f"while ! test -e {gate}; do sleep 0.05; done"}})
    return gate


def ask_for_slow(monitor):
    """A diagnosis that has begun, and whose answer has not been read."""
    conn = http.client.HTTPConnection("127.0.0.1", monitor.port, timeout=20)
    conn.request("POST", "/api/diagnostics/run", json.dumps({"service": "slow"}))
    for _ in range(3):  # requests that came later are answered: this one was seen
        monitor.get("/ping")
    return conn


def test_a_diagnosis_outlives_who_asked(lab, serve):
    gate = slow_check(lab)
    monitor = serve()
    ask_for_slow(monitor).close()
    gate.touch()
    eventually(lambda: monitor.events(type="diagnostic_run"), "an event")
    assert monitor.get("/api/diagnostics/slow/here")["success"] is True


def test_a_service_that_leaves_meanwhile(lab, serve):
    slow_check(lab)
    monitor = serve()
    conn = ask_for_slow(monitor)
    lab.write({"other": {"type": "exec", "command": "true", "interval": "1h"}})
    result = json.loads(conn.getresponse().read())
    conn.close()
    assert (result["success"], result["service"]) == (False, "slow")
    assert result["error"] == "The service left the registry meanwhile"


def test_there_is_a_bound_on_diagnoses(lab, serve):
    gate = slow_check(lab)
    monitor = serve()
    statuses = []

    def ask():
        statuses.append(monitor.ask("POST", "/api/diagnostics/run", {"service": "slow"}).status)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    eventually(lambda: statuses.count(429) == 4, "four too many")
    gate.touch()
    for thread in threads:
        thread.join(20)
    assert sorted(statuses) == [200] * 16 + [429] * 4


# ---- The uptime log


def test_events_that_others_tell(lab, serve, watch):
    lab.write({}, job={"current_host": "here"}, web={"current_host": "here"})
    monitor = serve()
    events = watch(monitor, "/api/uptime/ws")
    events.next()
    body = {"service": "job", "machine": "here", "event_type": "failure", "details": "out of paper",
            "metadata": {"tray": 2}}
    answer = monitor.ask("POST", "/api/uptime/event", body)
    assert answer.status == 200 and answer.json()["success"] is True
    told = events.until("uptime_event")["event"]
    assert {k: told[k] for k in body} == body and told["timestamp"].endswith("Z")
    assert monitor.ask("POST", "/api/uptime/event", {**body, "event_type": "recovery"}).status == 200
    log = monitor.get("/api/uptime/job/here/events")
    assert [e["event_type"] for e in log["events"]] == ["recovery", "failure"]
    assert log["total"] == 2 and log["events"][1]["details"] == "out of paper"
    assert monitor.get("/api/uptime/job/here/history?event_type=failure")["total"] == 1
    assert monitor.get("/api/uptime/job/here/events?eventType=recovery&days=1")["total"] == 1
    assert [e["event_type"] for e in monitor.events(service="job")] == [
        "problem_resolved", "problem_detected"]
    # weir does not watch this one, so what others say counts.
    stats = monitor.get("/api/uptime/job/here")
    assert (stats["failure_count"], stats["recovery_count"]) == (1, 1)
    assert stats["availability_percent"] is not None and stats["current_status"] == "unknown"
    none = monitor.get("/api/uptime/web/here")
    assert (none["availability_percent"], none["current_status"]) == (None, "unknown")
    for bad in ({}, {**body, "event_type": "explosion"}, {**body, "machine": None}, []):
        assert monitor.ask("POST", "/api/uptime/event", bad).status == 422
    assert monitor.ask("POST", "/api/uptime/event", {**body, "machine": "mars"}).status == 404


def test_timeline_of_uptime(lab, serve):
    path = health.Switch(lab)
    lab.write({"it": {**path.check, "failure_threshold": 1}, "fine": path.check},
              {"here": {"ip": "127.0.0.1"}, "there": {"ip": "198.51.100.9"}},
              idle={"current_host": "there"})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    path.off()
    monitor.wait_status("it", "unhealthy")
    path.on()
    monitor.wait_status("it", "healthy")
    page = monitor.get("/api/uptime/timeline?days=2&services=it,nobody&machines=here")
    assert page["days"] == 2 and page["start_time"] < page["end_time"]
    assert [t["service"] for t in page["timeline"]] == ["it"]
    line = page["timeline"][0]
    assert [p["status"] for p in line["periods"]] == ["up", "down", "up"]
    assert line["periods"][0]["end"] == page["end_time"]
    for newer, older in zip(line["periods"], line["periods"][1:]):
        assert newer["start"] == older["end"] and older["duration_seconds"] > 0
    assert [e["event_type"] for e in line["events"]] == ["recovery", "failure"]
    assert len(monitor.get("/api/uptime/timeline")["timeline"]) == 3
    by_list = monitor.ask("POST", "/api/uptime/timeline", {"days": 1, "services": ["it", "idle"]})
    assert [t["service"] for t in by_list.json()["timeline"]] == ["it", "idle"]
    for query in ("days=0", "days=91", "days=x"):
        assert monitor.ask("GET", f"/api/uptime/timeline?{query}").status == 422
    assert monitor.ask("POST", "/api/uptime/timeline", {"services": [7]}).status == 422
    every = {s["service"]: s for s in monitor.get("/api/uptime/all")}
    assert every["it"]["failure_count"] == 1 and every["fine"]["current_status"] == "up"


def test_what_portoser_kept_is_taken_up(lab, serve):
    home = lab.directory / "old"
    (home / "uptime_events").mkdir(parents=True)
    (home / "metrics" / "uptime").mkdir(parents=True)
    (home / "knowledge").mkdir()

    def event(kind, hours_ago):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.123456", time.gmtime(time.time() - 3600 * hours_ago))
        return {"timestamp": stamp, "event_type": kind, "service": "web", "machine": "pi_1",
                "details": f"{kind} of old", "metadata": {}}

    old = [event("start", 30), event("failure", 20), event("recovery", 10)]
    (home / "uptime_events" / "web_pi_1_events.jsonl").write_text(
        "".join(json.dumps(e) + "\n" for e in reversed(old)) + "{torn")
    (home / "metrics" / "uptime" / "web-pi_1.log").write_text(
        f"{event('deployment', 5)['timestamp']}|deployment|web|pi_1|release 7\n")
    (home / "knowledge" / "problem_frequency.txt").write_text(
        "2025-03-01T10:00:00Z|port_conflict|web|error\n" * 3)
    before = sorted((p, p.read_bytes()) for p in home.rglob("*") if p.is_file())
    lab.write({}, {"pi_1": {"ip": "127.0.0.1"}}, web={"current_host": "pi_1"})
    args = ("--import", str(home), "--state-dir", str(lab.directory / "state"))
    monitor = serve(*args)
    noted = monitor.log.wait("health_imported")["details"]
    assert (noted["lines"], noted["notUnderstood"], noted["events"], noted["problems"]) == (8, 1, 4, 1)
    log = monitor.get("/api/uptime/web/pi_1/events")["events"]
    assert [e["event_type"] for e in log] == ["deployment", "recovery", "failure", "start"]
    assert log[1]["details"] == "recovery of old" and log[1]["timestamp"] == old[2]["timestamp"][:-3] + "Z"
    stats = monitor.get("/api/uptime/web/pi_1?days=30")
    assert (stats["failure_count"], stats["recovery_count"]) == (1, 1)
    assert abs(stats["downtime_seconds"] - 36000) < 2
    problem = monitor.get("/api/diagnostics/problems/frequency")[0]
    assert problem == {"problem_type": "port_conflict", "count": 3, "services_affected": ["web"],
                       "last_seen": "2025-03-01T10:00:00.000Z", "severity": "error"}
    assert monitor.get("/api/health/dashboard")["recent_problems"] == [problem]
    monitor.stop()
    # Once is enough: the next start has them in its own store. And nothing of it was written.
    monitor = serve(*args)
    assert monitor.log.wait("health_imported")["details"]["events"] == 0
    assert monitor.get("/api/uptime/web/pi_1/events")["total"] == 4
    assert sorted((p, p.read_bytes()) for p in home.rglob("*") if p.is_file()) == before
    assert lab.run("serve", "--import", str(home / "none")).returncode == 64


# ---- Deploying is not weir's


def test_plans_and_dry_runs(lab, serve, watch):
    lab.write({}, {"a": {"ip": "198.51.100.1"}, "b": {"ip": "198.51.100.2"}}, web={"current_host": "a"})
    monitor = serve()
    events = watch(monitor, "/ws")
    moves = {"moves": [{"service_name": "web", "from_machine": "a", "to_machine": "b"}]}
    plan = {"plan": [{"service": "web", "target_machine": "b", "action": "deploy",
                      "command": "portoser deploy b web"}], "total_operations": 1}
    assert monitor.ask("POST", "/api/deployment/plan", moves).json() == plan
    answer = monitor.ask("POST", "/api/deployment/execute", moves)
    assert answer.status == 200
    assert answer.json() == {"success": True, "dry_run": True, "results": [], **plan}
    answer = monitor.ask("POST", "/api/deployment/execute", {**moves, "dry_run": False})
    assert answer.status == 501 and "POST /api/events" in answer.json()["detail"]
    one = {"service": "web", "machine": "b"}
    answer = monitor.ask("POST", "/api/deployment/intelligent-execute", one).json()
    assert (answer["success"], answer["dry_run"], answer["phases"]) == (True, True, [])
    answer = monitor.ask("POST", "/api/deployment/intelligent-execute", {**one, "dry_run": False})
    assert answer.status == 501 and "--deploy-command" in answer.json()["detail"]
    for path in ("plan", "execute"):
        for move, status in (
            ({"service_name": "no", "to_machine": "b"}, 400), ({"service_name": "web", "to_machine": "no"}, 400),
            ({"service_name": "web"}, 422), ({}, 422),
        ):
            answer = monitor.ask("POST", f"/api/deployment/{path}", {"moves": [move]})
            assert answer.status == status, (path, move)
        assert monitor.ask("POST", f"/api/deployment/{path}", {"moves": "all"}).status == 422
    # Nothing was deployed, so nobody was told that something was.
    events.send("ping")
    assert events.next()["type"] == "pong"


def test_one_deployment_is_watched(lab, serve, watch):
    lab.write({}, web={"current_host": "here"})
    monitor = serve()
    mine = [watch(monitor, f"/api/{path}/release-7")
            for path in ("deployment/ws", "cluster/ws/deploy", "cluster/ws/build")]
    for number in (6, 7):
        monitor.ask("POST", "/api/events", {"type": "deployment_log", "message": f"of {number}",
                                            "deployment_id": f"release-{number}"})
    for watcher in mine:
        assert watcher.next()["message"] == "of 7"
        assert watcher.ask("ping")["type"] == "pong"


# ---- Maintenance, and a file that is locked


def test_maintenance_that_ends_by_itself_is_told(lab, serve):
    lab.write({}, it={"current_host": "here"})
    monitor = serve()
    monitor.ask("POST", "/api/health/maintenance/it", {"for_seconds": 1, "reason": "new disk"})
    assert [e["message"] for e in monitor.events(type="maintenance_started")] == ["new disk"]
    ended = eventually(lambda: monitor.events(type="maintenance_ended"), "the end")
    assert [(e["service"], e["message"]) for e in ended] == [("it", "its time is over")]
    # Again and by hand: told once each.
    for _ in range(2):
        monitor.ask("POST", "/api/health/maintenance/it", {"for_seconds": 60})
    monitor.ask("DELETE", "/api/health/maintenance/it")
    assert len(monitor.events(type="maintenance_started")) == 2
    assert len(monitor.events(type="maintenance_ended")) == 2


def test_maintenance_of_the_registry_is_told(lab, serve):
    lab.write({}, it={"current_host": "here"})
    monitor = serve()
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    lab.write({}, it={"current_host": "here", "maintenance": {"until": until, "reason": "move"}})
    eventually(lambda: monitor.events(type="maintenance_started"), "the begin")
    eventually(lambda: monitor.events(type="maintenance_ended"), "the end")
    assert monitor.service("it")["maintenance"] is False


def test_a_reload_of_a_locked_file_says_so(lab, serve):
    path = lab.write({}, it={"current_host": "here"})
    monitor = serve()
    writer = subprocess.Popen(["flock", "-x", str(path), "sh", "-c", "echo locked; read _"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"locked\n"
    mark = monitor.log.mark()
    answer = monitor.ask("POST", "/api/registry/reload")
    assert (answer.status, answer.json()["success"]) == (202, False)
    assert "locked" in answer.json()["message"]
    writer.communicate(b"\n", timeout=10)
    monitor.log.wait("health_event", mark, type="registry_reloaded")
    assert monitor.ask("POST", "/api/registry/reload").json()["message"] == "registry reloaded"


# ---- A sign of life


def test_a_sign_of_life(lab, serve):
    lab.write({}, it={"current_host": "here"})
    asked = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # the name is the library's
            asked.append((self.path, self.headers["User-Agent"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monitor = serve("--heartbeat-url", f"http://127.0.0.1:{server.server_address[1]}/ping/7")
        monitor.log.wait("health_heartbeat", status=204)
        server.shutdown()
    assert asked[0][0] == "/ping/7" and asked[0][1].startswith("portoser-health/")
    seen = monitor.metrics()
    assert (seen["portoser_heartbeats_sent_total"], seen["portoser_heartbeat_ok"]) == (1, 1)
    deaf = serve("--heartbeat-url", f"http://127.0.0.1:{targets.free_port()}/")
    deaf.log.wait("health_heartbeat_failed")
    assert deaf.metrics()["portoser_heartbeat_ok"] == 0
    done = lab.run("serve", "--heartbeat-url", "file:///etc/passwd")
    assert done.returncode == 64 and "--heartbeat-url is not usable" in done.stderr


# ---- Heatmap


def test_heatmap_has_bounds(lab, serve):
    path = health.Switch(lab, on=False)
    lab.write({"bad \"quoted\"": path.check}, **{f"s{i}": {"current_host": "here"} for i in range(1200)})
    monitor = serve()
    eventually(lambda: monitor.get("/api/health/heatmap?days=1")["max_problems_per_day"] == 2, "both")
    page = monitor.get("/api/health/heatmap?days=30")
    assert len(page["dates"]) == 31 and len(page["data_points"]) == 31 * 1201
    hot = [p for p in page["data_points"] if p["problem_count"]]
    assert hot == [{"date": page["dates"][-1], "service": "bad \"quoted\"", "problem_count": 2,
                    "severity_breakdown": {"medium": 1, "high": 1}}]
    answer = monitor.ask("GET", "/api/health/heatmap?days=366")
    assert answer.status == 422
    assert answer.json()["field_errors"] == {
        "query.days": "Input should be at most 332 for 1201 services"}
    one = monitor.get("/api/health/heatmap?days=366&service=s7")
    assert one["services"] == ["s7"] and len(one["data_points"]) == 367
