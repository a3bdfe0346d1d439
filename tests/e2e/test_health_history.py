# SPDX-License-Identifier: Apache-2.0
"""What outlives a result, and a process: rings in memory, and the store on disk."""
import json
import pathlib
import shutil
import sqlite3
import subprocess

import pytest

from lib import health, targets
from lib.wait import eventually


def switch(lab, name="up", **more):
    made = health.Switch(lab, name)
    return made, {**made.check, **more}


def store_state(monitor):
    return monitor.ask("GET", "/api/health/comprehensive").json()["checks"]["state_file"]


# ---- In memory


def test_results_and_buckets(lab, serve):
    path, check = switch(lab)
    lab.write({"it": check})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    path.off()
    monitor.wait_status("it", "unhealthy")
    seen = monitor.service("it")
    newest = seen["results"][0]
    assert (newest["ok"], newest["status"]) == (False, "unhealthy")
    assert newest["time"] == seen["last_checked"]
    assert seen["results"][-1]["ok"] is True and seen["results"][-1]["latency_ms"] > 0
    times = [result["time"] for result in seen["results"]]
    assert times == sorted(times, reverse=True)
    history = monitor.get("/api/health/services/it/history?range=1h")
    assert (history["service"], history["machine"], history["step"]) == ("it", "here", 300)
    checks = sum(bucket["checks"] for bucket in history["buckets"])
    failures = sum(bucket["failures"] for bucket in history["buckets"])
    assert failures >= 3 and checks > failures
    bucket = history["buckets"][-1]
    assert bucket["state"] == "unhealthy"
    passes = [r["latency_ms"] for r in seen["results"] if r["ok"]]
    if len(history["buckets"]) == 1:  # no five minutes have ended in between
        assert bucket["avg_ms"] == pytest.approx(sum(passes) / len(passes), rel=0.01)
        assert bucket["max_ms"] == pytest.approx(max(passes), rel=0.01)
        assert min(passes) <= bucket["p95_ms"] <= bucket["max_ms"]
    assert 0 < seen["uptime_24h"] < 100
    rows = monitor.get("/api/diagnostics/history/it/here?limit=2")
    assert len(rows) == 2 and rows[0]["problems_found"] == 1
    assert monitor.get("/api/diagnostics/history/it/nowhere") == []
    assert monitor.get("/api/health/services/it/history?range=7d")["step"] == 3600
    assert monitor.get("/api/health/services/it/history?range=7d&step=5m")["step"] == 300
    assert monitor.get("/api/health/services/it/history?range=1h&step=1h")["step"] == 3600
    for path, status in (("/api/health/services/it/history?range=2d", 422),
                         ("/api/health/services/it/history?step=2m", 422),
                         ("/api/health/services/no/history", 404)):
        assert monitor.ask("GET", path).status == status
    assert store_state(monitor)["status"] == "disabled"


# ---- On disk


def test_a_restart_takes_everything_up(lab, serve):
    path, check = switch(lab, failure_threshold=2)
    other, slow = switch(lab, "other", interval="1h", timeout="1s")
    lab.write({"it": check, "rare": slow, "changed": slow})
    args = ("--state-dir", str(lab.directory / "state"))
    monitor = serve(*args)
    monitor.wait_status("it", "healthy")
    assert monitor.ask("POST", "/api/health/check/rare").status == 202
    assert monitor.ask("POST", "/api/health/check/changed").status == 202
    monitor.wait_status("rare", "healthy")
    monitor.wait_status("changed", "healthy")
    path.off()
    monitor.wait_status("it", "unhealthy")
    assert monitor.ask("POST", "/api/health/maintenance/rare", {"reason": "moving"}).status == 200
    assert store_state(monitor)["status"] == "healthy"
    buckets = monitor.get("/api/health/services/it/history")["buckets"]
    before = monitor.events()
    monitor.stop()

    lab.write({"it": {**check, "interval": "1h"}, "rare": slow,
               "changed": {**slow, "process_name": "other"}})
    again = serve(*args)
    events = again.events()
    assert events[-len(before):] == before  # ids and all
    assert len({event["id"] for event in events}) == len(events)
    seen = again.service("it")
    assert seen["status"] == "unhealthy" and seen["consecutive_failures"] >= 2
    assert seen["last_result"]["message"] == "pid file missing"
    rare = again.service("rare")
    assert (rare["status"], rare["maintenance"]) == ("healthy", True)
    assert rare["maintenance_reason"] == "moving"
    assert again.service("changed")["status"] == "unknown"  # another check: another state
    after = again.get("/api/health/services/it/history")["buckets"]
    assert after[0]["checks"] >= buckets[0]["checks"] and after[0]["p95_ms"] is None
    # The next result is compared with what was.
    path.on()
    assert again.ask("POST", "/api/health/check/it").status == 202
    again.wait_status("it", "healthy")
    event = again.events(service="it")[0]
    assert (event["previous_status"], event["new_status"]) == ("unhealthy", "healthy")
    assert int(event["id"].split("-")[1]) > int(before[0]["id"].split("-")[1])


def test_what_was_is_shown_as_stale(lab, serve):
    _, check = switch(lab)
    lab.write({"it": check})
    args = ("--state-dir", str(lab.directory / "state"))
    monitor = serve(*args)
    monitor.wait_status("it", "healthy")
    monitor.stop()
    # Five minutes go by, in the file.
    with sqlite3.connect(lab.directory / "state" / "health.db") as db:
        changed = db.execute("UPDATE states SET last_pass_ms = last_pass_ms - 300000,"
                             " last_result_ms = last_result_ms - 300000").rowcount
    db.close()
    assert changed == 1
    # The first check takes as long as the test looks.
    lab.write({"it": {**check, "interval": "10s", "timeout": "10s"}})
    again = serve(*args)
    first = again.service("it")
    if first["state_reason"] != "passing":  # its first check has not come yet
        assert (first["status"], first["state_reason"]) == ("unknown", "stale")
    again.wait_status("it", "healthy", 15)


def test_a_store_that_is_locked_delays_no_check(lab, serve):
    path, check = switch(lab, interval="100ms")
    lab.write({"it": check})
    monitor = serve("--state-dir", str(lab.directory / "state"))
    monitor.wait_status("it", "healthy")
    eventually(lambda: "waiting" in store_state(monitor)["message"]
               and " 0 waiting" in store_state(monitor)["message"], "the store is idle")
    db = sqlite3.connect(lab.directory / "state" / "health.db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    path.off()
    monitor.wait_status("it", "unhealthy")
    seen = eventually(lambda: (s := store_state(monitor))["status"] == "unhealthy" and s,
                      "it says so", 15)
    assert "locked" in seen["message"]
    comprehensive = monitor.ask("GET", "/api/health/comprehensive")
    assert (comprehensive.status, comprehensive.json()["status"]) == (503, "degraded")
    metrics = monitor.metrics()
    assert metrics["portoser_scheduler_lag_seconds"] < 0.5
    changes = len(monitor.events())
    db.execute("ROLLBACK")
    eventually(lambda: store_state(monitor)["status"] == "healthy", "it recovers", 15)
    eventually(lambda: db.execute("SELECT count(*) FROM events").fetchone()[0] >= changes,
               "nothing was lost")
    db.close()


def test_a_store_that_cannot_be_opened(lab, serve):
    _, check = switch(lab)
    lab.write({"it": check})
    state = lab.directory / "state"
    state.write_text("a file is no directory")
    monitor = serve("--state-dir", str(state))
    monitor.wait_status("it", "healthy")
    assert store_state(monitor)["status"] == "unhealthy"
    assert "unable to open" in store_state(monitor)["message"]
    state.unlink()
    state.mkdir()
    eventually(lambda: store_state(monitor)["status"] == "healthy", "it is there", 15)
    monitor.stop()
    with sqlite3.connect(state / "health.db") as db:
        assert db.execute("SELECT count(*) FROM events").fetchone()[0] >= 1
        assert db.execute("SELECT service, machine FROM states").fetchall() == [("it", "here")]
    db.close()


def test_a_disk_that_is_full_loses_nothing_that_is_in_memory(lab, serve):
    """The store is on a disk of its own, of a few pages; what changed meanwhile is kept, and written
    when there is room again."""
    path, check = switch(lab)
    lab.write({"it": {**check, "failure_threshold": 1}})
    state = lab.directory / "state"
    state.mkdir()
    mount = f'mount -t tmpfs -o size=1m none {state} && exec "$@"'
    monitor = serve("--state-dir", str(state), around=["unshare", "-m", "sh", "-c", mount, "sh"])
    monitor.wait_status("it", "healthy")
    eventually(lambda: store_state(monitor)["status"] == "healthy"
               and " 0 waiting" in store_state(monitor)["message"], "the store is idle")
    inside = pathlib.Path(f"/proc/{monitor.pid}/root{state}")  # as the monitor sees it
    filler = inside / "filler"
    with open(filler, "wb", buffering=0) as file:
        with pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)
    path.off()
    monitor.wait_status("it", "unhealthy")
    path.on()
    monitor.wait_status("it", "healthy")
    seen = eventually(lambda: (s := store_state(monitor))["status"] == "unhealthy" and s, "it says so", 30)
    assert "full" in seen["message"]
    assert monitor.metrics()["portoser_store_ok"] == 0
    told = [(e["previous_status"], e["new_status"]) for e in reversed(monitor.events())]
    assert told == [(None, "healthy"), ("healthy", "unhealthy"), ("unhealthy", "healthy")]
    filler.unlink()
    eventually(lambda: store_state(monitor)["status"] == "healthy", "it recovers", 30)
    eventually(lambda: " 0 waiting" in store_state(monitor)["message"], "all is written", 30)
    copy = lab.directory / "copy.db"
    for suffix in ("", "-wal", "-shm"):
        if (inside / f"health.db{suffix}").exists():
            shutil.copy(inside / f"health.db{suffix}", f"{copy}{suffix}")
    with sqlite3.connect(copy) as db:
        assert db.execute("SELECT count(*) FROM events").fetchone()[0] == len(monitor.events())
    db.close()


def test_a_file_that_is_something_else(lab, serve):
    _, check = switch(lab)
    lab.write({"it": check})
    (lab.directory / "state").mkdir()
    spoilt = b"this is no database, and stays as it is " * 100
    (lab.directory / "state" / "health.db").write_bytes(spoilt)
    monitor = serve("--state-dir", str(lab.directory / "state"))
    monitor.wait_status("it", "healthy")
    assert "not a database" in store_state(monitor)["message"]
    monitor.stop()
    assert (lab.directory / "state" / "health.db").read_bytes() == spoilt


# ---- Redis


def redis_state(monitor):
    return monitor.ask("GET", "/api/health/comprehensive").json()["checks"]["redis"]


def cli(port, *words):
    done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True,
                          check=True, timeout=10)
    return done.stdout.strip()


class Subscriber:
    """redis-cli that listens to a channel; ready once it is subscribed."""

    def __init__(self, port, channel):
        self.process = subprocess.Popen(["redis-cli", "-p", str(port), "SUBSCRIBE", channel],
                                        stdout=subprocess.PIPE, text=True)
        for _ in range(3):
            self.process.stdout.readline()

    def next(self):
        assert self.process.stdout.readline() == "message\n"
        assert self.process.stdout.readline() == "portoser:health\n"
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_what_is_known_is_written_through(lab, serve, tmp_path):
    server = targets.redis(tmp_path)
    path, check = switch(lab)
    lab.write({"it": check})
    subscriber = Subscriber(server.port, "portoser:health")
    try:
        monitor = serve(env={"REDIS_URL": f"redis://127.0.0.1:{server.port}/0"})
        first = subscriber.next()
        assert (first["type"], first["service"], first["machine"], first["previous_status"],
                first["new_status"]) == ("health_status_change", "it", "here", None, "healthy")
        assert redis_state(monitor)["status"] == "healthy"
        key = "portoser:health:it:here"
        assert 0 < int(cli(server.port, "TTL", key)) <= 300
        path.off()
        while subscriber.next()["new_status"] != "unhealthy":
            pass
        eventually(lambda: json.loads(cli(server.port, "GET", key))["status"] == "unhealthy",
                   "the key says so")
        value = json.loads(cli(server.port, "GET", key))
        assert value["message"] == "pid file missing" and value["consecutive_failures"] >= 3
        metrics = monitor.metrics()
        assert metrics["portoser_redis_up"] == 1
        assert metrics['portoser_redis_commands_total{result="sent"}'] >= 6
    finally:
        subscriber.stop()
        server.stop()


def test_redis_goes_and_comes_back(lab, serve, tmp_path):
    server = targets.redis(tmp_path)
    path, check = switch(lab)
    lab.write({"it": check})
    monitor = serve(env={"REDIS_URL": f"redis://127.0.0.1:{server.port}"})
    eventually(lambda: redis_state(monitor)["status"] == "healthy", "connected")
    server.stop()
    eventually(lambda: redis_state(monitor)["status"] == "unhealthy", "it says so")
    assert monitor.ask("GET", "/api/health/comprehensive").status == 503
    path.off()
    monitor.wait_status("it", "unhealthy")  # checks go on
    again = targets.Program(["redis-server", "--port", server.port, "--bind", "127.0.0.1",
                             "--save", "", "--dir", tmp_path], server.port)
    try:
        eventually(lambda: redis_state(monitor)["status"] == "healthy", "connected again", 40)
        key = "portoser:health:it:here"
        eventually(lambda: json.loads(cli(server.port, "GET", key) or "{}").get("status")
                   == "unhealthy", "what was missed is there")
        assert monitor.metrics()["portoser_redis_up"] == 1
    finally:
        again.stop()


@pytest.mark.parametrize("password, says", [("right", "healthy"), ("wrong", "WRONGPASS")])
def test_redis_with_a_password(lab, serve, tmp_path, password, says):
    port = targets.free_port()
    server = targets.Program(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
                              "--dir", tmp_path, "--requirepass", "right"], port)
    lab.write({})
    try:
        monitor = serve(env={"REDIS_URL": f"redis://default:{password}@127.0.0.1:{port}/2"})
        eventually(lambda: says in json.dumps(redis_state(monitor)), "the verdict")
    finally:
        server.stop()


@pytest.mark.parametrize("behave, says", [
    (targets.never_answers, "no answer in time"), (targets.closes, "closed"),
    (targets.talks_nonsense, "no Redis")])
def test_what_is_no_redis(lab, serve, behave, says):
    server = targets.BadServer(behave)
    _, check = switch(lab)
    lab.write({"it": check})
    try:
        monitor = serve(env={"REDIS_URL": f"redis://127.0.0.1:{server.port}"})
        eventually(lambda: says in redis_state(monitor)["message"], "the verdict", 15)
        monitor.wait_status("it", "healthy")
        assert monitor.metrics()["portoser_scheduler_lag_seconds"] < 0.5
    finally:
        server.stop()


def test_redis_over_tls(lab, serve, tmp_path, authority):
    """The certificate is judged: by whoever is trusted, and for the name that was asked."""
    certificate, key = authority.issue("redis")
    port = targets.free_port()
    server = targets.Program(["redis-server", "--port", "0", "--tls-port", port, "--bind",
                              "127.0.0.1", "127.0.0.2", "--tls-cert-file", certificate, "--tls-key-file", key,
                              "--tls-auth-clients", "no", "--save", "", "--dir", tmp_path], port)
    lab.write({})
    trusted = {"SSL_CERT_FILE": str(authority.path)}
    try:
        for host, env, status in [("localhost", trusted, "healthy"), ("localhost", {}, "unhealthy"),
                                  ("127.0.0.2", trusted, "unhealthy")]:
            monitor = serve(env={**env, "REDIS_URL": f"rediss://{host}:{port}"})
            seen = eventually(lambda m=monitor: (s := redis_state(m)) and
                              s["message"] != "not connected yet" and s, "a verdict")
            assert seen["status"] == status, seen
            assert status == "healthy" or seen["message"].startswith("tls: ")
    finally:
        server.stop()


def test_bad_redis_urls(lab):
    lab.write({})
    done = lab.run("serve", "--listen", "127.0.0.1:0", env={"REDIS_URL": "http://x"})
    assert done.returncode == 64 and "REDIS_URL is not usable" in done.stderr


# ---- Uptime


def test_uptime(lab, serve):
    path, check = switch(lab)
    lab.write({"it": check}, None, quiet={"current_host": "here"})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    path.off()
    monitor.wait_status("it", "unhealthy")
    down = monitor.get("/api/uptime/it/here")
    assert (down["current_status"], down["failure_count"], down["recovery_count"]) == ("down", 1, 0)
    assert down["current_downtime_seconds"] >= 0 and down["current_uptime_seconds"] is None
    path.on()
    monitor.wait_status("it", "healthy")
    seen = eventually(lambda: (u := monitor.get("/api/uptime/it/here?timeRange=7d"))
                      ["uptime_seconds"] > u["downtime_seconds"] and u, "more up than down", 20)
    assert 50 < seen["availability_percent"] < 100
    assert seen["total_seconds"] == pytest.approx(
        seen["uptime_seconds"] + seen["downtime_seconds"], abs=0.01)
    assert (seen["current_status"], seen["failure_count"], seen["recovery_count"]) == ("up", 1, 1)
    assert seen["mttr"] == pytest.approx(seen["downtime_seconds"], abs=0.01)
    events = monitor.get("/api/uptime/it/here/events?limit=1")
    assert (events["total"], events["hasMore"]) == (2, True)
    assert [event["event_type"] for event in events["events"]] == ["recovery"]
    events = monitor.get("/api/uptime/it/here/events?eventType=failure")
    assert [event["event_type"] for event in events["events"]] == ["failure"]
    # What nobody knows is no availability of 100 %.
    rows = {row["service"]: row for row in monitor.get("/api/uptime/all")}
    assert rows["quiet"]["availability_percent"] is None
    assert rows["quiet"]["current_status"] == "unknown"
    assert monitor.ask("GET", "/api/uptime/it/nowhere").status == 404
    assert monitor.ask("GET", "/api/uptime/it/here?days=0").status == 422
