# SPDX-License-Identifier: Apache-2.0
"""Monitors that share the checks of one registry through a real Redis: one is killed, one is
stopped and goes on, the Redis goes, comes back empty, refuses to write, and is slow. What reaches
the target is counted by the target.

How much is checked is compared with what one monitor would check."""
import json
import signal
import subprocess
import time

import pytest

from lib import health, health_ws, targets
from lib.counted import Counted
from lib.wait import eventually

INTERVAL = 3
SERVICES = 24
SLACK = 3  # seconds that a busy machine may be late


class Team:
    """Monitors with a directory each, one Redis, one target."""

    def __init__(self, directory):
        self.directory = directory
        self.target = Counted()
        self.redis_port = targets.free_port()
        self.redis = None
        self.monitors = []
        self.stopped = []

    def start_redis(self):
        self.redis = targets.Program(
            ["redis-server", "--port", self.redis_port, "--bind", "127.0.0.1", "--save", "",
             "--enable-debug-command", "local", "--dir", self.directory], self.redis_port)

    def cli(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.redis_port), *words],
                              capture_output=True, text=True, timeout=20)
        return done.stdout.strip()

    def registry(self, name, checks=None):
        place = self.directory / name
        place.mkdir(exist_ok=True)
        path = place / "registry.yml"
        checks = self.target.checks(SERVICES, INTERVAL) if checks is None else checks
        path.write_text(json.dumps({
            "hosts": {"here": {"ip": "127.0.0.1"}},
            "services": {n: {"current_host": "here", "health_check": c}
                         for n, c in checks.items()}}))
        return path

    def start(self, name, checks=None, *args):
        env = {"HOME": str(self.directory), "XDG_RUNTIME_DIR": str(self.directory),
               "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}"}
        monitor = health.Monitor(self.registry(name, checks), *args, env=env)
        self.monitors.append(monitor)
        return monitor

    def kill(self, monitor):
        monitor.signal(signal.SIGKILL)
        monitor.process.wait(10)
        monitor.reader.join(5)
        self.monitors.remove(monitor)

    def retire(self, monitor):
        self.monitors.remove(monitor)
        monitor.stop()

    def close(self):
        for monitor in self.monitors:
            monitor.signal(signal.SIGCONT)
            monitor.stop()
        if self.redis is not None:
            self.redis.stop()
        self.target.close()


@pytest.fixture
def team(tmp_path):
    made = Team(tmp_path)
    made.start_redis()
    yield made
    made.close()


def cluster(monitor):
    return monitor.get("/api/health/dashboard")["cluster"]


def rows(monitor):
    return {row["service"]: row for row in monitor.get("/api/health/dashboard")["services"]}


def held(*monitors):
    return [cluster(monitor)["shares_held"] for monitor in monitors]


def shared_evenly(*monitors):
    """Every share is held by exactly one, and nobody has much more than the others."""
    seen = [cluster(monitor) for monitor in monitors]
    counts = [one["shares_held"] for one in seen]
    return (all(one["mode"] == "shared" and len(one["monitors"]) == len(monitors) for one in seen)
            and sum(counts) == seen[0]["shares"] and min(counts) > 0
            and max(counts) - min(counts) <= seen[0]["shares"] / 2 and counts)


def wait_even(*monitors):
    return eventually(lambda: shared_evenly(*monitors), "the work is divided", 30)


def wait_all_seen(team, since=0.0):
    eventually(lambda: len([n for n in team.target.names() if team.target.at(n, since)])
               >= SERVICES, "everything was checked", 30)


def assert_no_more_than_one_monitor(team, since, seconds):
    """Two monitors that check the same would send twice as much as one."""
    assert seconds >= 2 * INTERVAL
    count = sum(len([t for t in team.target.at(name, since) if t < since + seconds])
                for name in team.target.names())
    alone = SERVICES * seconds / INTERVAL
    assert count <= 1.5 * alone + SERVICES / 2, (count, alone)


def assert_one_story(monitor):
    """Every change was told once and follows from the one before; nothing ever failed."""
    last = {}
    for event in reversed(monitor.events()):
        assert event["event_type"] == "status_change"
        assert event["previous_status"] == last.get(event["service"]), event
        assert event["new_status"] in ("healthy", "unknown"), event
        last[event["service"]] = event["new_status"]
    assert len(last) == SERVICES


def assert_no_gap(team, since, until=None):
    for name, gap in team.target.gaps(since, until).items():
        assert gap <= 2 * INTERVAL + SLACK, (name, gap)


def wait_healthy(monitor):
    eventually(lambda: all(r["status"] == "healthy" for r in rows(monitor).values()),
               "all are healthy", 20)


def watch(team, seconds):
    """Lets time pass: what does not happen in it is what is tested."""
    since = time.monotonic()
    eventually(lambda: time.monotonic() >= since + seconds, "time passes", seconds + 10)
    return since


def test_two_share_and_one_is_killed(team):
    one = team.start("one")
    two = team.start("two")
    wait_even(one, two)
    wait_all_seen(team)
    since = watch(team, 2 * INTERVAL)
    assert_no_more_than_one_monitor(team, since, time.monotonic() - since)

    # Both say the same of everything, and who checks it.
    eventually(lambda: [r["checked_by"] for r in rows(one).values()]
               == [r["checked_by"] for r in rows(two).values()], "they agree")
    names = {r["checked_by"] for r in rows(one).values()}
    assert names == set(cluster(one)["monitors"]) == set(cluster(two)["monitors"])
    eventually(lambda: all(r["status"] == "healthy" for m in (one, two) for r in rows(m).values()),
               "all healthy on both")
    assert one.metrics()["portoser_cluster_monitors"] == 2

    killed = time.monotonic()
    mine = [n for n, r in rows(one).items() if r["checked_by"] == cluster(one)["monitor"]]
    assert mine and two.metrics()["portoser_cluster_takeovers_total"] == 0
    team.kill(one)
    eventually(lambda: cluster(two)["shares_held"] == cluster(two)["shares"], "taken over", 20)
    eventually(lambda: all(team.target.at(n, killed + 0.2) for n in mine), "checked by the other",
               20)
    assert_no_gap(team, killed - INTERVAL)
    metrics = two.metrics()
    assert metrics["portoser_cluster_takeovers_total"] > 0
    assert metrics["portoser_cluster_monitors"] == 1
    wait_healthy(two)
    assert_one_story(two)


def test_states_events_and_metrics_follow_the_owner(team):
    one = team.start("one")
    two = team.start("two")
    wait_even(one, two)
    pair = {name: row["checked_by"] for name, row in rows(one).items()}
    here = cluster(one)["monitor"]
    for name in (next(n for n, who in pair.items() if who == here),
                 next(n for n, who in pair.items() if who != here)):
        for monitor in (one, two):
            monitor.wait_status(name, "healthy")
        team.target.sick.add(name)
        # Asked of both: the one that does not check it passes that on.
        for _ in range(3):
            before = len(team.target.at(name))
            assert two.ask("POST", f"/api/health/check/{name}").json()["started"] in (True, False)
            eventually(lambda: len(team.target.at(name)) > before, "it was checked")
        for monitor in (one, two):
            seen = monitor.wait_status(name, "unhealthy", 20)
            assert seen["consecutive_failures"] >= 3
            assert seen["issues"][0] == "HTTP 503, expected 200"
            key = f'portoser_service_status{{service="{name}",machine="here"}}'
            assert monitor.metrics()[key] == 1
        team.target.sick.remove(name)
        for monitor in (one, two):
            monitor.wait_status(name, "healthy", 20)
            changes = [(e["previous_status"], e["new_status"])
                       for e in reversed(monitor.events(service=name))]
            assert changes == [(None, "healthy"), ("healthy", "degraded"),
                               ("degraded", "unhealthy"), ("unhealthy", "healthy")]


def test_one_is_stopped_and_goes_on(team):
    one = team.start("one")
    two = team.start("two")
    wait_even(one, two)
    wait_all_seen(team)
    since = time.monotonic()
    one.signal(signal.SIGSTOP)
    eventually(lambda: cluster(two)["shares_held"] == cluster(two)["shares"], "taken over", 20)
    wait_all_seen(team, time.monotonic())
    assert_no_gap(team, since - INTERVAL)
    woken = time.monotonic()
    one.signal(signal.SIGCONT)
    wait_even(one, two)
    watch(team, 2 * INTERVAL)
    assert_no_more_than_one_monitor(team, woken, time.monotonic() - woken)
    assert not [line for line in one.log.all("health_cluster_mode")
                if line["details"]["mode"] == "alone"]
    assert one.metrics()["portoser_cluster_lease_losses_total"] > 0


def comprehensive(monitor):
    return monitor.ask("GET", "/api/health/comprehensive").json()["checks"]["cluster"]


def test_redis_is_killed_and_comes_back_empty(team):
    one = team.start("one")
    two = team.start("two")
    wait_even(one, two)
    wait_all_seen(team)
    since = time.monotonic()
    team.redis.process.kill()
    team.redis.process.wait()
    for monitor in (one, two):
        eventually(lambda m=monitor: cluster(m)["mode"] == "alone", "it knows", 20)
        said = comprehensive(monitor)
        assert said["status"] == "unhealthy" and said["message"].startswith("alone: "), said
        assert monitor.metrics()["portoser_cluster_alone"] == 1
        assert monitor.log.wait("health_cluster_mode", mode="alone")
        eventually(lambda m=monitor: {r["checked_by"] for r in rows(m).values()}
                   == {cluster(m)["monitor"]}, "everything is checked here")
    wait_all_seen(team, time.monotonic())
    team.start_redis()
    wait_even(one, two)
    back = watch(team, 2 * INTERVAL)
    assert_no_more_than_one_monitor(team, back, time.monotonic() - back)
    assert_no_gap(team, since - INTERVAL)
    for monitor in (one, two):
        assert comprehensive(monitor)["status"] == "healthy"
        wait_healthy(monitor)
        assert_one_story(monitor)


def test_redis_that_only_reads(team):
    one = team.start("one")
    wait_even(one)
    team.cli("REPLICAOF", "127.0.0.1", "1")
    eventually(lambda: cluster(one)["mode"] == "alone", "alone", 20)
    assert "READONLY" in comprehensive(one)["message"]
    assert one.metrics()["portoser_cluster_lease_errors_total"] > 0
    since = time.monotonic()
    wait_all_seen(team, since)
    team.cli("REPLICAOF", "NO", "ONE")
    eventually(lambda: cluster(one)["mode"] == "shared", "not any more", 20)
    wait_even(one)


def test_redis_that_sleeps(team):
    one = team.start("one")
    two = team.start("two")
    wait_even(one, two)
    wait_all_seen(team)
    since = time.monotonic()
    team.cli("DEBUG", "SLEEP", "4")
    wait_even(one, two)
    back = watch(team, 2 * INTERVAL)
    assert_no_gap(team, since - INTERVAL)
    assert_no_more_than_one_monitor(team, back, time.monotonic() - back)
    for monitor in (one, two):
        wait_healthy(monitor)


def test_three_and_one_leaves(team):
    three = [team.start(name) for name in ("one", "two", "three")]
    wait_even(*three)
    wait_all_seen(team)
    leaver, *rest = three
    name = cluster(leaver)["monitor"]
    since = time.monotonic()
    team.retire(leaver)
    leases = team.cli("KEYS", "portoser:health::lease:*").split()
    assert leases and name not in [team.cli("GET", lease) for lease in leases]
    wait_even(*rest)
    wait_all_seen(team, time.monotonic())
    watch(team, 2 * INTERVAL)
    assert_no_gap(team, since - INTERVAL)
    assert_no_more_than_one_monitor(team, since, time.monotonic() - since)
    # What was given back was not taken from the dead. Each of the two may take from the other when
    # that one was held up for longer than its leases, which it notices when it goes on.
    def total(name):
        return sum(m.metrics()[f"portoser_cluster_{name}_total"] for m in rest)

    eventually(lambda: total("takeovers") <= total("lease_losses"), "no more taken than lost")
    eventually(lambda: int(team.cli("HLEN", "portoser:health::monitors")) == 2, "it has gone")


def test_registries_that_differ(team):
    """What is the same is shared; what is not is checked by each, and said."""
    checks = team.target.checks(SERVICES, INTERVAL)
    more = {**checks, "extra": {**checks["s0"], "url": checks["s0"]["url"].replace("s0", "extra")}}
    one = team.start("one", checks)
    two = team.start("two", more)
    eventually(lambda: len(cluster(one)["monitors"]) == 2 and cluster(one)["shares_differing"] == 1,
               "they know", 20)
    eventually(lambda: set(rows(two)) == set(more) and
               all(r["status"] == "healthy" for m in (one, two) for r in rows(m).values()),
               "everything is checked", 20)
    assert 0 < held(one)[0] < cluster(one)["shares"]
    assert "its registry differs" in comprehensive(one)["message"]
    assert rows(two)["extra"]["checked_by"] == cluster(two)["monitor"]
    # The same registry again: shared again.
    team.registry("one", more)
    wait_even(one, two)
    eventually(lambda: rows(one).get("extra", {}).get("status") == "healthy", "known on both", 20)


def test_a_foreign_hand_in_the_redis(team):
    """What others write there is judged; it can neither end a monitor nor pass for a result."""
    one = team.start("one")
    wait_even(one)
    wait_all_seen(team)
    good = json.loads(team.cli("HGET", team.cli("KEYS", "portoser:health::states:*").split()[0],
                               "2:s0@here").partition(" ")[2] or "null")
    for text in ("", "{", "[]", '{"kind":"result"}', '{"kind":7}', '{"kind":"check"}',
                 '{"kind":"result","service":"s0","machine":"here","failures":-1}',
                 json.dumps({"kind": "result", "service": "s0" * 9999, "machine": "here"}),
                 json.dumps({**(good or {}), "failures": 3, "passes": 3, "mark": "x 1"})):
        team.cli("XADD", "portoser:health::results", "*", "m", text)
    team.cli("XADD", "portoser:health::results", "*", "other", "x", "more", "y")
    team.cli("HSET", "portoser:health::monitors", "nobody", "soon", "nothing", "99999999999999 7")
    team.cli("DEL", "portoser:health::results")
    team.cli("SET", "portoser:health::results", "a string")
    wait_all_seen(team, time.monotonic())
    team.cli("DEL", "portoser:health::results")
    wait_healthy(one)
    assert cluster(one)["monitors"] == [cluster(one)["monitor"]]


def test_maintenance_is_everybodys(team):
    one = team.start("one")
    two = team.start("two")
    wait_even(one, two)
    body = {"for_seconds": 600, "reason": "new disk"}
    assert two.ask("POST", "/api/health/maintenance/s1", body).status == 200
    for monitor in (one, two):
        seen = eventually(lambda m=monitor: rows(m)["s1"]["maintenance"] and rows(m)["s1"], "heard")
        assert seen["maintenance_reason"] == "new disk"
    # One that comes later knows as well.
    three = team.start("three")
    eventually(lambda: rows(three)["s1"]["maintenance"], "heard later")
    assert one.ask("DELETE", "/api/health/maintenance/s1").status == 200
    for monitor in (one, two, three):
        eventually(lambda m=monitor: not rows(m)["s1"]["maintenance"], "over")
    for monitor in (one, two):
        types = [e["event_type"] for e in reversed(monitor.events(service="s1"))
                 if e["event_type"].startswith("maintenance")]
        assert types == ["maintenance_started", "maintenance_ended"]


def test_a_change_is_told_by_one_of_them(team):
    told = team.directory / "told"
    hook = ("--on-change", f"echo $WEIR_SERVICE $WEIR_STATUS >>{told}", "--on-change-quiet", "86400")
    monitors = [team.start(name, None, *hook) for name in ("one", "two")]
    wait_even(*monitors)
    for monitor in monitors:
        wait_healthy(monitor)
    names = [f"s{i}" for i in range(SERVICES)]
    team.target.sick.update(names)
    for monitor in monitors:
        eventually(lambda m=monitor: all(r["status"] != "healthy" for r in rows(m).values()),
                   "both know", 30)
    # Leases that move between the two meanwhile change nothing: what was told is not told again.
    calls = eventually(lambda: sum(m.metrics()["portoser_hook_calls_total"] for m in monitors)
                       >= SERVICES and [m.metrics()["portoser_hook_calls_total"] for m in monitors],
                       "everything is told")
    assert sum(calls) == SERVICES and min(calls) > 0, calls
    eventually(lambda: sorted(told.read_text().split()[::2]) == sorted(names), "it is heard")


def test_what_one_is_told_all_know(team):
    """Deployments, what they leave in the timeline, and signs of life of machines."""
    one, two = team.start("one"), team.start("two")
    wait_even(one, two)
    watchers = [health_ws.Watcher(monitor, "/ws") for monitor in (one, two)]
    try:
        for number, monitor in enumerate((one, two)):
            for kind in ("deployment_log", "deployment_completed"):
                monitor.ask("POST", "/api/events", {
                    "type": kind, "service": "s1", "message": f"release {number}", "deployment_id": "7"})
            for watcher in watchers:
                log = watcher.until("deployment_log")
                assert (log["message"], log["service"], log["deployment_id"]) == (f"release {number}", "s1", "7")
                assert watcher.until("deployment_completed")["message"] == f"release {number}"
    finally:
        for watcher in watchers:
            watcher.close()
    for monitor in (one, two):
        noted = eventually(lambda m=monitor: len(m.events(type="service_deployed")) == 2
                           and m.events(type="service_deployed"), "both are noted")
        assert sorted(e["message"] for e in noted) == [f"deployment_completed: release {n}" for n in (0, 1)]
    assert one.ask("POST", "/api/devices/here/heartbeat", {"metrics": {"load1": 77.5}}).status == 200
    for monitor in (one, two):
        eventually(lambda m=monitor: m.metrics()['device_heartbeats_total{hostname="here",status="accepted"}'] == 1,
                   "heard")
    # What comes in is judged as if it had been told here.
    for foreign in ('{"kind":"told","by":"x","what":"note","about":"","body":{"type":"nonsense"}}',
                    '{"kind":"told","by":"x","what":"note","about":"","body":[]}',
                    '{"kind":"told","by":"x","what":"heartbeat","about":"nobody","body":{}}',
                    '{"kind":"told","by":"x","what":"heartbeat","about":"here","body":{"metrics":7}}',
                    '{"kind":"told","by":"x","what":"else","about":"here","body":{}}', '{"kind":"told"}'):
        team.cli("XADD", "portoser:health::results", "*", "m", foreign)
    team.cli("XADD", "portoser:health::results", "*", "m",
             '{"kind":"told","by":"x","what":"note","about":"","body":{"type":"diagnostic_run","message":"last"}}')
    for monitor in (one, two):
        eventually(lambda m=monitor: m.events(type="diagnostic_run"), "the last is read")
        assert [e["message"] for e in monitor.events(type="diagnostic_run")] == ["last"]
        assert monitor.metrics()['device_heartbeats_total{hostname="here",status="accepted"}'] == 1
