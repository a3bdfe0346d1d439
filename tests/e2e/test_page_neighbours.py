# SPDX-License-Identifier: Apache-2.0
"""What the page is told of a relay and an engine beside the monitor, by ones that the test makes."""
import http.server
import json
import queue
import threading
import time

import pytest

from lib import browser as chromium
from lib import health, targets
from lib.page import Page, fresh
from lib.wait import eventually

WHEN = "2026-11-28T12:00:00.000Z"


class Neighbour:
    """Answers what it is told to: paths to (status, body), or to a function that has the request."""

    def __init__(self, answers, port=0):
        self.asked = []
        self.last = 0.0
        self.tokens = set()
        neighbour = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # pylint: disable=invalid-name
                neighbour.asked.append(self.path)
                neighbour.last = time.monotonic()
                neighbour.tokens.add(self.headers.get("Authorization"))
                answer = answers.get(self.path, (404, b"{}"))
                if callable(answer):
                    answer(self)
                    return
                status, body = answer
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):  # pylint: disable=arguments-differ
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Events:
    """The engine's /api/sse. `say` is written to whoever listens, None ends it."""

    def __init__(self):
        self.said = queue.Queue()
        self.dialled = 0

    def __call__(self, request):
        self.dialled += 1
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        while True:
            text = self.said.get()
            if text is None:
                return
            request.wfile.write(text)
            request.wfile.flush()

    def say(self, kind, thing, pieces=1):
        event = {"id": f"evt_{self.said.qsize()}_{time.monotonic_ns()}", "type": kind,
                 "created_at": WHEN, "object": thing}
        text = f"data: {json.dumps(event)}\n\n".encode()
        size = len(text) // pieces + 1
        for at in range(0, len(text), size):
            self.said.put(text[at:at + size])

    def end(self):
        self.said.put(None)


def cell(name, frames, daemon=True):
    daemons = [{"installId": "i1", "machineId": None, "connectedAt": WHEN, "framesIn": frames,
                "framesOut": 0}]
    return {"workspaceId": name, "runtimeTargetId": "t", "daemonConnected": daemon,
            "clientCount": 2, "lastActivityAt": WHEN, "daemons": daemons if daemon else []}


def line(event, **details):
    return {"ts": WHEN, "level": "info", "event": event, "details": details}


def relay_answers():
    return {
        "/state": (200, {"relayId": "r1", "backplaneMode": "single", "uptimeMs": 5000,
                         "totalConnections": 3, "workspaces": [cell("a", 10), cell("b", 0, False)]}),
        "/health": (200, {"ok": True}),
        "/logs": (200, {"ok": True, "logs": [line("relay_started", port=1), line("same"),
                                             line("same")]}),
        "/metrics": (200, b"# TYPE x counter\nrelay_handshake_failures_total{reason=\"bad_token\"} 4\n"
                          b"relay_handshake_failures_total{reason=\"none_of_these\"} 0\n"
                          b"relay_outbound_queue_bytes 2048\n"
                          b"relay_frames_client_to_daemon_total 100\n"),
    }


@pytest.fixture
def serve(lab):
    running = []
    lab.write({"it": {**health.Switch(lab).check, "interval": 3600}})

    def start(*args, **kwargs):
        running.append(health.Monitor(lab.directory / "registry.yml", "--metrics-interval", "300",
                                      *args, env=lab.env, **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


@pytest.fixture
def neighbour():
    started = []

    def start(answers, port=0):
        started.append(Neighbour(answers, port))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def watch():
    pages = []

    def start(monitor, **options):
        pages.append(Page(monitor, **options))
        return pages[-1]

    yield start
    for page in pages:
        page.close()


def part(name):
    return lambda tables: tables.table("parts").get(name, {})


def heard(name):
    return lambda tables: part(name)(tables).get("heard") and part(name)(tables)["problem"] is None


def test_alone_it_has_no_parts(serve, watch):
    tables = watch(serve()).snapshot()
    assert not any(tables.table(name) for name in ("parts", "relay", "engine", "cells"))


def test_a_relay(serve, neighbour, watch, tmp_path):
    answers = relay_answers()
    relay = neighbour(answers)
    token = tmp_path / "token"
    token.write_text("sesame-0123456789\n")
    page = watch(serve("--relay", relay.url, "--relay-token-file", str(token)))
    page.wait(heard("relay"), "it is heard")
    tables = page.tables
    assert relay.tokens == {"Bearer sesame-0123456789"}
    row = tables.table("relay")["now"]
    assert (row["relayId"], row["connections"], row["cells"], row["daemons"]) == ("r1", 3, 2, 1)
    assert (row["ok"], row["downSince"], row["queuedBytes"]) == (True, None, 2048)
    assert tables.table("failures") == {"bad_token": 4}
    assert set(tables.table("cells")) == {"a:t", "b:t"}
    assert tables.table("cells")["a:t"]["connectedAt"] == WHEN
    assert tables.table("cells")["b:t"]["daemonConnected"] is False
    log = list(tables.table("relay_log").values())
    assert [row["kind"] for row in log] == ["relay_started", "same", "same"]
    assert log[0]["words"] == "port=1"
    # Frames pass, a cell goes, a line comes; the way to other relays goes down.
    answers["/state"][1]["workspaces"] = [cell("a", 1000)]
    answers["/logs"][1]["logs"].append(line("came_and_went", who="c"))
    answers["/health"] = (200, {"ok": True, "backplaneDownSince": WHEN, "backplaneProblem": "no redis"})
    page.wait(lambda t: set(t.table("cells")) == {"a:t"}, "the other has gone")
    page.wait(lambda t: "came_and_went" in [row["kind"] for row in t.table("relay_log").values()],
              "the line")
    page.wait(lambda t: t.table("relay")["now"]["downSince"] == WHEN, "it is told")
    page.wait(lambda t: t.table("cells")["a:t"]["framesPerSecond"] == 0, "and then nothing passes")
    assert page.tables.table("relay")["now"]["problem"] == "no redis"


def test_frames_a_second(serve, neighbour, watch):
    answers = relay_answers()
    frames = [0]

    def state(request):
        frames[0] += 1000
        body = json.dumps({"relayId": "r", "backplaneMode": "single", "uptimeMs": 1,
                           "totalConnections": 1, "workspaces": [cell("a", frames[0])]}).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    answers["/state"] = state
    page = watch(serve("--relay", neighbour(answers).url))
    page.wait(lambda t: (t.table("cells").get("a:t", {}).get("framesPerSecond") or 0) > 0, "frames")


def test_everybody_is_one_question(serve, neighbour, watch):
    """However many look, each thing is asked every other second; nobody looks, and nothing is."""
    relay = neighbour(relay_answers())
    monitor = serve("--relay", relay.url)
    assert monitor.get("/api/health/dashboard")["total_services"] == 1
    assert relay.asked == [], "nobody looks"
    begun = time.monotonic()
    pages = [watch(monitor) for _ in range(20)]
    for page in pages:
        page.wait(heard("relay"), "it is heard")
    eventually(lambda: relay.asked.count("/state") > 3, "asked again", 30)
    rounds = (time.monotonic() - begun) / 2 + 2
    assert relay.asked.count("/state") <= rounds
    assert all(page.tables.table("cells") == pages[0].tables.table("cells") for page in pages)
    for page in pages:
        page.close()
    eventually(lambda: time.monotonic() - relay.last > 4.5, "it is left alone", 60)
    # A reader of documents counts as well.
    eventually(lambda: heard("relay")(fresh(monitor)), "asked for a reader", 30)


def test_it_goes_and_comes_back(serve, neighbour, watch):
    answers = relay_answers()
    relay = neighbour(answers)
    page = watch(serve("--relay", relay.url))
    page.wait(heard("relay"), "it is heard")
    relay.stop()
    page.wait(lambda t: "cannot be asked" in (part("relay")(t)["problem"] or ""), "it is away")
    told = part("relay")(page.tables)
    assert told["heard"] is True and told["since"] is not None
    assert set(page.tables.table("cells")) == {"a:t", "b:t"}, "as it was"
    answers["/state"][1]["totalConnections"] = 9
    neighbour(answers, relay.port)
    page.wait(heard("relay"), "it is back")
    assert part("relay")(page.tables)["since"] is None
    page.wait(lambda t: t.table("relay")["now"]["connections"] == 9, "news")


@pytest.mark.parametrize("answer, words", [
    ((401, b"{}"), "does not take the token"),
    ((404, b"{}"), "RELAY_ENABLE_ADMIN_HTTP"),
    ((500, b"{}"), "answered 500"),
    ((200, b"[1"), "is not understood"),
    ((200, b"[]"), "is not understood"),
    ((200, b"{}"), "is not understood"),
    ((200, b'{"workspaces": [], "totalConnections": -1}'), "is not understood"),
])
def test_what_it_says_is_no_use(serve, neighbour, watch, answer, words):
    answers = relay_answers()
    answers["/state"] = answer
    page = watch(serve("--relay", neighbour(answers).url))
    page.wait(lambda t: words in (part("relay")(t).get("problem") or ""), words)
    assert part("relay")(page.tables)["heard"] is False


def test_nobody_is_there(serve, watch):
    port = targets.free_port()
    page = watch(serve("--relay", f"http://127.0.0.1:{port}", "--engine", f"http://127.0.0.1:{port}"))
    for name in ("relay", "engine"):
        page.wait(lambda t, n=name: "cannot be asked" in (part(n)(t)["problem"] or ""), name)


def test_a_relay_says_strange_things(serve, neighbour, watch):
    """Whatever it says, the page goes on: a peer cannot make the monitor stop."""
    answers = relay_answers()
    answers["/state"] = (200, {"workspaces": [
        1, None, {}, {"workspaceId": 7, "daemons": 3}, {"workspaceId": "x" * 5000},
        {"workspaceId": "\ud800\u0000", "clientCount": 1e300, "daemons": [{"framesIn": "n"}]}],
        "uptimeMs": -5, "totalConnections": "many"})
    answers["/logs"] = (200, {"logs": [1, {}, {"ts": {}, "details": [1]},
                                       line("long", text="y" * 9000, deep={"a": [1, {"b": None}]})]})
    answers["/metrics"] = (200, b"relay_handshake_failures_total{reason=\"}\\\"\"} NaN\n{\n}\n=\n"
                                b"relay_handshake_failures_total{reason=\"a}b\\\"c\"} 2\n"
                                b"relay_handshake_failures_total{reason=\"endless\"} +Inf\n"
                                b"relay_handshake_failures_total{reason=\"large\"} 1e300\n"
                                b"relay_outbound_queue_bytes -1e400\nx{y=\"\n")
    monitor = serve("--relay", neighbour(answers).url)
    page = watch(monitor)
    page.wait(lambda t: t.table("failures").get('a}b"c') == 2, "what can be read of it")
    assert page.tables.table("failures") == {'a}b"c': 2, "large": 1e300}, "JSON has no infinite number"
    page.wait(lambda t: any(row["kind"] == "long" for row in t.table("relay_log").values()), "lines")
    assert monitor.ask("GET", "/ping").status == 200


def test_a_reader_is_told_what_is_old(serve, neighbour, tmp_path):
    answers = relay_answers()
    relay = neighbour(answers)
    monitor = serve("--relay", relay.url)
    driver = chromium.start(tmp_path)
    try:
        driver.get(f"{monitor.url}/health#relay")

        def words():
            return driver.execute_script("return document.body.innerText")

        eventually(lambda: "2 of 2 cells shown" in words(), "the cells", 30)
        relay.stop()
        eventually(lambda: "cannot be asked" in words() and "is how it was" in words(), "it is old",
                   30)
        assert "2 of 2 cells shown" in words()
        answers["/state"][1]["workspaces"] = []
        neighbour(answers, relay.port)
        eventually(lambda: "0 of 0 cells shown" in words(), "it is new", 30)
        eventually(lambda: "cannot be asked" not in words(), "and nothing is wrong", 30)
    finally:
        driver.quit()


# ---- An engine


CLIENT = {"id": "c1", "agent": "weir", "version": "1", "os": "linux", "arch": "amd64"}
TUNNEL = {"id": "t1", "client_id": "c1", "name": "web", "protocol": "http", "publish": True,
          "hostname": "web.t.example", "labels": {"a": "b"}, "creation_date": WHEN}


def initial(events, clients=(), tunnels=()):
    events.say("state.initial", {"snapshot_at": WHEN, "clients": list(clients),
                                 "tunnels": list(tunnels)}, pieces=7)


def test_an_engine(serve, neighbour, watch, tmp_path):
    events = Events()
    engine = neighbour({"/api/sse": events})
    token = tmp_path / "token"
    token.write_text("sesame")
    page = watch(serve("--engine", engine.url, "--engine-token-file", str(token)))
    initial(events, [CLIENT], [TUNNEL])
    page.wait(heard("engine"), "it is heard")
    assert engine.tokens == {"Bearer sesame"}
    assert page.tables.table("clients") == {"c1": {k: v for k, v in CLIENT.items() if k != "id"}}
    assert page.tables.table("tunnels") == {
        "t1": {k: v for k, v in TUNNEL.items() if k not in ("id", "labels")}}
    assert page.tables.table("engine") == {}
    # When it was opened is known; the engine keeps no more of what was.
    assert [(row["time"], row["kind"], row["what"])
            for row in page.tables.table("engine_log").values()] == [
                (WHEN, "tunnel.created", "web.t.example")]
    # Somebody who stays no longer than a moment is seen all the same.
    brief = {**TUNNEL, "id": "t2", "hostname": "brief.t.example"}
    for kind, thing in (("client.created", {**CLIENT, "id": "c2"}), ("tunnel.created", brief),
                        ("tunnel.deleted", brief), ("client.deleted", {**CLIENT, "id": "c2"}),
                        ("future.event", {}), ("tunnel.updated", {**TUNNEL, "name": "new"})):
        events.said.put(b": ping\n\n")
        events.say(kind, thing, pieces=3)
    page.wait(lambda t: t.table("tunnels")["t1"]["name"] == "new", "the last event")
    assert set(page.tables.table("tunnels")) == {"t1"}
    assert set(page.tables.table("clients")) == {"c1"}
    log = list(page.tables.table("engine_log").values())[1:]
    assert [row["kind"] for row in log] == [
        "client.created", "tunnel.created", "tunnel.deleted", "client.deleted", "tunnel.updated"]
    assert log[1]["what"] == "brief.t.example" and "client c1" in log[1]["words"]
    events.end()
    events.end()


def test_an_engine_restarts(serve, neighbour, watch):
    events = Events()
    page = watch(serve("--engine", neighbour({"/api/sse": events}).url))
    initial(events, [CLIENT], [TUNNEL])
    page.wait(heard("engine"), "it is heard")
    events.end()
    page.wait(lambda t: "has ended its events" in (part("engine")(t)["problem"] or ""), "it ends")
    assert set(page.tables.table("tunnels")) == {"t1"}, "as it was"
    initial(events)
    page.wait(heard("engine"), "it is back")
    assert page.tables.table("tunnels") == {} and page.tables.table("clients") == {}
    assert events.dialled >= 2
    events.end()


@pytest.mark.parametrize("text", [
    b"data: [1\n\n", b"data: {}\n\n", b"data:\n\n", b"data: \xff\n\n", b'data: {"object": 7}\n\n'])
def test_an_engine_is_not_understood(serve, neighbour, watch, text):
    events = Events()
    page = watch(serve("--engine", neighbour({"/api/sse": events}).url))
    events.said.put(text)
    page.wait(lambda t: "is not understood" in (part("engine")(t).get("problem") or ""), "it says so")
    assert part("engine")(page.tables)["heard"] is False
    initial(events, [CLIENT, {}, {"id": 7}, {"id": "x" * 3000}], [TUNNEL, {"id": "t3", "host": 1}])
    events.say("tunnel.deleted", {})
    events.say("client.updated", {"id": "c9", "os": "\u0001" * 900})
    page.wait(lambda t: "c9" in t.table("clients"), "it goes on")
    assert heard("engine")(page.tables)
    assert {"t1", "t3"} <= set(page.tables.table("tunnels"))
    events.end()


METRICS = """\
weir_engine_streams_active{{kind="http"}} 2
weir_engine_streams_active{{kind="tls"}} 1
weir_engine_http_requests_total{{code="2xx"}} {requests}
weir_engine_stream_bytes_total{{direction="to_agent",kind="http"}} {requests}
weir_engine_http_request_duration_seconds_bucket{{le="0.1"}} 0
weir_engine_http_request_duration_seconds_bucket{{le="0.5"}} {requests}
weir_engine_http_request_duration_seconds_bucket{{le="+Inf"}} {requests}
weir_engine_cert_not_after_timestamp_seconds 4102444800
weir_engine_tunnel_streams_active{{tunnel="web.t.example"}} 1
weir_engine_tunnel_streams_total{{tunnel="web.t.example"}} 5
weir_engine_tunnel_streams_active{{tunnel="odd.t.example"}} NaN
weir_engine_tunnel_streams_total{{tunnel="odd.t.example"}} +Inf
"""


def test_numbers_of_an_engine(serve, neighbour, watch):
    events = Events()
    requests = [0]
    answers = {"/api/sse": events}

    def metrics(request):
        requests[0] += 100
        body = METRICS.format(requests=requests[0]).encode()
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    answers["/metrics"] = metrics
    engine = neighbour(answers)
    page = watch(serve("--engine", engine.url, "--engine-metrics", engine.url + "/metrics"))
    initial(events, [CLIENT], [TUNNEL])
    page.wait(heard("engine"), "it is heard")

    def numbers(tables):
        return tables.table("engine").get("now", {})

    page.wait(lambda t: (numbers(t).get("requests") or 0) > 0, "requests a second")
    row = numbers(page.tables)
    assert (row["streams"], row["p95Ms"], row["slow"]) == (3, 500, False)
    assert row["certificateEnds"] == 4102444800 and row["fromVisitors"] > 0
    assert page.tables.table("streams") == {"web.t.example": 5}
    assert page.tables.table("streams_live") == {"web.t.example": 1}
    del answers["/metrics"]
    page.wait(lambda t: numbers(t) == {}, "without metrics there are no numbers")
    assert heard("engine")(page.tables), "and nothing is wrong"
    events.end()
