# SPDX-License-Identifier: Apache-2.0
"""The WebSockets of the monitor: deployment events, changes of state, and the metric dialects."""
import json
import re
import time

import pytest
import websockets

from lib import health, weir, ws
from lib.health_ws import Watcher
from lib.wait import eventually

ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SOCKETS = ("/ws", "/api/ws/metrics", "/api/metrics/ws", "/ws/devices", "/api/uptime/ws",
           "/api/cluster/ws/health")


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, **kwargs):
        registry = lab.directory / "registry.yml"
        running.append(health.Monitor(registry, "--metrics-interval", "1", *args, env=lab.env,
                                      **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


@pytest.fixture
def watch():
    watchers = []

    def start(monitor, path, **options):
        watchers.append(Watcher(monitor, path, **options))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.close()


def switch(lab, name="up", **more):
    made = health.Switch(lab, name)
    return made, {**made.check, **more}


def quiet(lab):
    """A registry in which nothing happens."""
    lab.write({}, {"here": {"ip": "127.0.0.1"}, "there": {"ip": "198.51.100.7"}},
              plain={"current_host": "there", "port": 1})


# ---- /ws


def test_pings(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    for path in ("/ws", "/api/uptime/ws", "/api/cluster/ws/health"):
        watcher = watch(monitor, path)
        if path != "/ws":
            assert watcher.next()["type"] == "connected"
        if path == "/api/cluster/ws/health":
            assert watcher.next()["type"] == "health_update"
        for ping in ("ping", {"type": "ping"}):
            assert watcher.ask(ping) == {"type": "pong", "event": "pong"}
        watcher.send("{what}")  # ignored
        assert watcher.ask("ping")["type"] == "pong"


def test_hello_is_asked_for(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/ws?hello=1")
    assert watcher.next()["type"] == "connected"
    summary = watcher.next()
    assert summary["type"] == "health_summary"
    assert summary["total_services"] == 1 and summary["overall_status"] == "unknown"
    assert ISO.fullmatch(summary["timestamp"])


def test_changes_of_state(lab, serve, watch):
    path, check = switch(lab)
    lab.write({"it": check})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    events, uptime, cluster = (watch(monitor, p) for p in
                               ("/ws", "/api/uptime/ws", "/api/cluster/ws/health"))
    path.off()
    first = events.until("health_status_change")
    assert ISO.fullmatch(first.pop("timestamp"))
    assert first == {
        "type": "health_status_change", "event": "health_status_change", "service": "it",
        "machine": "here", "previous_status": "healthy", "new_status": "degraded",
        "message": "failing (1 in a row): pid file missing"}
    events.until("health_status_change", new_status="unhealthy")
    failure = events.until("uptime_event")
    assert (failure["event"]["event_type"], failure["event"]["service"]) == ("failure", "it")
    summary = events.until("health_summary", overall_status="unhealthy")
    assert (summary["unhealthy_services"], summary["total_services"]) == (1, 1)
    path.on()
    assert uptime.until("uptime_event")["event"]["event_type"] == "failure"
    assert uptime.until("uptime_event")["event"]["event_type"] == "recovery"
    cluster.until("service_status_change", new_status="unhealthy")
    assert cluster.until("pi_status_change", new_status="unhealthy")["pi"] == "here"
    cluster.until("health_update", overall_status="healthy")


def test_summaries_come_with_news_only(lab, serve, watch):
    path, check = switch(lab, interval="1s")  # a busy machine makes no pass of it stale
    lab.write({"it": check})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    watcher = watch(monitor, "/ws?hello=1")
    watcher.until("health_summary", overall_status="healthy")
    eventually(lambda: monitor.get("/api/metrics/machine/here")["status"] == "ok", "a sample")
    # Checks go on and pass, seconds go by, and nobody is told anything.
    sent = "portoser_socket_messages_total"
    passed = 'portoser_checks_total{service="it",machine="here",type="process",result="pass"}'
    before = monitor.metrics()
    eventually(lambda: monitor.metrics()[passed] > before[passed] + 3, "3 passes")
    assert monitor.metrics()[sent] == before[sent]
    path.off()
    watcher.until("health_summary", overall_status="unhealthy")


def test_reload_is_told(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/ws")
    _, check = switch(lab)
    lab.write({"new": check})
    message = watcher.until("registry_reloaded")
    assert (message["added"], message["removed"], message["changed"]) == (1, 1, 0)


# ---- Deployment events


def test_deployment_events(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    first, second = watch(monitor, "/ws"), watch(monitor, "/ws")
    other = watch(monitor, "/api/uptime/ws")
    other.next()
    sent = [
        {"type": "deployment_started", "total_operations": 1},
        {"type": "deployment_log", "message": "pulling <b>ä</b>"},
        {"type": "deployment_progress", "current_operation": 1, "total_operations": 1},
        {"type": "deployment_failed", "service": "plain", "error": "no space"},
        {"type": "deployment_completed", "service": "plain", "machine": "there",
         "results": [{"service": "plain", "target": "there", "success": True, "error": None}]},
        {"type": "deployment_complete", "deployment_id": "d1", "status": "ok", "success": True},
    ]
    for event in sent:
        answer = monitor.ask("POST", "/api/events", event)
        assert (answer.status, answer.json()) == (202, {"success": True})
    for watcher in (first, second):
        for event in sent:
            heard = watcher.next()
            assert ISO.fullmatch(heard.pop("timestamp"))
            assert heard == event
    assert other.ask("ping")["type"] == "pong"  # nothing came before it
    noted = [(e["event_type"], e["service"], e["message"]) for e in monitor.events()]
    assert noted == [
        ("service_deployed", "", "deployment_complete"),
        ("service_deployed", "plain", "deployment_completed"),
        ("diagnostic_run", "plain", "deployment_failed: no space"),
        ("diagnostic_run", "", "deployment_started"),
    ]


def refuse_early(monitor, request):
    peer = ws.Peer("127.0.0.1", monitor.port)
    peer.send_raw(request)
    return peer.read_to_end()


def test_bad_events(lab, serve):
    quiet(lab)
    monitor = serve()
    rows = [
        ({"type": "health_status_change"}, 422), ({}, 422), ([], 422), ("deployment_log", 422),
        ({"type": "deployment_log", "message": 1}, 422),
        ({"type": "deployment_completed", "results": "no"}, 422),
    ]
    for body, status in rows:
        assert monitor.ask("POST", "/api/events", body).status == status, body
    assert refuse_early(monitor, b"POST /api/events HTTP/1.1\r\nHost: x\r\n"
                        b"Content-Length: 70000\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert refuse_early(monitor, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert monitor.ask("GET", "/api/events").status == 405
    assert monitor.events() == []


def test_events_are_capped(lab, serve):
    quiet(lab)
    monitor = serve()
    begun = time.monotonic()
    answers = [monitor.ask("POST", "/api/events", {"type": "deployment_log", "message": str(i)})
               for i in range(300)]
    seconds = time.monotonic() - begun
    taken = sum(answer.status == 202 for answer in answers)
    assert 100 <= taken <= 100 * (int(seconds) + 2)
    assert {answer.status for answer in answers} <= {202, 429}


# ---- Metrics


def test_seed_dialect(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/api/ws/metrics")
    hello = watcher.next()
    assert ISO.fullmatch(hello.pop("timestamp"))
    assert hello == {"type": "connected", "event": "connected",
                     "message": "Connected to metrics stream", "server": "portoser-metrics-ws"}
    eventually(lambda: monitor.get("/api/metrics/machine/here")["status"] == "ok", "a sample")
    reply = watcher.ask({"type": "subscribe", "device_id": "here"})
    assert (reply["type"], reply["device_id"]) == ("subscribed", "here")
    whole, brief = watcher.next(), watcher.next()
    assert whole["type"] == whole["event"] == "machine_metrics_update"
    assert whole["machine"] == whole["device_id"] == "here"
    assert whole["data"] == whole["metrics"]
    assert set(whole["data"]) >= {
        "machine", "cpu_percent", "memory_used_mb", "memory_total_mb", "memory_percent",
        "disk_used_gb", "disk_total_gb", "disk_percent", "services", "timestamp", "status",
        "error"}
    assert 0 <= whole["data"]["cpu_percent"] <= 100
    assert 0 < whole["data"]["memory_used_mb"] < whole["data"]["memory_total_mb"]
    assert brief["type"] == "metrics_update" and brief["data"] == whole["data"]
    assert brief["metrics"]["cpu"] == brief["metrics"]["cpu_percent"]
    assert set(brief["metrics"]) >= {"memory", "disk", "memory_percent", "disk_percent"}
    # And the next samples, as they are taken.
    assert watcher.until("metrics_update")["timestamp"] > brief["timestamp"]
    reply = watcher.ask({"type": "unsubscribe", "device_id": "here"})
    while reply["type"] != "unsubscribed":
        reply = watcher.next()
    assert (reply["device_id"], reply["subscriptions"]) == ("here", ["here"])
    assert watcher.ask("ping")["type"] == "pong"


def test_pattern_dialect(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/api/metrics/ws")
    watcher.next()
    error = watcher.ask({"action": "subscribe", "subscriptions": ["*@here", "no at", "a@b"]})
    assert (error["type"], error["message"]) == (
        "error", "Invalid subscription format: no at. Use 'service@machine'")
    assert watcher.until("subscribed")["subscriptions"] == ["*@here", "a@b"]
    pushed = watcher.until("machine_metrics_update")
    assert pushed["machine"] == "here"
    listed = watcher.ask({"action": "list_subscriptions"})
    while listed["type"] != "subscriptions_list":
        assert listed["type"] == "machine_metrics_update"  # never metrics_update: no device_id
        listed = watcher.next()
    assert listed["subscriptions"] == {"*@here": 1, "a@b": 1}
    watcher.send({"action": "unsubscribe"})
    assert watcher.until("unsubscribed")["subscriptions"] == "all"
    assert watcher.ask({"action": "list_subscriptions"})["subscriptions"] == {}


def test_what_is_not_understood(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/api/ws/metrics")
    watcher.next()
    rows = [
        ("{", "Invalid JSON"), ("[1]", "Invalid JSON"), ({"action": "dance"}, "Unknown action: dance"),
        ({}, "Unknown action: "), ({"action": "subscribe"}, "subscriptions must be a list"),
        ({"action": "subscribe", "subscriptions": "a@b"}, "subscriptions must be a list"),
        ({"action": "get_current"}, "service and machine required for get_current"),
        ({"action": "get_current", "service": "a", "machine": "b"}, "No metrics found for a@b"),
        ({"type": "subscribe", "device_id": 7}, "device_id must be a text or a list of texts"),
        ({"type": "subscribe", "device_id": ""}, "Invalid subscription: "),
        ({"type": "subscribe", "device_id": "x" * 600}, "Invalid subscription: " + "x" * 200),
    ]
    for request, message in rows:
        reply = watcher.ask(request)
        assert (reply["type"], reply["message"]) == ("error", message), request
    # An unknown device may appear: the subscription is kept.
    assert watcher.ask({"type": "subscribe", "device_id": "later"})["type"] == "subscribed"
    assert watcher.next()["message"] == "Unknown device: later"
    lab.write({}, {"later": {"ip": "127.0.0.1"}})
    assert watcher.until("metrics_update")["device_id"] == "later"


def test_subscriptions_are_bounded(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/api/ws/metrics")
    watcher.next()
    watcher.send({"action": "subscribe", "subscriptions": [f"{i}@x" for i in range(400)]})
    assert watcher.next()["message"] == "Too many subscriptions; at most 256 are kept"
    assert len(watcher.until("subscribed")["subscriptions"]) == 256


def test_list_of_devices_and_all(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    eventually(lambda: monitor.get("/api/metrics/machine/here")["status"] == "ok", "a sample")
    watcher = watch(monitor, "/api/ws/metrics")
    watcher.next()
    watcher.send({"type": "subscribe", "device_id": ["there", "*"]})
    assert watcher.until("subscribed")["device_id"] == "there"
    assert watcher.until("subscribed")["device_id"] == "*"
    assert watcher.until("metrics_update")["device_id"] == "here"


def test_a_machine_that_comes_into_the_registry(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/ws/devices")
    watcher.next()
    lab.write({}, {"here": {"ip": "127.0.0.1"}, "new": {"ip": "198.51.100.3"}})
    told = watcher.until("device_registered")
    assert (told["hostname"], told["ip"], told["status"], told["approval_required"]) == (
        "new", "198.51.100.3", "unknown", False)


def test_device_events(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/ws/devices")
    assert watcher.next()["message"] == "Connected to device events stream"
    assert watcher.until("device_heartbeat")["hostname"] == "here"
    watcher.send({"action": "subscribe", "hostname": "there"})
    assert watcher.until("subscribed")["hostname"] == "there"
    assert monitor.ask("POST", "/api/devices/there/heartbeat").status == 200
    beat = watcher.until("device_heartbeat", hostname="there")
    assert beat["status"] == "online" and ISO.fullmatch(beat["last_seen_at"])


# ---- Who may


def test_tokens(lab, serve, watch):
    quiet(lab)
    tokens = lab.directory / "tokens"
    tokens.write_text("look-here-and-there viewer\nall-of-it-and-more admin\n")
    tokens.chmod(0o600)
    monitor = serve("--tokens", str(tokens), "--public-read", "false", token="all-of-it-and-more")
    for path in SOCKETS:
        for bad in (path, path + "?token=wrong"):
            with pytest.raises(websockets.InvalidStatusCode) as refused:
                Watcher(monitor, bad)
            assert refused.value.status_code == 403
        for options in ({"extra_headers": {"Authorization": "Bearer look-here-and-there"}},
                        {"subprotocols": ["other", "bearer.look-here-and-there"]}):
            watcher = watch(monitor, path, **options)
            if "subprotocols" in options:
                assert watcher.socket.subprotocol == "bearer.look-here-and-there"
        for name in ("token", "access_token"):
            watch(monitor, f"{path}?{name}=look-here-and-there")
    answer = monitor.ask("POST", "/api/events", {"type": "deployment_started"},
                         headers={"Authorization": "Bearer look-here-and-there"})
    assert answer.status == 403
    assert monitor.ask("POST", "/api/events", {"type": "deployment_started"}).status == 202


def test_there_is_a_limit(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    peers = []
    for _ in range(100):
        peer = ws.Peer("127.0.0.1", monitor.port)
        peer.send_raw(ws.upgrade_request("/ws", host="localhost"))
        peers.append(peer)
    eventually(lambda: monitor.metrics()["portoser_sockets"] == 100, "100 watchers")
    late = watch(monitor, "/ws")
    assert late.closing() == (1008, "Server connection limit reached")
    peers[0].close()
    eventually(lambda: monitor.metrics()["portoser_sockets"] < 100, "one left")
    assert watch(monitor, "/ws").ask("ping")["type"] == "pong"


def test_bad_handshakes(lab, serve):
    quiet(lab)
    monitor = serve()
    for request, status in [
        (ws.upgrade_request("/ws", host="localhost", version="7"), 400), (ws.upgrade_request("/ws", host="localhost", key="x"), 400),
        (ws.upgrade_request("/ws", host="localhost", method="POST"), 400), (ws.upgrade_request("/nowhere", host="localhost"), 404),
    ]:
        peer = ws.Peer("127.0.0.1", monitor.port)
        peer.send_raw(request)
        head = peer.sock.recv(65536)
        assert head.startswith(b"HTTP/1.1 %d " % status), head


# ---- Slow ones, and the end


def test_a_slow_watcher_is_let_go_and_others_go_on(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    slow = ws.Peer("127.0.0.1", monitor.port, receive_buffer=4096)
    slow.send_raw(ws.upgrade_request("/ws", host="localhost"))
    fast = watch(monitor, "/ws", max_size=2**20, max_queue=None)
    big = "x" * 60000

    def flood():
        answer = monitor.ask("POST", "/api/events", {"type": "deployment_log", "message": big})
        assert answer.status in (202, 429)
        return monitor.metrics()["portoser_sockets_slow_total"] == 1

    eventually(flood, "the slow watcher is closed", 30)
    heard = fast.until("deployment_log")
    assert heard["message"] == big
    monitor.ask("POST", "/api/events", {"type": "deployment_log", "message": "after"})
    fast.until("deployment_log", message="after")


def test_goodbye(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watchers = [watch(monitor, path) for path in SOCKETS]
    monitor.process.terminate()
    for watcher in watchers:
        assert watcher.closing() == (1001, "monitor shutting down")
    assert monitor.process.wait(10) == 0


def test_what_clients_send_is_data(lab, serve, watch):
    """Whatever comes in, an answer or nothing, and the next one is served."""
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/api/ws/metrics")
    watcher.next()
    for text in ("\0", "[" * 60000, "{\"a\":" * 3000, json.dumps({"action": ["x"]}),
                 json.dumps({"action": "\ud800"}), json.dumps({"action": "<script>"})):
        assert watcher.ask(text)["type"] == "error"
    watcher.send("x" * 70000)
    assert watcher.closing()[0] == 1009
    assert watch(monitor, "/ws").ask("ping")["type"] == "pong"


# ---- weir health event


def tell(monitor, *args, **kwargs):
    return weir.run("health", "event", *args, "--server", monitor.url + "/", **kwargs)


def test_event_command(lab, serve, watch):
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/ws")
    results = [{"service": "plain", "target": "there", "success": True, "error": None}]
    done = tell(monitor, "deployment_completed", "--service", "plain", "--machine", "there",
                "--message", 'it "works"\n', "--deployment-id", "d7", "--results",
                json.dumps(results))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    heard = watcher.until("deployment_completed")
    del heard["timestamp"]
    assert heard == {"type": "deployment_completed", "service": "plain", "machine": "there",
                     "message": 'it "works"\n', "deployment_id": "d7", "results": results}
    done = tell(monitor, "deployment_imagined")
    assert done.returncode == 65 and "422" in done.stderr
    assert tell(monitor).returncode == 64
    done = weir.run("health", "event", "deployment_started", "--server", "http://127.0.0.1:1")
    assert done.returncode == 69 and "cannot be reached" in done.stderr


def test_a_pipe_becomes_a_log(lab, serve, watch):
    """More lines than are taken in a second: they come later, and in order."""
    quiet(lab)
    monitor = serve()
    watcher = watch(monitor, "/ws", max_queue=None)
    lines = [f"line {i} \\ ü" for i in range(150)]
    path = lab.directory / "lines"
    path.write_text("\n".join(lines))
    with path.open(encoding="utf-8") as pipe:
        done = tell(monitor, "--stdin", "--deployment-id", "d", stdin=pipe)
    assert (done.returncode, done.stderr) == (0, "")
    heard = [watcher.until("deployment_log") for _ in lines]
    assert [message["message"] for message in heard] == lines
    assert {message["deployment_id"] for message in heard} == {"d"}


def test_event_command_wants_an_operator(lab, serve):
    quiet(lab)
    tokens = lab.directory / "tokens"
    tokens.write_text("only-a-viewers-token viewer\nan-operators-token-it-is operator\n")
    tokens.chmod(0o600)
    monitor = serve("--tokens", str(tokens))
    for token, code in (("only-a-viewers-token", 77), (None, 77), ("an-operators-token-it-is", 0)):
        env = {"PORTOSER_TOKEN": token} if token else {}
        done = tell(monitor, "deployment_started", env=env)
        assert done.returncode == code, done.stderr


def test_pages_that_may_listen(lab, serve, watch):
    """Without tokens a page of somebody else's must not hear what goes on; with one, the token says."""
    quiet(lab)
    monitor = serve()
    for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{monitor.port}"):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            watch(monitor, "/ws", origin=origin)
        assert refused.value.status_code == 403
    for origin in (f"http://127.0.0.1:{monitor.port}", "http://localhost:3000", "http://[::1]:9"):
        assert watch(monitor, "/ws?hello=1", origin=origin).next()["type"] == "connected"
    tokens = lab.directory / "tokens"
    tokens.write_text("look-here-and-there viewer\n")
    tokens.chmod(0o600)
    monitor = serve("--tokens", str(tokens), token="look-here-and-there")
    with pytest.raises(websockets.InvalidStatusCode):
        watch(monitor, "/ws?hello=1")
    told = watch(monitor, "/ws?hello=1&token=look-here-and-there", origin="https://board.example")
    assert told.next()["type"] == "connected"
