# SPDX-License-Identifier: Apache-2.0
"""Moves of services through the API: the operator's deploy command runs, and everybody sees it."""
import http.client
import json
import signal
import threading

import pytest

from lib import health
from lib.health_ws import Watcher
from lib.wait import eventually

HOSTS = {"a": {"ip": "198.51.100.1"}, "b": {"ip": "198.51.100.2"}}
NAMES = ("web", "db", "worker")


@pytest.fixture
def serve(lab):
    running = []

    def start(script, *args, **kwargs):
        path = lab.directory / "deploy.sh"
        path.write_text(f"#!/bin/sh\ncd '{lab.directory}' || exit\n{script}\n")
        path.chmod(0o755)
        lab.write({}, HOSTS, **{name: {"current_host": "a"} for name in NAMES})
        monitor = health.Monitor(lab.directory / "registry.yml", "--deploy-command", f"'{path}' deploy",
                                 *args, env=lab.env, **kwargs)
        running.append(monitor)
        return monitor

    yield start
    for monitor in running:
        monitor.stop()


@pytest.fixture
def watch():
    watchers = []

    def start(monitor, path="/ws"):
        watchers.append(Watcher(monitor, path))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.close()


def moves(*names, dry_run=False):
    return {"dry_run": dry_run, "moves": [
        {"service_name": name, "from_machine": "a", "to_machine": "b"} for name in names]}


def execute(monitor, *names, **more):
    return monitor.ask("POST", "/api/deployment/execute", moves(*names, **more))


def told(watcher, last):
    """What was sent up to the message of this type, without what is the same in all."""
    messages = []
    while not messages or messages[-1]["type"] != last:
        message = watcher.next()
        assert message.pop("timestamp").endswith("Z")
        assert message.pop("event") == message["type"]
        messages.append(message)
    ids = {message.pop("deployment_id") for message in messages}
    assert len(ids) == 1
    return messages, ids.pop()


def test_moves_run_one_after_the_other(serve, watch):
    monitor = serve('echo "moving $3 to $2 ($1)"; echo "warning" >&2')
    events = watch(monitor)
    answer = execute(monitor, "web", "db").json()
    results = [{"service": name, "target": "b", "success": True, "error": None}
               for name in ("web", "db")]
    messages, identity = told(events, "deployment_completed")
    assert answer == {"success": True, "dry_run": False, "deployment_id": identity, "results": results}
    expected = [{"type": "deployment_started", "total_operations": 2}]
    for number, name in enumerate(("web", "db"), 1):
        expected += [
            {"type": "deployment_progress", "current_operation": number, "total_operations": 2,
             "service": name, "target": "b"},
            {"type": "deployment_log", "message": f"moving {name} to b (deploy)", "service": name},
            {"type": "deployment_log", "message": "warning", "service": name}]
    assert messages == expected + [{"type": "deployment_completed", "results": results}]
    noted = monitor.events(type="service_deployed")
    assert [(e["service"], e["machine"], e["message"]) for e in noted] == [
        (name, "b", f"deployment_completed: {identity}") for name in ("db", "web")]


def test_the_first_failure_is_the_end(lab, serve, watch):
    monitor = serve('echo "$3" >>ran; [ "$3" = web ] || { echo "no room on $2" >&2; exit 3; }')
    events = watch(monitor)
    answer = execute(monitor, "web", "db", "worker").json()
    messages, identity = told(events, "deployment_failed")
    error = "exit 3: no room on b"
    assert messages[-1] == {"type": "deployment_failed", "service": "db", "error": error}
    (last,), _ = told(events, "deployment_failed")
    assert answer == {"success": False, "dry_run": False, "deployment_id": identity,
                      "results": last["results"]}
    assert last["results"] == [
        {"service": "web", "target": "b", "success": True, "error": None},
        {"service": "db", "target": "b", "success": False, "error": error}]
    # The third was never begun.
    assert (lab.directory / "ran").read_text() == "web\ndb\n"
    noted = monitor.events(type="diagnostic_run")
    assert [e["message"] for e in noted] == [f"deployment_failed: {identity}: {error}"]


def test_only_a_real_run_runs(lab, serve):
    monitor = serve("touch ran")
    assert execute(monitor, "web", dry_run=True).json()["dry_run"] is True
    body = {"moves": moves("web")["moves"]}
    assert monitor.ask("POST", "/api/deployment/execute", body).json()["dry_run"] is True
    assert monitor.ask("POST", "/api/deployment/plan", body).status == 200
    for refused in ([], moves("web")["moves"] * 101):
        answer = monitor.ask("POST", "/api/deployment/execute", {"dry_run": False, "moves": refused})
        assert answer.status == 422
    assert execute(monitor, "nobody").status == 400
    assert not (lab.directory / "ran").exists()
    assert execute(monitor, "web").json()["success"] is True
    assert (lab.directory / "ran").exists()


def test_one_with_the_other_shape(serve, watch):
    monitor = serve('echo "moving $3"; [ "$3" = web ]')
    events = watch(monitor)
    path = "/api/deployment/intelligent-execute"
    for name, well in (("web", True), ("db", False)):
        body = {"service": name, "machine": "b", "auto_heal": True, "dry_run": False}
        answer = monitor.ask("POST", path, body).json()
        messages, identity = told(events, "deployment_complete")
        word = "completed" if well else "failed"
        assert messages == [
            {"type": "output", "message": f"moving {name}", "service": name},
            {"type": "deployment_complete", "status": word, "success": well}]
        duration = answer.pop("duration_seconds")
        assert answer.pop("started_at") <= answer.pop("completed_at")
        assert answer == {
            "deployment_id": identity, "service": name, "machine": "b", "status": word,
            "success": well, "dry_run": False, "auto_heal_applied": False, "problems_detected": [],
            "solutions_applied": [], "error": None if well else f"exit 1: moving {name}",
            "phases": [{"name": "deploy", "status": word, "duration_seconds": duration}]}
    for body in ({"service": "web"}, {"service": "web", "machine": "b", "dry_run": "no"}, []):
        assert monitor.ask("POST", path, body).status == 422
    assert monitor.ask("POST", path, {"service": "web", "machine": "mars"}).status == 400


def test_output_is_escaped_and_bounded(serve, watch):
    monitor = serve(r"""printf '\033[31m<b>\377"\n'; yes line | head -n 20000; printf 'x%.0s' $(seq 5000)""")
    events = watch(monitor)
    assert execute(monitor, "web").json()["success"] is True
    messages, _ = told(events, "deployment_completed")
    lines = [m["message"] for m in messages if m["type"] == "deployment_log"]
    assert lines[0] == ' [31m<b>?"'
    assert len(lines) < 20000 and any(line.endswith("lines left out)") for line in lines)
    assert max(map(len, lines)) <= 1023


def in_background(work):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(work()), daemon=True)
    thread.start()
    return thread, answers


def wait_pid(lab):
    path = lab.directory / "pid"
    return int(eventually(lambda: path.exists() and path.read_text().strip(), "it has begun"))


# In a session of its own, deaf to SIGTERM.
STUBBORN = """trap '' TERM; setsid sh -c 'trap "" TERM; echo $$ >pid.new; mv pid.new pid; exec sleep 600' & wait; wait"""


def test_a_move_cannot_outlive_its_time(lab, serve):
    monitor = serve(STUBBORN, "--deploy-timeout", "3")
    answer = execute(monitor, "web", "db").json()
    assert [r["error"] for r in answer["results"]] == ["timeout after 3.0 s"]
    pid = wait_pid(lab)
    eventually(lambda: not health.alive(pid), "nothing is left")


def test_one_at_a_time_and_none_outlives_the_monitor(lab, serve):
    monitor = serve(STUBBORN)
    thread, _ = in_background(lambda: pytest.raises(Exception, execute, monitor, "web"))
    pid = wait_pid(lab)
    assert execute(monitor, "db").status == 409
    monitor.signal(signal.SIGTERM)
    cut = monitor.log.wait("health_deployment_cut")["details"]
    assert (cut["service"], cut["machine"]) == ("web", "b")
    eventually(lambda: not health.alive(pid), "nothing is left")
    assert monitor.process.wait(20) == 0
    thread.join(10)


def test_it_goes_on_without_who_asked(lab, serve, watch):
    monitor = serve("until [ -e go ]; do sleep 0.05; done; echo done")
    events = watch(monitor)
    conn = http.client.HTTPConnection("127.0.0.1", monitor.port)
    conn.request("POST", "/api/deployment/execute", json.dumps(moves("web")))
    events.until("deployment_progress")
    conn.close()
    (lab.directory / "go").touch()
    assert events.until("deployment_completed")["results"][0]["success"] is True
    assert execute(monitor, "web").json()["success"] is True


def test_only_an_operator_may(lab, serve):
    tokens = lab.directory / "tokens"
    tokens.write_text("viewer-token-0123456 viewer\noperator-token-01234 operator\n")
    tokens.chmod(0o600)
    monitor = serve("touch ran", "--tokens", str(tokens), token="viewer-token-0123456")
    assert execute(monitor, "web").status == 403
    assert not (lab.directory / "ran").exists()
    monitor.token = "operator-token-01234"
    assert execute(monitor, "web").json()["success"] is True


def test_a_command_that_is_not_there(lab, serve):
    monitor = serve("", "--deploy-command", "/nowhere/deploy")
    (result,) = execute(monitor, "web").json()["results"]
    assert result["success"] is False and result["error"].startswith("exit 127: ")
    assert lab.run("serve", "--deploy-timeout", "0").returncode == 64
