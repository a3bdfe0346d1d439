# SPDX-License-Identifier: Apache-2.0
"""weir health serve: continuous checks, reloads, maintenance, the API and the metrics."""
import cmath
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from lib import health, targets, weir
from lib.wait import eventually


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, **kwargs):
        registry = lab.directory / "registry.yml"
        running.append(health.Monitor(registry, *args, env=lab.env, **kwargs))
        return running[-1]

    start.forget = running.remove  # of one that was killed
    yield start
    for monitor in running:
        monitor.stop()


def switch(lab, name="up", **more):
    made = health.Switch(lab, name)
    return made, {**made.check, **more}


def test_a_life(lab, serve):
    path, check = switch(lab)
    lab.write({"it": check})
    monitor = serve()
    seen = monitor.wait_status("it", "healthy")
    assert 90 <= seen["health_score"] <= 100
    path.off()
    seen = monitor.wait_status("it", "unhealthy")
    assert seen["consecutive_failures"] >= 3
    assert seen["issues"] == ["pid file missing"]
    assert 1 <= seen["health_score"] <= 59
    path.on()
    monitor.wait_status("it", "healthy")
    changes = [(e["previous_status"], e["new_status"]) for e in reversed(monitor.events())]
    assert changes == [(None, "healthy"), ("healthy", "degraded"), ("degraded", "unhealthy"),
                       ("unhealthy", "healthy")]
    ids = [e["id"] for e in monitor.events()]
    assert ids == ["evt-000004", "evt-000003", "evt-000002", "evt-000001"]
    logged = [line["details"].get("status") for line in monitor.log.all("health_event")]
    assert logged == ["healthy", "degraded", "unhealthy", "healthy"]


def test_a_frozen_target_goes_stale_not_healthy(lab, serve):
    """A check that hangs after a pass: the timeout counts as a failure, and the slot is dropped."""
    path = lab.directory / "hang"
    script = f"test ! -f {path} || sleep 60"
    lab.write({"it": {"type": "exec", "command": script, "interval": "1s", "timeout": "500ms",
                      "failure_threshold": 1000}})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    path.touch()
    seen = monitor.wait_status("it", "degraded")
    assert seen["issues"] == ["timeout after 0.5 s"]
    assert monitor.metrics()[
        'portoser_checks_total{service="it",machine="here",type="exec",result="timeout"}'] >= 1


def test_phases_are_stable_and_nothing_overlaps(lab, serve):
    """Starts keep their distance; one that takes longer than the interval drops slots."""
    steady, slow = lab.directory / "steady", lab.directory / "slow"
    interval_s = 1.5
    lab.write({
        # Were the next one an interval after the end, a third of an interval would be added each time.
        "steady": {"type": "exec", "interval": "1500ms", "command": f"date +%s%N >>{steady}; sleep 0.5"},
        "slow": {"type": "exec", "interval": "400ms",
                 "command": f"flock -n {slow}.lock sleep 0.3 || echo overlap >>{slow}"},
    })
    serve()
    eventually(lambda: steady.exists() and len(steady.read_text().split()) > 7, "checks", 30)
    # The places of the starts in the interval, as directions on a circle: a busy machine spreads them,
    # places that wander point everywhere and their mean nowhere.
    places = [cmath.exp(2j * cmath.pi * int(t) / 1e9 / interval_s) for t in steady.read_text().split()]
    assert abs(sum(places)) / len(places) > 0.5, places
    assert not slow.exists(), "two checks of one service at once"


# ---- Reload


def test_reload_by_rename_keeps_what_it_can(lab, serve):
    path, check = switch(lab)
    gone, going = switch(lab, "going")
    lab.write({"same": check, "tuned": check, "other": check, "going": going})
    monitor = serve()
    for name in ("same", "tuned", "other", "going"):
        monitor.wait_status(name, "healthy")
    before = monitor.service("same")
    mark = monitor.log.mark()
    new = {"same": check, "tuned": {**check, "failure_threshold": 1},
           "other": {**check, "process_name": "somebody-else"}, "added": check}
    target = lab.write(new)
    # As writers do it: another file that takes the name.
    fresh = lab.directory / "new.yml"
    fresh.write_bytes(target.read_bytes())
    os.replace(fresh, target)
    monitor.log.wait("health_event", mark, type="registry_reloaded",
                     text="1 added, 1 removed, 1 changed")
    after = monitor.service("same")
    assert after["status"] == "healthy"
    assert after["uptime_seconds"] >= before["uptime_seconds"]
    assert monitor.service("tuned")["check"]["failure_threshold"] == 1
    assert monitor.service("tuned")["status"] == "healthy"
    monitor.wait_status("other", "unhealthy")
    monitor.wait_status("added", "healthy")
    assert monitor.ask("GET", "/api/health/services/going").status == 404
    types = {(e["service"], e["event_type"]) for e in monitor.events()}
    assert {("other", "check_changed"), ("going", "service_removed"),
            ("added", "service_added")} <= types
    assert ("same", "check_changed") not in types
    assert gone.path.exists()


def test_a_threshold_counts_at_once(lab, serve):
    path, check = switch(lab, failure_threshold=1000)
    path.off()
    lab.write({"it": check})
    monitor = serve()
    monitor.wait_status("it", "degraded")
    eventually(lambda: monitor.service("it")["consecutive_failures"] > 2, "failures")
    lab.write({"it": {**check, "failure_threshold": 2}})
    seen = monitor.wait_status("it", "unhealthy")
    assert seen["consecutive_failures"] > 2


@pytest.mark.parametrize("bad", ["services: [", "", "- a list\n", "services: 7\nhosts: {a: &x [*x]}\n"])
def test_a_broken_file_changes_nothing(lab, serve, bad):
    _, check = switch(lab)
    good = lab.write({"it": check})
    text = good.read_text()
    monitor = serve()
    monitor.wait_status("it", "healthy")
    good.write_text(bad)
    monitor.log.wait("health_registry_refused")
    assert monitor.service("it")["status"] == "healthy"
    assert monitor.metrics()["portoser_registry_load_success"] == 0
    answer = monitor.ask("GET", "/api/health/comprehensive")
    assert answer.status == 503
    assert answer.json()["checks"]["registry"]["status"] == "unhealthy"
    assert "registry.yml" in answer.json()["checks"]["registry"]["message"]
    assert monitor.get("/api/health/dashboard")["registry"]["error"]
    good.write_text(text)
    monitor.log.wait("health_event", type="registry_reloaded")
    assert monitor.ask("GET", "/api/health/comprehensive").status == 200
    assert monitor.metrics()["portoser_registry_load_success"] == 1


def test_a_start_with_a_broken_file_waits_for_a_better_one(lab, serve):
    path = lab.directory / "registry.yml"
    path.write_text("services: [")
    monitor = serve()
    assert monitor.get("/api/health/dashboard")["total_services"] == 0
    _, check = switch(lab)
    lab.write({"it": check})
    eventually(lambda: monitor.get("/api/health/dashboard")["total_services"] == 1, "a service")
    monitor.wait_status("it", "healthy")


def test_reload_by_signal_and_api(lab, serve):
    _, check = switch(lab)
    lab.write({"it": check})
    monitor = serve()
    mark = monitor.log.mark()
    monitor.signal(signal.SIGHUP)
    monitor.log.wait("health_event", mark, type="registry_reloaded")
    assert monitor.ask("POST", "/api/registry/reload").json()["success"] is True
    (lab.directory / "registry.yml").write_text("nothing: of it\n")
    answer = monitor.ask("POST", "/api/registry/reload")
    assert answer.status == 422
    assert "must be a map with services and hosts" in answer.json()["detail"]


def test_a_file_that_somebody_locks_is_read_later(lab, serve):
    _, check = switch(lab)
    path = lab.write({"it": check})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    writer = subprocess.Popen(["flock", "-x", str(path), "sh", "-c", "echo locked; read _"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"locked\n"
    mark = monitor.log.mark()
    lab.write({"it": check, "more": check})
    with pytest.raises(AssertionError):
        monitor.log.wait("health_event", mark, timeout=0.8, type="registry_reloaded")
    writer.communicate(b"\n", timeout=10)
    monitor.log.wait("health_event", mark, type="registry_reloaded")
    monitor.wait_status("more", "healthy")


def test_the_registry_is_never_written(lab, serve):
    _, check = switch(lab)
    path = lab.write({"it": check})
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    monitor = serve()
    monitor.wait_status("it", "healthy")
    monitor.ask("POST", "/api/health/maintenance/it", {"for_seconds": 60})
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before
    assert sorted(p.name for p in lab.directory.glob("*.y*ml*")) == ["registry.yml"]


# ---- Maintenance


def test_maintenance(lab, serve):
    path, check = switch(lab)
    _, fine = switch(lab, "fine")
    path.off()
    lab.write({"bad": check, "good": fine})
    monitor = serve()
    monitor.wait_status("bad", "unhealthy")
    monitor.wait_status("good", "healthy")
    assert monitor.get("/api/health/dashboard")["overall_status"] == "unhealthy"
    answer = monitor.ask("POST", "/api/health/maintenance/bad", {"for_seconds": 60, "reason": "new disk"})
    assert answer.json()["maintenance"] is True
    page = monitor.get("/api/health/dashboard")
    assert page["overall_status"] == "healthy"
    assert (page["total_services"], page["unhealthy_services"]) == (2, 1)
    seen = monitor.service("bad")
    assert (seen["status"], seen["maintenance"]) == ("unhealthy", True)  # still computed
    assert monitor.metrics()['portoser_service_maintenance{service="bad",machine="here"}'] == 1
    monitor.ask("DELETE", "/api/health/maintenance/bad")
    assert monitor.get("/api/health/dashboard")["overall_status"] == "unhealthy"
    types = [e["event_type"] for e in monitor.events(service="bad")]
    assert types[:2] == ["maintenance_ended", "maintenance_started"]
    # A machine, and one that ends by itself.
    monitor.ask("POST", "/api/health/maintenance/here", {"for_seconds": 1})
    assert monitor.get("/api/health/dashboard")["overall_status"] == "unknown"
    eventually(lambda: monitor.get("/api/health/dashboard")["overall_status"] == "unhealthy", "the end")
    for body in ({"until": "soon"}, {"for_seconds": -1}, {"for_seconds": 1, "until": "2030-01-01"}, []):
        assert monitor.ask("POST", "/api/health/maintenance/bad", body).status == 422
    assert monitor.ask("POST", "/api/health/maintenance/nobody").status == 404


def test_maintenance_from_the_registry(lab, serve):
    path, check = switch(lab)
    path.off()
    lab.write({}, a={"current_host": "here", "health_check": check, "maintenance": True},
              b={"current_host": "here", "health_check": check,
                 "maintenance": {"until": "2020-01-01T00:00:00Z", "reason": "long over"}},
              c={"current_host": "here", "health_check": check, "enabled": False})
    monitor = serve()
    monitor.wait_status("b", "unhealthy")
    assert monitor.service("a")["maintenance"] is True
    assert monitor.service("b")["maintenance"] is False
    assert (monitor.service("c")["status"], monitor.service("c")["issues"]) == \
        ("unknown", ["not checked: disabled"])


# ---- The API


SERVICE_KEYS = {
    "service", "machine", "status", "health_score", "issues", "last_checked", "uptime_seconds",
    "response_time_ms", "state_reason", "color", "check", "consecutive_failures", "last_pass",
    "last_failure", "last_result", "maintenance", "stale",
}
MACHINE_KEYS = {
    "machine", "status", "services_count", "healthy_services", "unhealthy_services", "cpu_usage",
    "memory_usage", "disk_usage", "last_checked", "reachable", "degraded_services",
    "unknown_services", "load1",
}
DASHBOARD_KEYS = {
    "overall_status", "overall_health_score", "total_services", "healthy_services",
    "degraded_services", "unhealthy_services", "total_machines", "services", "machines",
    "recent_problems", "last_updated", "generated_by", "unknown_services", "registry",
}


def test_dashboard(lab, serve):
    path, check = switch(lab)
    _, fine = switch(lab, "fine")
    path.off()
    lab.write({"bad": check, "good": fine}, hosts={"here": {"ip": "127.0.0.1"}, "spare": {"ip": "198.51.100.9"}},
              none={"current_host": "here"},
              wrong={"current_host": "here", "health_check": {"type": "smtp"}})
    monitor = serve()
    monitor.wait_status("bad", "unhealthy")
    monitor.wait_status("good", "healthy")
    page = monitor.get("/api/health/dashboard?refresh=true")
    assert set(page) == DASHBOARD_KEYS
    assert all(SERVICE_KEYS <= set(s) for s in page["services"])
    assert all(MACHINE_KEYS <= set(m) for m in page["machines"])
    counts = [page[f"{s}_services"] for s in ("healthy", "degraded", "unhealthy")]
    assert sum(counts) == page["total_services"] == 4
    assert counts == [1, 0, 3] and page["unknown_services"] == 2
    assert page["total_machines"] == 2
    assert page["overall_health_score"] == sum(s["health_score"] for s in page["services"]) // 4
    assert [m["status"] for m in page["machines"]] == ["unhealthy", "unknown"]
    by_name = {s["service"]: s for s in page["services"]}
    assert by_name["none"]["issues"] == ["no health check declared"]
    assert by_name["wrong"]["issues"][0].startswith("services.wrong.health_check.type: \"smtp\"")
    problem = page["recent_problems"][0]
    assert (problem["problem_type"], problem["services_affected"], problem["severity"]) == \
        ("process_not_running", ["bad"], "high")
    assert problem["count"] >= 3
    for text in (page["last_updated"], by_name["good"]["last_checked"], problem["last_seen"]):
        assert len(text) == len("2026-11-21T01:28:06.456Z") and text.endswith("Z")
    assert monitor.ask("GET", "/api/health/dashboard?strict=1").status == 503
    assert monitor.ask("GET", "/api/health/dashboard?refresh=maybe").status == 422
    assert monitor.ask("HEAD", "/api/health/dashboard").body == b""


def test_dashboard_etag(lab, serve):
    lab.write({}, quiet={"current_host": "here"})
    monitor = serve()

    def twice():
        first = monitor.ask("GET", "/api/health/dashboard")
        again = monitor.ask("GET", "/api/health/dashboard", headers={"If-None-Match": first.headers["etag"]})
        return again.status == 304 and again.body == b""

    eventually(twice, "the same page twice")


def test_a_get_never_runs_a_check(lab, serve):
    count = lab.directory / "count"
    lab.write({"it": {"type": "exec", "command": f"echo x >>{count}", "interval": "1h"}})
    monitor = serve()
    assert monitor.ask("POST", "/api/health/check/it").status == 202
    eventually(lambda: count.exists() and count.read_text(), "a check by request")
    before = len(count.read_text().split())
    for _ in range(10):
        monitor.get("/api/health/dashboard?refresh=true")
        monitor.get("/api/diagnostics/health/it/here")
        monitor.service("it")
    # The first check of its own may have come meanwhile.
    assert len(count.read_text().split()) <= before + 1


def test_identity_and_errors(lab, serve):
    _, check = switch(lab)
    lab.write({"it": check})
    monitor = serve()
    assert monitor.get("/ping") == {"status": "ok"}
    assert set(monitor.get("/health")) == {"status", "registry_exists", "background_workers", "config_status"}
    assert set(monitor.get("/api/health")) == {"status", "service", "version", "environment", "timestamp",
                                               "vault", "keycloak", "registry"}
    assert monitor.get("/api/health/")["registry"] == "connected"
    answer = monitor.ask("GET", "/api/nothing")
    assert answer.status == 404
    error = answer.json()["error"]
    assert set(error) == {"message", "status", "path", "method", "timestamp", "suggestion"}
    assert (error["path"], error["method"], error["status"]) == ("/api/nothing", "GET", 404)
    assert monitor.ask("DELETE", "/ping").status == 405
    answer = monitor.ask("GET", "/api/health/timeline?hours=soon")
    assert answer.status == 422
    assert list(answer.json()["field_errors"]) == ["query.hours"]
    for name, value in {"x-content-type-options": "nosniff", "x-frame-options": "SAMEORIGIN"}.items():
        assert answer.headers[name] == value
    assert monitor.get("/api/diagnostics/health/no/where")["status"] == "unknown"
    assert monitor.ask("GET", "/api/health/services/no").status == 404


def test_names_that_need_escaping(lab, serve):
    name = "odd \"name\"\\<b>\u00e9.x"
    _, check = switch(lab)
    lab.write({name: check}, hosts={"ma chine": {"ip": "127.0.0.1"}})
    monitor = serve()
    eventually(lambda: monitor.get("/api/health/dashboard")["healthy_services"] == 1, "a pass")
    path = "odd%20%22name%22%5C%3Cb%3E%C3%A9.x"
    assert monitor.get(f"/api/health/services/{path}")["service"] == name
    label = 'service="odd \\"name\\"\\\\<b>\u00e9.x",machine="ma chine"'
    assert f"portoser_service_up{{{label}}} 1\n" in monitor.ask("GET", "/metrics").body.decode()


def test_other_shapes(lab, serve):
    path, check = switch(lab)
    path.off()
    lab.write({"bad": check})
    monitor = serve()
    monitor.wait_status("bad", "unhealthy")
    assert [s["service"] for s in monitor.get("/api/diagnostics/health/all")] == ["bad"]
    assert monitor.get("/api/diagnostics/health/bad/here")["status"] == "unhealthy"
    card = monitor.get("/api/services/bad/health")
    assert (card["healthy"], card["output"], card["trend"]) == (False, "pid file missing", "degrading")
    assert card["problems"] == [{"name": "process_not_running", "description": "pid file missing"}]
    cluster = monitor.get("/api/cluster/health")
    assert cluster["overall_status"] == "unhealthy"
    assert [(p["pi"], p["status"], p["services"]) for p in cluster["pis"]] == [("here", "unhealthy", ["bad"])]
    heat = monitor.get("/api/health/heatmap?days=2")
    assert len(heat["dates"]) == 3 and heat["services"] == ["bad"] and len(heat["data_points"]) == 3
    assert heat["data_points"][-1]["severity_breakdown"] == {"medium": 1, "high": 1}
    assert heat["max_problems_per_day"] == 2


def test_metrics(lab, serve):
    path, check = switch(lab)
    path.off()
    lab.write({"bad": check}, none={"current_host": "here"})
    monitor = serve()
    monitor.wait_status("bad", "unhealthy")
    text = monitor.ask("GET", "/metrics").body.decode()
    labels = '{service="bad",machine="here"}'
    seen = monitor.metrics()
    assert seen[f"portoser_service_status{labels}"] == 1
    assert seen[f"portoser_service_up{labels}"] == 0
    assert seen['portoser_service_state{service="bad",machine="here",state="unhealthy"}'] == 1
    assert seen['portoser_check_success{service="bad",machine="here",type="process"}'] == 0
    assert seen['portoser_checks_total{service="bad",machine="here",type="process",result="fail"}'] >= 3
    assert seen["portoser_cluster_status"] == 1
    assert 'portoser_check_success{service="none"' not in text
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families)) and text.endswith("\n")
    judged = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                            capture_output=True, check=False)
    assert "error" not in judged.stderr, judged.stderr
    answer = monitor.ask("GET", "/api/metrics?format=prometheus")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert monitor.ask("GET", "/api/metrics?format=xml").status == 400
    answer = monitor.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.body.endswith(b"# EOF\n")


# ---- Who may


def test_tokens(lab, serve):
    _, check = switch(lab)
    lab.write({"it": check})
    tokens = lab.directory / "tokens"
    tokens.write_text("# who\nviewer-token-0123456 viewer\noperator-token-01234 operator\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "false")

    def status(method, path, token=None, query=""):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return monitor.ask(method, path + query, headers=headers).status

    assert status("GET", "/ping") == 200
    answer = monitor.ask("GET", "/metrics")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["error"]["message"] == "Missing authentication token"
    assert status("GET", "/metrics", "viewer-token-0123456") == 200
    assert status("GET", "/metrics", query="?token=viewer-token-0123456") == 200
    assert status("GET", "/metrics", query="?access_token=viewer-token-012345") == 401
    assert status("POST", "/api/health/check/it", "viewer-token-0123456") == 403
    assert status("POST", "/api/health/check/it", "operator-token-01234") == 202
    assert status("POST", "/api/health/check/it") == 401
    # A file that is no good is not taken.
    tokens.write_text("short admin\n")
    monitor.signal(signal.SIGHUP)
    monitor.log.wait("health_tokens_refused")
    assert status("GET", "/metrics", "viewer-token-0123456") == 200
    tokens.write_text("admin-token-01234567 admin\n")
    mark = monitor.log.mark()
    monitor.signal(signal.SIGHUP)
    monitor.log.wait("health_event", mark, type="registry_reloaded")
    assert status("GET", "/metrics", "viewer-token-0123456") == 401
    assert status("GET", "/metrics", "admin-token-01234567") == 200


def test_jitter_is_bounded(lab):
    lab.write({})
    for text in ("51", "-1", "x", ""):
        done = lab.run("serve", "--listen", "127.0.0.1:0", "--jitter", text)
        assert done.returncode == 64 and "allowed: 0-50" in done.stderr, text


def test_checks_with_jitter(lab, serve):
    times = lab.directory / "times"
    lab.write({"it": {"type": "exec", "command": f"date +%s%N >>{times}", "interval": "200ms"}})
    serve("--jitter", "50")
    eventually(lambda: times.exists() and len(times.read_text().split()) > 10, "checks")


def test_listening_beyond_this_machine_wants_tokens(lab):
    lab.write({})
    done = lab.run("serve", "--listen", "0.0.0.0:0")
    assert done.returncode == 64
    assert "wants --tokens FILE" in done.stderr


# ---- The end


def test_a_killed_monitor_leaves_no_program_behind(lab, serve):
    pids = lab.directory / "pids"
    lab.write({"it": {"type": "exec", "command": f"setsid sh -c 'echo $$$$ >{pids}; sleep 60' & wait",
                      "interval": "30s", "timeout": "30s"}})
    monitor = serve()
    monitor.ask("POST", "/api/health/check/it")
    pid = int(eventually(lambda: pids.exists() and pids.read_text().strip(), "a program"))
    monitor.process.kill()
    eventually(lambda: not targets.is_running(pid), "the program's end")
    monitor.process.wait(5)
    serve.forget(monitor)


def test_a_drain_kills_what_runs(lab, serve):
    pids = lab.directory / "pids"
    lab.write({"it": {"type": "exec", "command": f"echo $$$$ >{pids}; sleep 60", "interval": "1s",
                      "timeout": "1s"}})
    monitor = serve()
    pid = int(eventually(lambda: pids.exists() and pids.read_text().strip(), "a program"))
    begun = time.monotonic()
    monitor.stop()
    assert time.monotonic() - begun < 20  # of the minute that the program would sleep
    assert not targets.is_running(pid)
    assert json.dumps(monitor.log.lines[-1]["event"]) == '"health_stopped"'


@pytest.mark.parametrize("how", ("stop", "reload"))
def test_what_waits_for_its_turn_is_not_begun_to_be_ended(lab, serve, how):
    """More programs wait than may run at once; the end of those that run is no start for them."""
    begun = lab.directory / "begun"
    lab.write({f"s{i}": {"type": "exec", "command": f"echo {i} >>{begun}; sleep 60",
                         "interval": "90s", "timeout": "80s"} for i in range(200)})
    monitor = serve()
    for i in range(200):
        assert monitor.ask("POST", f"/api/health/check/s{i}").status == 202
    room = 4 * os.cpu_count()
    eventually(lambda: begun.exists() and len(begun.read_text().split()) == room, "as many as may")
    if how == "reload":
        lab.write({"it": health.GOOD})
        eventually(lambda: monitor.events(type="registry_reloaded"), "the registry is read again", 30)
        monitor.wait_status("it", "healthy")
    monitor.stop()
    assert len(begun.read_text().split()) == room


# ---- What is beside the registry, and behind the names of users


def switches(pid):
    """How often the process has been waked, all threads together."""
    counts = pathlib.Path(f"/proc/{pid}/task").glob("*/status")
    return sum(int(line.split()[1]) for path in counts for line in path.read_text().splitlines()
               if line.startswith("voluntary_ctxt_switches"))


def test_a_log_beside_the_registry_wakes_nobody(lab, serve):
    lab.write({"it": health.GOOD})
    monitor = serve("--metrics-interval", "300")
    monitor.wait_status("it", "healthy")
    before = switches(monitor.pid)
    with open(lab.directory / "beside.log", "w", buffering=1) as beside:
        for line in range(5000):
            beside.write(f"{line}\n")
    assert switches(monitor.pid) - before < 1000


def test_files_that_change_all_the_time_do_not_hide_the_registry(lab, serve):
    lab.write({"it": health.GOOD})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    go_on = threading.Event()

    def hammer():
        number = 0
        while not go_on.is_set():
            number += 1
            (lab.directory / f"beside-{number % 5}").write_text("x")

    thread = threading.Thread(target=hammer, daemon=True)
    thread.start()
    try:
        mark = monitor.log.mark()
        lab.write({"it": health.GOOD, "more": health.GOOD})
        monitor.log.wait("health_event", mark, timeout=30, type="registry_reloaded")
        assert monitor.get("/ping") == {"status": "ok"}
        monitor.wait_status("more", "healthy", 30)
    finally:
        go_on.set()
        thread.join(10)


def test_a_slow_directory_of_users_holds_up_its_check_only(lab):
    """The file of users is a pipe that nobody fills: who asks for a user waits for ever."""
    pipe = lab.directory / "passwd"
    os.mkfifo(pipe)
    lab.write({"it": {"type": "exec", "command": "true", "user": "nobody", "timeout": "2s"},
               "fine": health.GOOD})
    done = targets.run_with_file(
        pipe, "/etc/passwd",
        [weir.binary(), "health", "--once", "--json-output", "--registry",
         str(lab.directory / "registry.yml")], {**weir.base_environment(), **lab.env})
    rows = {row["service"]: row for row in json.loads(done.stdout)["services"]}
    assert rows["it"]["last_result"]["message"] == "timeout after 2.0 s while looking up the user"
    assert rows["fine"]["status"] == "healthy"
    assert rows["fine"]["last_checked"] < rows["it"]["last_checked"]
