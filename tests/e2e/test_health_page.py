# SPDX-License-Identifier: Apache-2.0
"""What the monitor's page is told: a snapshot, and what changes, over one socket."""
import json
import random
import socket

import pytest
import websockets

from lib import health, ws
from lib.page import Page, Tables, fresh
from lib.wait import eventually

TOKEN = "look-here-and-there"


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, **kwargs):
        # Nothing changes by itself: resources of this machine are looked at once.
        running.append(health.Monitor(lab.directory / "registry.yml", "--metrics-interval", "300",
                                      *args, env=lab.env, **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


@pytest.fixture
def watch():
    pages = []

    def start(monitor, path="/ws/page", **options):
        pages.append(Page(monitor, path, **options))
        return pages[-1]

    yield start
    for page in pages:
        page.close()


def rare(lab, name="rare"):
    """A check that is made once."""
    return {**health.Switch(lab, name).check, "interval": 3600}


def status(tables, key):
    return tables.table("services").get(key, {}).get("status")


def settle(page, monitor):
    """What page has been told is all there is."""
    page.wait(lambda tables: tables.known() == fresh(monitor).known(), "they are the same")


def test_a_snapshot_and_what_changes(lab, serve, watch):
    switch = health.Switch(lab)
    lab.write({"it": switch.check, "other": rare(lab)},
              {"here": {"ip": "127.0.0.1", "roles": ["edge"]}})
    monitor = serve()
    page = watch(monitor)
    tables = page.snapshot()
    assert set(tables.table("services")) == {"it@here", "other@here"}
    assert tables.table("roles") == {"here": ["edge"]}
    assert tables.table("summary")["now"]["total_services"] == 2
    page.wait(lambda t: status(t, "it@here") == "healthy", "it is healthy")
    switch.off()
    page.wait(lambda t: status(t, "it@here") == "unhealthy", "it fails")
    page.wait(lambda t: t.table("summary")["now"]["overall_status"] == "unhealthy", "the cluster")
    page.wait(lambda t: t.table("machines")["here"]["status"] == "unhealthy", "the machine")
    kinds = [(row["kind"], row["service"], row["new_status"], row["level"])
             for row in tables.table("events").values()]
    assert ("status_change", "it", "unhealthy", "error") in kinds
    assert tables.table("services")["it@here"]["issues"] == ["pid file missing"]
    assert tables.snapshots == 1


def test_what_passes_as_before_costs_little(lab, serve, watch):
    lab.write({"it": health.Switch(lab).check})
    monitor = serve()
    page = watch(monitor)
    page.wait(lambda t: status(t, "it@here") == "healthy", "it is healthy")
    # Its first results still move its sums.
    message = None

    def only_times():
        nonlocal message
        message = page.step()
        return set(message["set"]) == {"results"}

    eventually(only_times, "nothing but times", 30)
    assert message["gone"] == {}
    assert len(json.dumps(message)) < 300


def test_something_is_said_now_and_then(lab, serve, watch):
    lab.write({"it": rare(lab)})
    monitor = serve()
    page = watch(monitor)
    page.snapshot()

    def nothing():
        message = page.step()
        return message["gone"] == {} and message["set"] == {}

    eventually(nothing, "a delta without news", 30)


def test_many_changes_add_up(lab, serve, watch):
    """Whatever happens in whatever order, deltas give what a snapshot gives."""
    chance = random.Random(7)
    switches = [health.Switch(lab, f"s{i}") for i in range(8)]
    hosts = {"here": {"ip": "127.0.0.1"}, "there": {"ip": "127.0.0.1", "roles": ["edge"]}}
    services = {}

    def write():
        lab.write({}, hosts, **services)

    def change(turn):
        index = chance.randrange(len(switches))
        name = f"s{index}"
        what = chance.randrange(5)
        if what == 0 and switches[index].path.exists():
            switches[index].off()
        elif what == 0:
            switches[index].on()
        elif what == 1:
            services.pop(name, None)
            write()
        elif what == 2:
            services[name] = {"current_host": chance.choice(list(hosts)),
                              "health_check": {**switches[index].check, "interval": "1s"}}
            write()
        elif what == 3 and name in services:
            answer = monitor.ask(chance.choice(["POST", "DELETE"]),
                                 f"/api/health/maintenance/{name}", {})
            assert answer.status in (200, 404, 409), answer.body
        else:
            answer = monitor.ask("POST", "/api/events", {
                "type": "deployment_completed", "service": name, "message": f"turn {turn}"})
            assert answer.status == 202

    write()
    monitor = serve()
    first = watch(monitor)
    first.snapshot()
    for turn in range(40):
        change(turn)
        if turn % 10 == 5:
            settled = watch(monitor)
            settled.snapshot()
            settled.close()
    # From here on nothing changes by itself.
    services.clear()
    services["last"] = {"current_host": "there", "health_check": rare(lab)}
    write()
    first.wait(lambda t: set(t.table("services")) == {"last@there"}, "the last reading")
    settle(first, monitor)
    late = watch(monitor)
    assert late.snapshot().known() == first.tables.known()
    assert first.tables.snapshots == 1


def crowd(lab, count, interval):
    check = {**health.Switch(lab).check, "interval": interval}
    lab.write({f"service-with-a-long-name-{i:04}": check for i in range(count)})


def test_a_snapshot_comes_in_parts(lab, serve, watch):
    crowd(lab, 1000, 3600)
    monitor = serve()
    page = watch(monitor)
    tables = page.snapshot()
    assert tables.part > 5
    assert len(tables.table("services")) == len(tables.table("results")) == 1000
    settle(page, monitor)


def test_a_slow_watcher_gets_another_snapshot(lab, serve, watch):
    """It is not closed, and what waits for it is bounded; the others do not notice."""
    crowd(lab, 500, "200ms")
    monitor = serve()
    fast = watch(monitor)
    fast.wait(lambda t: t.table("summary")["now"]["healthy_services"] == 500, "all are healthy")
    slow = ws.WebSocket("127.0.0.1", monitor.port, receive_buffer=4096)
    slow.upgrade("/ws/page", host="localhost")

    def missed():
        for _ in range(10):
            fast.step()
        return monitor.metrics()["portoser_page_missed_total"] > 0

    eventually(missed, "there is too much for it", 90)
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
    tables = Tables()

    def caught_up():
        tables.take(json.loads(slow.recv_text()))
        return tables.snapshots > 1 and tables.whole

    eventually(caught_up, "another snapshot", 60)
    assert len(tables.table("services")) == 500
    assert monitor.metrics()["portoser_sockets_slow_total"] == 0


def test_who_may(lab, serve, watch):
    lab.write({"it": rare(lab)}, {"here": {"ip": "127.0.0.1", "roles": ["edge"]}})
    tokens = lab.directory / "tokens"
    tokens.write_text(f"{TOKEN} viewer\n")
    tokens.chmod(0o600)
    monitor = serve("--tokens", str(tokens), "--public-read", "false", token=TOKEN)
    for options in ({}, {"subprotocols": ["bearer.wrong-token-0123456"]}):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            watch(monitor, **options)
        assert refused.value.status_code == 403
    page = watch(monitor, subprotocols=[f"bearer.{TOKEN}"])
    assert page.socket.subprotocol == f"bearer.{TOKEN}"
    assert page.snapshot().table("roles") == {"here": ["edge"]}
    assert watch(monitor, f"/ws/page?token={TOKEN}").snapshot().table("services") != {}
    assert monitor.ask("GET", "/api/page").status == 200
    assert monitor.ask("GET", "/api/page", headers={"Authorization": "x"}).status == 401


def test_everybody_reads_health_alone(lab, serve):
    """--public-read shows health, and nothing else of the machines."""
    lab.write({"it": rare(lab)}, {"here": {"ip": "127.0.0.1", "roles": ["edge"]}})
    tokens = lab.directory / "tokens"
    tokens.write_text(f"{TOKEN} viewer\n")
    tokens.chmod(0o600)
    monitor = serve("--tokens", str(tokens), "--public-read", "true")
    shown = fresh(monitor)
    assert set(shown.table("services")) == {"it@here"} and shown.table("roles") == {}
    shown = fresh(monitor, Authorization=f"Bearer {TOKEN}")
    assert shown.table("roles") == {"here": ["edge"]}


def test_only_its_own_page(lab, serve, watch):
    lab.write({"it": rare(lab)})
    monitor = serve()
    for origin in ("https://evil.example", "null"):
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            watch(monitor, origin=origin)
        assert refused.value.status_code == 403
    assert watch(monitor, origin=monitor.url).snapshot().whole


def test_a_hundred_watch(lab, serve, watch):
    lab.write({"it": rare(lab)})
    monitor = serve()
    peers = []
    for _ in range(100):
        peer = ws.WebSocket("127.0.0.1", monitor.port)
        peer.upgrade("/ws/page", host="localhost")
        peers.append(peer)
    assert monitor.metrics()["portoser_sockets"] == 100
    assert watch(monitor).closing() == (1008, "Server connection limit reached")
    for peer in peers:
        assert json.loads(peer.recv_text())["type"] == "snapshot"
    answer = monitor.ask("POST", "/api/events", {
        "type": "deployment_completed", "service": "it", "message": "all hear it"})
    assert answer.status == 202
    told = set()
    for peer in peers:
        text = peer.recv_text()
        while "all hear it" not in text:
            text = peer.recv_text()
        told.add(text)
    assert len(told) == 1, "the same text for all"


def test_nobody_watches(lab, serve, watch):
    """A monitor alone prints nothing; who comes then sees everything."""
    switch = health.Switch(lab)
    lab.write({"it": switch.check})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    page = watch(monitor)
    page.snapshot()
    page.close()
    switch.off()
    monitor.wait_status("it", "unhealthy")
    again = watch(monitor).snapshot()
    assert status(again, "it@here") == "unhealthy"
    assert "unhealthy" in [row["new_status"] for row in again.table("events").values()]


def test_it_says_goodbye(lab, serve, watch):
    lab.write({"it": rare(lab)})
    monitor = serve()
    page = watch(monitor)
    page.snapshot()
    monitor.process.terminate()
    assert page.closing() == (1001, "monitor shutting down")


def test_a_registry_with_mistakes_is_told(lab, serve, watch):
    path = lab.write({"it": rare(lab)})
    monitor = serve()
    page = watch(monitor)
    assert page.snapshot().table("summary")["now"]["registry"] == {"error": None}
    good = path.read_text()
    path.write_text("{")
    page.wait(lambda t: t.table("summary")["now"]["registry"]["error"], "why it was refused")
    path.write_text(good)
    page.wait(lambda t: t.table("summary")["now"]["registry"]["error"] is None, "taken again")


def test_what_a_row_may_hold(lab, serve, watch):
    """Names and output are text, whatever is in them."""
    evil = "</script>\u2028\"\\\u0001"
    lab.write({}, **{evil: {"current_host": "here", "health_check": {
        "type": "exec", "command": "printf '\\377<b>%03000d' 7; false", "interval": 1}}})
    monitor = serve()
    page = watch(monitor)
    page.snapshot()
    names = [row["service"] for row in page.tables.table("services").values()]
    assert names == [evil]
    page.wait(lambda t: any(row["issues"] and "<b>" in row["issues"][0]
                            for row in t.table("services").values()), "its output")
