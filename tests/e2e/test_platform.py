# SPDX-License-Identifier: Apache-2.0
"""`weir platform` over its embedded store: what relays, daemons and browsers ask of it."""
import base64
import json
import os
import resource
import signal
import socket
import sqlite3
import ssl
import stat
import threading

import pytest

from lib import weir, ws
from lib.selfhosted import ADMIN_TOKEN, INTERNAL_KEY, RELAY, Platform, Puller, frame
from lib.wait import eventually

PRESENCE = {
    "workspaceId": "ws", "runtimeTargetId": "rt", "relayId": "relay-a",
    "relayWsBaseUrl": "wss://a.example/ws", "daemonConnected": True,
}
NOBODY = {
    "ok": True, "relayId": None, "relayWsBaseUrl": None, "daemonConnected": False, "stale": False,
    "runtimeTargetId": "rt", "machineId": None,
}
WHO = {"workspaceId": "ws", "runtimeTargetId": "rt"}


@pytest.fixture(name="start")
def start_fixture(tmp_path):
    running = []

    def start(state="state", **kwargs):
        running.append(Platform(tmp_path / state, **kwargs))
        return running[-1]

    yield start
    for platform in running:
        if platform.process.returncode is None:
            platform.stop()


@pytest.fixture(scope="module", name="shared")
def shared_fixture(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("shared") / "state")
    yield platform
    platform.stop()


# ---- Presence


def test_presence_comes_and_goes(shared):
    who = {"workspaceId": "w1", "runtimeTargetId": "rt"}
    assert shared.ask("presence/resolve", who) == NOBODY
    shared.ask("presence/upsert", {**PRESENCE, **who, "machineId": "m1"})
    assert shared.ask("presence/resolve", who) == {
        "ok": True, "relayId": "relay-a", "relayWsBaseUrl": "wss://a.example/ws",
        "daemonConnected": True, "stale": False, "runtimeTargetId": "rt", "machineId": "m1"}
    assert shared.ask("presence/resolve", {"workspaceId": "w1"})["daemonConnected"] is False
    shared.ask("presence/upsert", {**PRESENCE, **who, "daemonConnected": False})
    assert shared.ask("presence/resolve", who) == NOBODY


def test_a_late_close_does_not_erase_a_newer_relays_word(shared):
    who = {"workspaceId": "w2", "runtimeTargetId": "rt"}
    shared.ask("presence/upsert", {**PRESENCE, **who})
    shared.ask("presence/upsert", {**PRESENCE, **who, "relayId": "relay-b"})
    shared.ask("presence/upsert", {**PRESENCE, **who, "daemonConnected": False})
    seen = shared.ask("presence/resolve", who)
    assert (seen["daemonConnected"], seen["relayId"]) == (True, "relay-b")


def test_presence_that_nobody_renews_is_stale_and_then_forgotten(start):
    platform = start(env={"WEIR_PLATFORM_PRESENCE__TTL_S": 5})
    platform.ask("presence/upsert", PRESENCE)
    with sqlite3.connect(platform.state_dir / "platform.db", timeout=10) as db:
        db.execute("UPDATE workspace_relay_presence SET updated_ms = updated_ms - 6000")
    db.close()
    seen = platform.ask("presence/resolve", WHO)
    assert (seen["stale"], seen["daemonConnected"], seen["relayId"]) == (True, False, "relay-a")
    platform.ask("presence/upsert", PRESENCE)
    assert platform.ask("presence/resolve", WHO)["stale"] is False
    with sqlite3.connect(platform.state_dir / "platform.db", timeout=10) as db:
        db.execute("UPDATE workspace_relay_presence SET updated_ms = updated_ms - 60000")
    db.close()
    eventually(lambda: platform.ask("presence/resolve", WHO) == NOBODY, "nobody", 20)


# ---- Bus


def test_a_frame_is_handed_out_as_it_was_published(shared):
    sent = frame('{"ä":"\\u0001 \\ud83d\\ude00"}', "r1", machineId="m", issuedAtMs=1795224820204,
                 signature="BgjZBl1wZ3Qxq4I")
    assert shared.ask("bus/publish", sent) == {"ok": True, "batch": True}
    got = shared.pull("r1")
    assert [{k: v for k, v in f.items() if k != "id"} for f in got] == [sent]
    assert got[0]["id"] > 0 and shared.pull("r1", got[0]["id"]) == []
    plain = frame("x", "r1")
    shared.ask("bus/publish", plain)
    assert [{k: v for k, v in f.items() if k != "id"} for f in shared.pull("r1", got[0]["id"])] == [
        plain]


@pytest.mark.parametrize("target", ["", None, ...])
def test_a_frame_for_no_one_relay_is_for_all_others(start, target):
    shared = start()
    sent = frame("to all", target, source="all-a")
    if target is ...:
        del sent["targetRelayId"]
    shared.ask("bus/publish", sent)
    for relay in ("all-b", "all-c"):
        got = shared.pull(relay)
        assert [(f["payload"], f["targetRelayId"]) for f in got] == [("to all", None)]
    assert shared.pull("all-a") == []


def test_a_pull_waits_for_a_frame_and_no_longer(shared):
    got = []
    puller = threading.Thread(target=lambda: got.extend(shared.pull("r2", wait_ms=25000)))
    puller.start()
    eventually(lambda: shared.metric("pulls_waiting") == 1, "a pull that waits")
    shared.ask("bus/publish", frame("elsewhere", "r3"))
    shared.ask("bus/publish", frame("here", "r2"))
    puller.join(15)  # far less than it would wait
    assert [f["payload"] for f in got] == ["here"]
    assert shared.pull("r4", wait_ms=300) == []


def test_batches(shared):
    frames = [frame(f"n{i}", "r5") for i in range(256)]
    frames[7] = frame("", "r5")
    frames[9] = "no frame"
    answer = shared.ask("bus/publish", {"frames": frames})
    assert answer == {"ok": True, "batch": True, "results": [i not in (7, 9) for i in range(256)]}
    got = shared.pull("r5", limit=1000)
    assert [f["payload"] for f in got] == [f"n{i}" for i in range(256) if i not in (7, 9)]
    ids = [f["id"] for f in got]
    assert ids == sorted(set(ids))
    assert [f["id"] for f in shared.pull("r5", ids[9], 5)] == ids[10:15]


def test_an_answer_is_no_longer_than_relays_take(shared):
    for number in range(12):
        shared.ask("bus/publish", frame(f"{number}" + '"' * 40000, "r6"))
    since, seen = 0, []
    while True:
        body = {"relayId": "r6", "sinceId": since, "limit": 200, "waitMs": 0}
        answer = shared.post("bus/pull", body)
        frames = answer.json()["frames"]
        if not frames:
            break
        assert len(answer.body) <= 262144
        seen += [f["payload"].rstrip('"') for f in frames]
        since = frames[-1]["id"]
    assert seen == [str(n) for n in range(12)]
    # One that is longer alone is handed out alone.
    shared.ask("bus/publish", frame("x" * 1000000, "r7"))
    shared.ask("bus/publish", frame("y", "r7"))
    assert [len(f["payload"]) for f in shared.pull("r7")] == [1000000]


def test_many_publishers_one_puller(start):
    platform = start()
    puller = Puller([platform])
    done = []

    def run(name):
        conn = platform.connect()
        for number in range(50):
            platform.ask("bus/publish", frame(f"{name}-{number}"), conn=conn)
        conn.close()
        done.append(name)

    threads = [threading.Thread(target=run, args=(f"p{i}",)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    eventually(lambda: len(puller.frames) >= 250, "all frames", 30)
    puller.stop()
    seen = puller.payloads()
    assert len(done) == 5 and len(seen) == 250
    for name in done:
        assert [p for p in seen if p.startswith(name)] == [f"{name}-{i}" for i in range(50)]


def test_more_pulls_than_may_wait_are_answered_at_once(start):
    platform = start(env={"WEIR_PLATFORM_BUS__WAITING_PULLS_MAX": 1})
    first = threading.Thread(target=platform.pull, kwargs={"relay": "a", "wait_ms": 25000})
    first.start()
    eventually(lambda: platform.metric("pulls_waiting") == 1, "a pull that waits")
    assert platform.pull("b", wait_ms=25000) == []
    assert platform.metric("pulls_not_waited_total") == 1
    platform.ask("bus/publish", frame("x", "a"))
    first.join(15)
    assert not first.is_alive()


# ---- Bad input


@pytest.mark.parametrize("path, change, word", [
    ("presence/upsert", {"workspaceId": None}, "workspaceId: required"),
    ("presence/upsert", {"workspaceId": "a b"}, "workspaceId"),
    ("presence/upsert", {"workspaceId": "a" * 129}, "workspaceId"),
    ("presence/upsert", {"runtimeTargetId": 7}, "runtimeTargetId: may be left out"),
    ("presence/upsert", {"relayId": ""}, "relayId: required"),
    ("presence/upsert", {"relayId": "a\x00b"}, "relayId"),
    ("presence/upsert", {"relayWsBaseUrl": "w" * 513}, "relayWsBaseUrl"),
    ("presence/upsert", {"daemonConnected": "yes"}, "daemonConnected: required"),
    ("presence/resolve", {"workspaceId": []}, "workspaceId"),
    ("bus/publish", {"direction": "sideways"}, "client_to_daemon, daemon_to_clients"),
    ("bus/publish", {"payload": ""}, "payload: required"),
    ("bus/publish", {"payload": "a\x00"}, "payload"),
    ("bus/publish", {"payload": "x" * 1048577}, "1048576"),
    ("bus/publish", {"issuedAtMs": 1.5}, "issuedAtMs"),
    ("bus/publish", {"issuedAtMs": -1}, "issuedAtMs"),
    ("bus/publish", {"signature": 1}, "signature"),
    ("bus/publish", {"frames": []}, "frames: allowed: a list of 1 to 256"),
    ("bus/publish", {"frames": [1] * 257}, "frames: allowed"),
    ("bus/publish", {"frames": None}, "frames: allowed"),
    ("bus/pull", {"relayId": ["x"]}, "relayId"),
    ("bus/pull", {"sinceId": -1}, "sinceId"),
    ("bus/pull", {"sinceId": 2 ** 60}, "sinceId"),
    ("bus/pull", {"limit": 0}, "limit"),
    ("bus/pull", {"waitMs": "1"}, "waitMs"),
])
def test_a_member_that_breaks_a_rule_is_named(shared, path, change, word):
    good = {
        "presence/upsert": PRESENCE, "presence/resolve": WHO, "bus/publish": frame("x"),
        "bus/pull": {"relayId": "r", "sinceId": 0, "limit": 1, "waitMs": 0},
    }[path]
    answer = shared.post(path, {**good, **change})
    said = answer.json()
    assert (answer.status, said["ok"], said["reason"]) == (400, False, "BAD_REQUEST")
    assert word in said["error"]


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'{"workspaceId":"ws","workspaceId":"ws"}', b'"\xff"', b"[" * 5000,
])
def test_what_is_no_json_object_is_refused(shared, body):
    answer = shared.post("presence/resolve", body)
    assert (answer.status, answer.json()["reason"]) == (400, "BAD_REQUEST")


def test_members_nobody_knows_are_left_alone(shared):
    assert shared.ask("presence/resolve", {**WHO, "workspaceId": "w9", "new": {"a": 1}})["ok"]


@pytest.mark.parametrize("path", [
    "validate", "presence/upsert", "presence/resolve", "bus/publish", "bus/pull",
])
def test_the_internal_key_is_needed(shared, path):
    for headers in ({}, {"x-relay-internal-key": INTERNAL_KEY + "x"},
                    {"authorization": f"Bearer {ADMIN_TOKEN}"}):
        answer = shared.request("POST", RELAY + path, {}, headers)
        assert (answer.status, answer.json()) == (401, {"ok": False, "reason": "UNAUTHORIZED"})


def test_a_stranger_may_not_send_long_bodies(shared):
    """The head decides: the body is not even read."""
    for headers, status in (({}, b"413"), ({"x-relay-internal-key": INTERNAL_KEY}, b"")):
        with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as conn:
            lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            conn.sendall(f"POST {RELAY}bus/publish HTTP/1.1\r\nHost: x\r\n{lines}"
                         "Content-Length: 1000000\r\n\r\n".encode())
            conn.settimeout(10 if status else 0.3)
            try:
                assert conn.recv(100).split()[1] == status
            except socket.timeout:
                assert status == b""
    answer = shared.post("bus/pull", b"x" * 70000)
    assert answer.status == 413
    answer = shared.post("bus/publish", b"x" * 3000000)
    assert answer.status == 413


def test_health_and_metrics(shared):
    health = shared.health()
    assert health.status == 200 and health.json()["store"] == "sqlite"
    answer = shared.request("GET", "/metrics")
    assert answer.status == 401
    assert shared.metric("store_up") == 1 and shared.metric("signing_keys") == 1
    shared.log.wait("platform_refused", path="/metrics")


# ---- Keys, tokens, a relay in front


def admit(platform, token, **more):
    return platform.post("validate", {
        "relayToken": token, "role": "client", "workspaceId": "ws", "runtimeTargetId": "rt",
        **more})


def keys_of(platform):
    return [k["kid"] for k in platform.request("GET", "/jwks.json").json()["keys"]]


def test_the_first_key_is_that_of_the_state_directory(start):
    """What `weir up` or `weir token` has signed before stays good."""
    platform = start()
    assert len(keys_of(platform)) == 1
    again = platform.run("platform", "keys", "list").splitlines()
    assert again[1].split()[:2] == [keys_of(platform)[0], "signs"]
    platform.stop()
    other = start()
    assert keys_of(other) == [again[1].split()[0]]


def test_rotation_without_an_outage(start):
    """A relay in front, clients that come all the time with tokens of the day."""
    platform = start(env={"WEIR_PLATFORM_KEYS__REFRESH_S": 1})
    relay = weir.Relay({
        "RELAY_VALIDATE_URL": f"{platform.origin}{RELAY}validate",
        "RELAY_JWKS_URL": f"{platform.origin}/jwks.json",
        "RELAY_INTERNAL_KEY": INTERNAL_KEY,
    }, platform_ports=[platform.port])

    def mint():
        answer = platform.admin("/api/workspaces/ws/relay-token", {"runtime_target_id": "rt"})
        assert answer.status == 200, answer.body
        return answer.json()["token"]

    def connects(token):
        peer = ws.WebSocket(relay.host, relay.port)
        try:
            peer.upgrade(ws.path_of("client", "ws", "rt"), token)
        except ws.Refused as refused:
            assert refused.status == 401
            return False
        finally:
            peer.close()
        return True

    def kid(token):
        head = token.split(".")[0]
        return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]

    try:
        before = mint()
        first = kid(before)
        assert connects(before)
        platform.run("platform", "keys", "rotate", "--in", "4")
        second = eventually(lambda: [k for k in keys_of(platform) if k != first], "two keys")[0]
        now = mint()
        while kid(now) == first:
            assert connects(now) and connects(before)
            now = mint()
        assert kid(now) == second
        assert connects(now) and connects(before)
        assert keys_of(platform) == [first, second]
        platform.log.wait("signing_keys_changed", signs=second)
        # One that has leaked goes at once, and only its tokens with it.
        platform.run("platform", "keys", "drop", "--", first)
        eventually(lambda: keys_of(platform) == [second], "one key")
        assert not connects(before) and connects(now)
    finally:
        relay.stop()


def test_keys_are_rotated_when_they_are_old(start):
    platform = start(env={"WEIR_PLATFORM_KEYS__ROTATE_AFTER_DAYS": 1,
                          "WEIR_PLATFORM_KEYS__REFRESH_S": 1})
    platform.log.wait("signing_keys_changed", keys=1)
    with sqlite3.connect(platform.state_dir / "platform.db", timeout=10) as db:
        db.execute("UPDATE relay_signing_keys SET created_ms = created_ms - 86400000")
    db.close()
    eventually(lambda: len(keys_of(platform)) == 2, "a second key", 20)
    platform.log.wait("signing_keys_changed", keys=2)


def test_sighup_reads_the_keys(start):
    platform = start(env={"WEIR_PLATFORM_KEYS__REFRESH_S": 300,
                          "WEIR_PLATFORM_KEYS__PUBLISH_AHEAD_S": 600})
    platform.run("platform", "keys", "rotate")
    assert len(keys_of(platform)) == 1
    platform.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(keys_of(platform)) == 2, "two keys")


# ---- Credentials, and what daemons say of themselves


def claims_of(token):
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def post(platform, path, body):
    return platform.request("POST", path, body)


def test_a_daemon_gets_its_token_by_its_credential(start):
    """The calls a daemon makes, the browser's, and the worker's (spec 4.5)."""
    platform = start()
    credential = platform.run("token", "credential", "--workspace", "ws").strip()
    key = {"credential": credential, "daemonPublicKey": "PK1", "runtimeTargetId": "rt"}
    ask = {"role": "workspace-daemon", "workspaceId": "ws", "runtimeTargetId": "rt",
           "credential": credential}
    answer = post(platform, "/api/runtime/relay-token", ask)
    assert answer.status == 200 and "daemonIssueGeneration" not in claims_of(
        answer.json()["relayToken"])

    for public_key, generation in (("PK1", 1), ("PK1", 1), ("PK2", 2)):
        answer = post(platform, "/api/runtime/workspaces/ws/daemon-key",
                      {**key, "daemonPublicKey": public_key})
        assert (answer.status, answer.json()) == (
            200, {"ok": True, "daemonIssueGeneration": generation})
    answer = post(platform, "/api/runtime/relay-token", ask)
    claims = claims_of(answer.json()["relayToken"])
    assert (claims["role"], claims["daemonIssueGeneration"]) == ("workspace-daemon", 2)

    answer = platform.admin("/api/workspaces/ws/relay-token", {"runtime_target_id": "rt"})
    assert claims_of(answer.json()["token"])["daemonPublicKey"] == "PK2"
    answer = platform.admin("/api/workspaces/ws/relay-token", {"runtime_target_id": "other"})
    assert "daemonPublicKey" not in claims_of(answer.json()["token"])

    for prefix in ("/api/runtime", "/api"):
        answer = post(platform, f"{prefix}/workspaces/ws/managed-executors/me_1/relay-token",
                      {"credential": credential, "ttl_seconds": 3600})
        said = answer.json()
        assert answer.status == 200 and said["claims"] == claims_of(said["relayToken"])
        assert (said["claims"]["role"], said["claims"]["managedExecutorId"]) == ("worker", "me_1")
        assert said["claims"]["exp"] - said["claims"]["iat"] == 3600


def test_what_a_credential_does_not_open(start):
    platform = start()
    make = lambda *more: platform.run("token", "credential", "--workspace", "ws", *more).strip()
    credential, narrow, short = make(), make("--target", "rt"), make("--ttl", "1s")
    good = {"role": "workspace-daemon", "workspaceId": "ws", "runtimeTargetId": "rt"}

    def status(body, path="/api/runtime/relay-token"):
        return post(platform, path, body).status

    assert status({**good, "credential": narrow}) == 200
    assert status({**good, "credential": ADMIN_TOKEN}) == 200
    eventually(lambda: status({**good, "credential": short}) == 401, "a credential that has ended")
    head, mac = credential.rsplit("~", 1)
    for wrong in (
        {**good}, {**good, "credential": 7}, {**good, "credential": ""},
        {**good, "credential": "wcr_"}, {**good, "credential": "wcr_~~~"},
        {**good, "credential": f"{head}~{mac[::-1]}"}, {**good, "credential": head},
        {**good, "credential": credential.replace("wcr_ws", "wcr_wx"), "workspaceId": "wx"},
        {**good, "credential": credential, "workspaceId": "other"},
        {**good, "credential": narrow, "runtimeTargetId": "other"},
        {"role": "client", "workspaceId": "ws", "credential": credential},
        {"credential": credential}, [credential], "no object",
    ):
        assert status(wrong) == 401, wrong
    assert status({"credential": credential}, "/api/workspaces/ws/relay-token") == 401
    assert status({"credential": credential, "daemonPublicKey": "x", "runtimeTargetId": "rt"},
                  "/api/runtime/workspaces/other/daemon-key") == 401
    assert status({"credential": credential, "daemonPublicKey": "", "runtimeTargetId": "rt"},
                  "/api/runtime/workspaces/ws/daemon-key") == 400


# ---- TLS


def test_relays_show_a_certificate(start, authority, tmp_path):
    cert, key = authority.issue("localhost", stem="platform")
    client = authority.issue("relay", stem="platform-client")
    trust = weir.trusting(authority.path)
    bare = weir.trusting(authority.path)
    trust.load_cert_chain(*client)
    platform = start(tls=trust, env={
        "WEIR_PLATFORM_TLS__CERT_FILE": cert, "WEIR_PLATFORM_TLS__KEY_FILE": key,
        "WEIR_PLATFORM_TLS__CLIENT_CA_FILE": authority.path,
    })
    assert platform.ask("presence/resolve", WHO) == NOBODY
    answer = platform.post("presence/resolve", WHO, tls=bare)
    assert (answer.status, answer.json()["reason"]) == (401, "CLIENT_CERTIFICATE_REQUIRED")
    # Daemons and browsers have none.
    assert platform.request("GET", "/jwks.json", tls=bare).status == 200
    answer = platform.admin("/api/workspaces/ws/relay-token", {}, tls=bare)
    assert answer.status == 200
    # A relay that has one, and checks ours.
    relay = weir.Relay({
        "RELAY_VALIDATE_URL": f"{platform.origin}{RELAY}validate",
        "RELAY_INTERNAL_KEY": INTERNAL_KEY,
        "RELAY_SERVER_TLS_VERIFY": "1",
        "RELAY_SERVER_CA_CERT_PATH": authority.path,
        "RELAY_SERVER_CLIENT_CERT_PATH": client[0],
        "RELAY_SERVER_CLIENT_KEY_PATH": client[1],
    }, platform_ports=[platform.port])
    try:
        peer = ws.WebSocket(relay.host, relay.port)
        peer.upgrade(ws.path_of("client", "ws"), answer.json()["token"])
        peer.close()
    finally:
        relay.stop()


def test_a_changed_certificate_is_served(start, authority, tmp_path):
    cert, key = authority.issue("localhost", stem="first")
    paths = tmp_path / "served.crt", tmp_path / "served.key"
    for path, source in zip(paths, (cert, key)):
        path.write_bytes(source.read_bytes())
    platform = start(tls=weir.trusting(authority.path), env={
        "WEIR_PLATFORM_TLS__CERT_FILE": paths[0], "WEIR_PLATFORM_TLS__KEY_FILE": paths[1]})

    def serial():
        with socket.create_connection(("localhost", platform.port), timeout=10) as conn:
            with platform.tls.wrap_socket(conn, server_hostname="localhost") as tls:
                return tls.getpeercert()["serialNumber"]

    before = serial()
    cert, key = authority.issue("localhost", stem="second")
    for path, source in zip(paths, (cert, key)):
        path.write_bytes(source.read_bytes())
    platform.process.send_signal(signal.SIGHUP)
    eventually(lambda: serial() != before, "the other certificate")
    paths[0].write_text("no certificate")
    platform.process.send_signal(signal.SIGHUP)
    platform.log.wait("tls_reload_failed")
    assert serial() != before


# ---- The file


def test_the_file_is_the_owners(start):
    platform = start()
    platform.ask("bus/publish", frame("x"))
    names = [n for n in os.listdir(platform.state_dir) if n.startswith("platform.db")]
    assert "platform.db" in names
    for name in names:
        assert stat.S_IMODE((platform.state_dir / name).stat().st_mode) == 0o600


def test_a_locked_file_is_waited_for_and_said(start):
    platform = start()
    db = sqlite3.connect(platform.state_dir / "platform.db", timeout=10, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    answer = platform.post("bus/publish", frame("x"))
    assert (answer.status, answer.json()["reason"]) == (503, "STORE_UNAVAILABLE")
    assert platform.health().status == 503
    # Who only reads is not kept out.
    body = {"relayId": "r", "sinceId": 0, "limit": 1, "waitMs": 0}
    eventually(lambda: platform.post("bus/pull", body).status == 200, "a pull")
    db.execute("ROLLBACK")
    db.close()
    eventually(lambda: platform.post("bus/publish", frame("y")).status == 200, "a frame stored")
    assert [f["payload"] for f in platform.pull()] == ["y"]


def test_a_full_disk_is_said_and_survived(start):
    """The kernel's limit of a file's size is what a full disk is to a program."""
    limited = start()
    size = 400000
    resource.prlimit(limited.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    statuses = [limited.post("bus/publish", frame("x" * 100000)).status for _ in range(12)]
    assert 200 in statuses and 503 in statuses
    assert admit(limited, limited.token()).status == 200
    resource.prlimit(limited.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    eventually(lambda: limited.post("bus/publish", frame("y")).status == 200, "a frame stored")
    eventually(lambda: limited.health().status == 200, "a platform that is well")


def test_a_spoilt_file_is_said_and_tokens_still_work(start):
    platform = start()
    token = platform.token()
    platform.stop()
    for name in os.listdir(platform.state_dir):
        if name.startswith("platform.db-"):
            os.unlink(platform.state_dir / name)
    (platform.state_dir / "platform.db").write_bytes(b"no database at all" * 1000)
    spoilt = start(wait_ok=False)
    assert spoilt.health().status == 503
    line = spoilt.log.wait("platform_store_lost")
    assert "not a database" in line["details"]["problem"]
    assert spoilt.post("bus/publish", frame("x")).status == 503
    assert admit(spoilt, token).status == 200
    # What the operator does about it.
    os.unlink(spoilt.state_dir / "platform.db")
    eventually(lambda: spoilt.post("bus/publish", frame("x")).status == 200, "a frame stored")
    eventually(lambda: spoilt.health().status == 200, "a platform that is well")
    assert admit(spoilt, token).status == 200


def test_ids_go_on_in_a_file_that_is_made_anew(start):
    platform = start()
    platform.ask("bus/publish", frame("old"))
    since = platform.pull()[0]["id"]
    platform.stop()
    for name in os.listdir(platform.state_dir):
        if name.startswith("platform.db"):
            os.unlink(platform.state_dir / name)
    again = start()
    again.ask("bus/publish", frame("new"))
    assert [f["payload"] for f in again.pull(since=since)] == ["new"]


# ---- The end, and the start


def test_drain_answers_who_waits(start):
    platform = start()
    got = []
    puller = threading.Thread(target=lambda: got.append(platform.pull(wait_ms=25000)))
    puller.start()
    eventually(lambda: platform.metric("pulls_waiting") == 1, "a pull that waits")
    platform.stop()
    puller.join(10)
    assert got == [[]]
    platform.log.wait("platform_stopped")


def test_killed_and_started_again(start):
    platform = start()
    platform.ask("bus/publish", frame("before"))
    platform.ask("presence/upsert", PRESENCE)
    platform.kill()
    again = start()
    assert [f["payload"] for f in again.pull()] == ["before"]
    assert again.ask("presence/resolve", WHO)["daemonConnected"] is True


def test_mistakes_of_a_file_are_all_named(tmp_path):
    path = tmp_path / "weir.yml"
    path.write_text(
        "platform:\n  listen: nowhere\n  bus:\n    frame_ttl_s: 1\n    frames: 5\n"
        "  tls:\n    cert_file: /nonexistent\n  database: mysql://x/y\n")
    done = weir.run("config", "check", "platform", "-c", str(path))
    assert done.returncode == 78
    for word in ("weir.yml:2:11", "weir.yml:4:18", "weir.yml:5:5", "weir.yml:7:16", "weir.yml:8:13"):
        assert word in done.stderr, (word, done.stderr)
    done = weir.run("platform", "-c", str(path))
    assert done.returncode == 78
    path.write_text("platform:\n  keys:\n    refresh_s: 300\n    publish_ahead_s: 60\n")
    done = weir.run("config", "check", "platform", "-c", str(path))
    assert done.returncode == 78 and "less than" in done.stderr


def test_effective_values_read_back(tmp_path):
    path = tmp_path / "weir.yml"
    path.write_text("relay: {}\nplatform:\n  database: postgresql://u:secret@h/d\n"
                    "  bus: {frames_max: 500}\n")
    done = weir.run("config", "print", "platform", "-c", str(path))
    assert done.returncode == 0 and "secret" not in done.stdout
    assert "frames_max: 500" in done.stdout
    again = tmp_path / "again.yml"
    again.write_text(done.stdout.replace('"(hidden)"', "null"))
    done = weir.run("config", "check", "platform", "-c", str(again))
    assert (done.returncode, done.stdout) == (0, "platform: fine\n"), done.stderr
