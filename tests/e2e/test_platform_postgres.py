# SPDX-License-Identifier: Apache-2.0
"""`weir platform` over a real PostgreSQL: several processes, faults, and no frame skipped."""
import http.client
import os
import pathlib
import shutil
import signal
import threading

import pytest

from lib import postgres
from lib.selfhosted import ADMIN_TOKEN, Platform, Puller, frame
from lib.wait import eventually


@pytest.fixture(scope="module", name="database")
def database_fixture():
    with postgres.running() as cluster:
        yield cluster


@pytest.fixture(name="start")
def start_fixture(tmp_path):
    running = []

    def start(url, **kwargs):
        state_dir = tmp_path / f"state{len(running)}"
        env = {"WEIR_PLATFORM_DATABASE": url, **kwargs.pop("env", {})}
        running.append(Platform(state_dir, env, **kwargs))
        return running[-1]

    yield start
    for platform in running:
        if platform.process.returncode is None:
            platform.stop()


def publish(platform, count, name, conn=None, target="relay-b", batch=1):
    """Publishes name-0 to name-<count-1>; returns the payloads that were acknowledged."""
    done = []
    conn = conn or platform.connect()
    for at in range(0, count, batch):
        payloads = [f"{name}-{i}" for i in range(at, min(at + batch, count))]
        body = {"frames": [frame(p, target) for p in payloads]}
        answer = platform.post("bus/publish", body if batch > 1 else frame(payloads[0], target),
                               conn=conn)
        if answer.status == 200:
            done += payloads
    conn.close()
    return done


def in_order(seen, name):
    """The numbers of one publisher's frames, in the order in which they were seen."""
    return [int(p.rsplit("-", 1)[1]) for p in seen if p.startswith(name + "-")]


def test_tables_are_made_and_hold_what_was_said(database, start):
    url = database.new()
    platform = start(url)
    platform.ask("presence/upsert", {
        "workspaceId": "ws", "runtimeTargetId": "rt", "machineId": "m", "relayId": "relay-a",
        "relayWsBaseUrl": "ws://a/ws", "daemonConnected": True,
    })
    platform.ask("bus/publish", frame("hello ä", issuedAtMs=5, signature="s"))
    assert database.ask(url, "SELECT workspace_id, runtime_target_id, machine_id, relay_id, "
                        "relay_ws_base_url, daemon_connected FROM workspace_relay_presence") == [
        ("ws", "rt", "m", "relay-a", "ws://a/ws", True)]
    assert database.ask(url, "SELECT payload, size, issued_at_ms, signature, machine_id "
                        "FROM relay_bus_frames") == [("hello ä", 8, 5, "s", None)]
    assert database.ask(url, "SELECT count(*) FROM relay_signing_keys") == [(1,)]
    assert platform.ask("presence/resolve", {"workspaceId": "ws", "runtimeTargetId": "rt"}) == {
        "ok": True, "relayId": "relay-a", "relayWsBaseUrl": "ws://a/ws", "daemonConnected": True,
        "stale": False, "runtimeTargetId": "rt", "machineId": "m"}


def test_processes_that_start_at_once_make_one_schema_and_one_key(database, start):
    url = database.new()
    platforms = []
    threads = [
        threading.Thread(target=lambda: platforms.append(start(url, wait_ok=False)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [
        eventually(lambda p=p: p.request("GET", "/jwks.json").json()["keys"], "keys", 20)
        for p in platforms
    ]
    assert len(keys[0]) == 1 and keys[0] == keys[1] == keys[2]


def test_a_pull_elsewhere_returns_at_once(database, start):
    """The pull waits at one process, the frame comes to the other."""
    url = database.new()
    here, there = start(url), start(url)
    since = 0
    for number in range(5):
        got = []
        puller = threading.Thread(
            target=lambda since=since: got.extend(here.pull(since=since, wait_ms=25000)))
        puller.start()
        eventually(lambda: here.metric("pulls_waiting") == 1, "a pull that waits")
        there.ask("bus/publish", frame(f"number {number}"))
        puller.join(15)  # far less than it would wait
        assert [f["payload"] for f in got] == [f"number {number}"]
        since = got[-1]["id"]


def test_every_frame_once_and_in_order(database, start):
    """Publishers at two processes, singly and in batches, and a puller that asks both in turn."""
    url = database.new()
    platforms = start(url), start(url)
    puller = Puller(platforms)
    done = {}

    def run(index):
        name = f"p{index}"
        done[name] = publish(platforms[index % 2], 60, name, batch=1 + index % 3)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    eventually(lambda: len(puller.frames) >= 360, "all frames", 30)
    puller.stop()
    seen = puller.payloads()
    assert len(seen) == 360
    for name, payloads in done.items():
        assert payloads == [f"{name}-{i}" for i in range(60)]
        assert in_order(seen, name) == list(range(60))


def test_an_id_that_commits_late_is_not_skipped(database, start):
    """Another process has taken ids and has not committed: nobody sees higher ones before."""
    url = database.new()
    platform = start(url)
    conn = database.connection(url.rsplit("/", 1)[1])
    conn.autocommit = False
    cursor = conn.cursor()
    row = '[{"w":"ws","r":"rt","s":"relay-a","t":"relay-b","d":"client_to_daemon","p":"early","n":5}]'
    cursor.execute("SELECT weir_bus_publish(%s::json, "
                   "(extract(epoch FROM clock_timestamp()) * 1000)::bigint)", (row,))
    late = threading.Thread(target=platform.ask, args=("bus/publish", frame("late")))
    late.start()
    eventually(lambda: database.ask(url, "SELECT 1 FROM pg_locks WHERE NOT granted"), "who waits")
    assert platform.pull() == []
    conn.commit()
    conn.close()
    late.join(10)
    eventually(lambda: len(platform.pull()) == 2, "both frames")
    assert [f["payload"] for f in platform.pull()] == ["early", "late"]


def test_restarted_under_load(database, start):
    """Every acknowledged frame comes once and in order; the platform heals by itself."""
    url = database.new()
    platforms = start(url), start(url)
    puller = Puller(platforms, wait_ms=500)
    stop = threading.Event()
    acknowledged = {"a": [], "b": []}

    def run(name, platform):
        number = 0
        while not stop.is_set():
            try:
                if platform.post("bus/publish", frame(f"{name}-{number}")).status == 200:
                    acknowledged[name].append(number)
            except (OSError, http.client.HTTPException):
                pass
            number += 1

    threads = [threading.Thread(target=run, args=(n, p)) for n, p in zip("ab", platforms)]
    for thread in threads:
        thread.start()
    eventually(lambda: min(len(a) for a in acknowledged.values()) > 20, "a beginning", 30)
    mark = [p.log.mark() for p in platforms]
    database.stop()
    for platform in platforms:
        eventually(lambda p=platform: p.health().status == 503, "a platform that says so")
    database.start()
    for platform in platforms:
        eventually(lambda p=platform: p.health().status == 200, "a platform that is well", 30)
    before = {n: len(a) for n, a in acknowledged.items()}
    eventually(lambda: all(len(a) > before[n] + 20 for n, a in acknowledged.items()), "more", 30)
    stop.set()
    for thread in threads:
        thread.join(20)
    last = platforms[0]
    last.ask("bus/publish", frame("end-0"))
    eventually(lambda: "end-0" in puller.payloads(), "the last frame", 30)
    puller.stop()
    seen = puller.payloads()
    assert len(seen) == len(set(seen))
    for name, numbers in acknowledged.items():
        order = in_order(seen, name)
        assert order == sorted(order)
        assert set(numbers) <= set(order)
    for platform, since in zip(platforms, mark):
        platform.log.wait("platform_store_back", since)
        assert platform.metric("store_reconnects_total") >= 1


def test_sessions_cut_by_an_administrator(database, start):
    url = database.new()
    platform = start(url)
    for number in range(3):
        database.cut(url.rsplit("/", 1)[1])
        eventually(
            lambda n=number: platform.post("bus/publish", frame(f"after {n}")).status == 200,
            "a frame that is stored",
        )
    seen = [f["payload"] for f in platform.pull()]
    assert [p for i, p in enumerate(seen) if p not in seen[:i]] == [
        "after 0", "after 1", "after 2"]


def test_without_a_database_it_says_so_and_waits(database, start):
    url = database.new()
    database.stop()
    platform = start(url, wait_ok=False)
    try:
        health = eventually(lambda: platform.health(), "an answer")
        assert health.status == 503
        assert health.json()["storeOk"] is False and health.json()["keysLoaded"] is False
        answer = platform.admin("/api/runtime/relay-token",
                                {"role": "client", "workspaceId": "ws"})
        assert (answer.status, answer.json()["reason"]) == (503, "KEYS_NOT_LOADED")
        answer = platform.post("validate", {
            "relayToken": "x.y.z", "role": "client", "workspaceId": "ws"})
        assert answer.status in (401, 503)
        assert platform.post("bus/publish", frame("x")).status == 503
        platform.log.wait("platform_store_lost")
    finally:
        database.start()
    eventually(lambda: platform.health().status == 200, "a platform that is well", 30)


def test_a_server_that_stands_still(database, start):
    """Nobody waits for it longer than the store's deadline, and afterwards all is well."""
    url = database.new()
    platform = start(url)
    platform.ask("bus/publish", frame("before"))
    pids = [pid for (pid,) in database.ask(
        url, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'")]
    assert len(pids) == 3
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for path, body in (("bus/publish", frame("lost")),
                           ("bus/pull", {"relayId": "r", "sinceId": 0, "limit": 1, "waitMs": 0})):
            answer = platform.post(path, body)
            assert (answer.status, answer.json()["reason"]) == (503, "STORE_UNAVAILABLE")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    eventually(lambda: platform.health().status == 200, "a platform that is well", 30)
    platform.ask("bus/publish", frame("after"))
    seen = [f["payload"] for f in platform.pull()]
    assert seen[0] == "before" and seen[-1] == "after"


def test_tls_to_the_database(database, start, authority):
    """The name in the certificate is checked, though the address is looked up by us."""
    cert, key = authority.issue("localhost", stem="postgres")
    data = pathlib.Path(database.args[database.args.index("-D") + 1])
    for name, path in (("server.crt", cert), ("server.key", key)):
        target = data / name
        target.write_bytes(path.read_bytes())
        shutil.chown(target, "postgres")
        target.chmod(0o600)
    url = database.new()
    database.ask("/postgres", "ALTER SYSTEM SET ssl = on")
    database.ask("/postgres", "SELECT pg_reload_conf()")
    try:
        eventually(lambda: database.ask("/postgres", "SHOW ssl") == [("on",)], "TLS")
        options = f"?sslmode=verify-full&sslrootcert={authority.path}"
        platform = start(url + options)
        platform.ask("bus/publish", frame("x" * 100000))
        assert [len(f["payload"]) for f in platform.pull()] == [100000]
        assert database.ask(
            url, "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
            "WHERE ssl AND application_name = 'weir platform'") == [(3,)]
        wrong = start(url + "?sslmode=verify-full&sslrootcert=/etc/hostname", wait_ok=False)
        problem = wrong.log.wait("platform_store_lost")["details"]["problem"]
        assert "/etc/hostname" in problem or "certificate" in problem, problem
    finally:
        database.ask("/postgres", "ALTER SYSTEM RESET ssl")
        database.ask("/postgres", "SELECT pg_reload_conf()")


def test_tables_of_a_newer_weir_are_left_alone(database, start):
    url = database.new()
    database.ask(url, "CREATE TABLE weir_platform_schema (version integer NOT NULL)")
    database.ask(url, "INSERT INTO weir_platform_schema VALUES (99)")
    platform = start(url, wait_ok=False)
    line = platform.log.wait("platform_store_lost")
    assert "newer weir" in line["details"]["problem"]
    assert database.ask(url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'relay%'") == [
        (0,)]


def test_tables_of_an_older_weir_are_brought_up(database, start):
    url = database.new()
    first = start(url)
    first.ask("bus/publish", frame("kept"))
    first.stop()
    database.ask(url, "DROP TABLE workspace_daemon_keys")
    database.ask(url, "DELETE FROM weir_platform_schema WHERE version > 1")
    second = start(url)
    for public_key, generation in (("a", 1), ("b", 2), ("b", 2)):
        answer = second.request("POST", "/api/runtime/workspaces/ws/daemon-key", {
            "credential": ADMIN_TOKEN, "daemonPublicKey": public_key, "runtimeTargetId": "rt"})
        assert answer.json() == {"ok": True, "daemonIssueGeneration": generation}
    assert [f["payload"] for f in second.pull()] == ["kept"]
    assert database.ask(url, "SELECT version FROM weir_platform_schema ORDER BY 1") == [
        (1,), (2,), (3,)]


def test_ids_go_on_in_a_table_that_is_made_anew(database, start):
    """A relay that has seen ids of the old table misses none of the new one's."""
    old = start(database.new())
    old.ask("bus/publish", frame("old"))
    since = old.pull()[0]["id"]
    new = start(database.new())
    new.ask("bus/publish", frame("new"))
    assert [f["payload"] for f in new.pull(since=since)] == ["new"]


def test_old_frames_and_too_many_go(database, start):
    url = database.new()
    platform = start(url, env={"WEIR_PLATFORM_BUS__FRAMES_MAX": 100})
    publish(platform, 250, "n", batch=50)
    eventually(lambda: database.ask(url, "SELECT count(*) FROM relay_bus_frames") == [(100,)],
               "a hundred frames", 20)
    frames = platform.pull(limit=1000)
    assert in_order([f["payload"] for f in frames], "n") == list(range(150, 250))
    database.ask(url, "UPDATE relay_bus_frames SET created_ms = created_ms - 70000")
    assert platform.pull() == []
    eventually(lambda: database.ask(url, "SELECT count(*) FROM relay_bus_frames") == [(0,)],
               "no frames", 20)


def test_commands_use_the_same_database(database, start):
    platform = start(database.new())
    token = platform.token()
    answer = platform.ask("validate", {
        "relayToken": token, "role": "client", "workspaceId": "ws", "runtimeTargetId": "rt"})
    assert answer["ok"] and answer["claims"]["workspaceId"] == "ws"
    # Keys come and go by commands; the process sees it.
    first = platform.request("GET", "/jwks.json").json()["keys"][0]["kid"]
    platform.run("platform", "keys", "rotate", "--in", "1")
    eventually(lambda: platform.run("platform", "keys").splitlines()[2].split()[1] == "signs",
               "the second key signs", 20)
    assert len(platform.run("platform", "keys", "drop", "--", first).splitlines()) == 2
    platform.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(platform.request("GET", "/jwks.json").json()["keys"]) == 1, "one key")
