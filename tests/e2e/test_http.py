# SPDX-License-Identifier: Apache-2.0
"""/health, /state, /logs and /metrics, and HTTP itself (spec 3)."""
import re
import subprocess

import pytest

from lib import frames as f
from lib import weir, ws
from lib.weir import ADMIN_TOKEN

ADMIN_PATHS = ["/state", "/logs", "/metrics"]

DOCUMENTED = {
    "relay_connections_total": "gauge",
    "relay_handshakes_total": "counter",
    "relay_handshake_failures_total": "counter",
    "relay_frames_in_total": "counter",
    "relay_frames_out_total": "counter",
    "relay_frame_size_bytes": "histogram",
    "relay_jwt_validate_duration_seconds": "histogram",
    "relay_backplane_publish_seconds": "histogram",
}
REFERENCE = """
relay_admin_unauthorized_total relay_upgrade_rate_limited_total
relay_upgrade_rejected_total_connections_total relay_upgrade_rejected_ip_connections_total
relay_upgrade_rejected_workspace_clients_total relay_upgrade_invalid_query_total
relay_upgrade_missing_auth_total relay_upgrade_errors_total relay_admission_ok_total
relay_admission_denied_total relay_client_redirect_total
relay_ws_connections_opened_total relay_ws_connections_closed_total
relay_ws_connections_rejected_total relay_ws_frame_too_large_total
relay_ws_slow_client_terminated_total relay_ws_idle_terminated_total
relay_ws_stale_terminated_total relay_workspace_evictions_total
relay_frames_client_to_daemon_total relay_bytes_client_to_daemon_total
relay_frames_daemon_to_clients_total relay_bytes_daemon_to_clients_total
relay_frames_client_rejected_total relay_frames_client_rejected_scope_total
relay_frames_client_rejected_profile_mismatch_total relay_frames_client_kex_rate_limited_total
relay_frames_client_runtime_rate_limited_total relay_frames_client_pairing_rate_limited_total
relay_frames_daemon_rejected_total relay_frames_daemon_rejected_profile_mismatch_total
relay_frames_daemon_rate_limited_total relay_client_messages_dropped_total
relay_client_messages_routed_bus_total
relay_session_frame_routed_local_total relay_session_frame_routed_bus_total
relay_session_frame_dropped_total relay_key_exchange_response_routed_local_total
relay_key_exchange_response_routed_bus_total relay_key_exchange_response_dropped_total
relay_pairing_response_routed_local_total relay_pairing_response_routed_bus_total
relay_pairing_response_dropped_total
relay_session_event_subscribed_total relay_session_event_unsubscribed_total
relay_session_event_subscribe_rejected_total relay_session_event_frame_delivered_total
relay_session_event_frame_dropped_total relay_session_viewer_presence_fanned_total
relay_session_viewer_presence_no_peers_total relay_session_viewer_presence_rejected_total
relay_session_viewer_presence_rate_limited_total
relay_worker_transport_forwarded_total relay_worker_transport_forward_failed_total
relay_worker_transport_rejected_total
relay_presence_upsert_ok_total relay_presence_upsert_failed_total relay_presence_resolve_ok_total
relay_presence_resolve_failed_total relay_bus_publish_ok_total relay_bus_publish_failed_total
relay_bus_pull_ok_total relay_bus_pull_failed_total relay_bus_pull_frame_too_large_total
relay_bus_pull_invalid_signature_total relay_bus_pull_stale_signature_total
relay_bus_pull_replayed_signature_total relay_bus_frames_to_daemon_total
relay_bus_frames_to_clients_total relay_bus_frames_dropped_total relay_bus_frames_rejected_total
relay_bus_frames_daemon_rate_limited_total
""".split()
REASONS = """
rate_limited total_connections ip_connections workspace_clients bad_request invalid_query
missing_auth query_token_not_allowed jwt_expired jwt_signature admission_denied admission_timeout
admission_error invalid_claims workspace_claim_mismatch missing_workspace_claim
runtime_target_claim_mismatch missing_runtime_target_claim invalid_scope_claim role_claim_mismatch
stale_daemon_generation daemon_already_connected aborted
""".split()
BUCKETS = {
    "relay_frame_size_bytes": "128 256 512 1024 4096 16384 65536 262144 1048576 +Inf",
    "relay_jwt_validate_duration_seconds": ".005 .01 .025 .05 .1 .25 .5 1 2.5 5 +Inf",
    "relay_backplane_publish_seconds": ".0005 .001 .0025 .005 .01 .025 .05 .1 .2 .5 1 2.5 +Inf",
}


# ---- /health

def test_health(relay):
    answer = relay.request("GET", "/health")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    health = answer.json()
    assert list(health)[:6] == [
        "ok", "service", "uptimeMs", "tlsEnabled", "relayMode", "relayId",
    ]
    assert isinstance(health.pop("uptimeMs"), int)
    assert re.fullmatch(r"127\.0\.0\.1:\d+:[0-9a-f]{12}", health.pop("relayId"))
    assert health == {
        "ok": True,
        "service": "relay",
        "tlsEnabled": False,
        "relayMode": "single",
        "backplaneMode": "single",
        "securityMode": "dev",
    }


def test_health_without_details(start):
    health = start(RELAY_HEALTH_VERBOSE="0").relay.request("GET", "/health").json()
    assert list(health) == ["ok", "service", "uptimeMs"]


def test_query_is_ignored(relay):
    assert relay.request("GET", "/health?x=%zz&y").status == 200


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/"),
        ("GET", "/health/"),
        ("GET", "/Health"),
        ("GET", "/%68ealth"),
        ("GET", "/ws"),
        ("GET", "/ws?role=client&workspaceId=w"),
        ("GET", "/nothing"),
        ("POST", "/health"),
        ("PUT", "/health"),
        ("DELETE", "/state"),
        ("OPTIONS", "/metrics"),
    ],
)
def test_not_found(relay, method, path):
    answer = relay.request(method, path, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
    assert answer.status == 404
    assert answer.body == b'{"ok":false,"reason":"NOT_FOUND"}'
    assert answer.headers["content-type"] == "application/json"


def test_head_is_not_found_and_has_no_body(relay):
    answer = relay.request("HEAD", "/health")
    assert (answer.status, answer.body) == (404, b"")


# ---- Who may ask

@pytest.mark.parametrize("path", ADMIN_PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic " + ADMIN_TOKEN},
        {"Authorization": ADMIN_TOKEN},
        {"Authorization": "Bearer wrong", "X-Relay-Admin-Token": ADMIN_TOKEN},
        {"X-Relay-Admin-Token": ADMIN_TOKEN + "x"},
        {"X-Relay-Admin-Token": ADMIN_TOKEN[:-1]},
        {"X-Relay-Admin-Token": ""},
    ],
)
def test_unauthorized(relay, path, headers):
    before = relay.metric("relay_admin_unauthorized_total")
    answer = relay.request("GET", path, headers)
    assert answer.status == 401
    assert answer.body == b'{"ok":false,"reason":"ADMIN_UNAUTHORIZED"}'
    assert relay.metric("relay_admin_unauthorized_total") == before + 1


@pytest.mark.parametrize("path", ADMIN_PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer " + ADMIN_TOKEN},
        {"Authorization": "bEaReR  \t " + ADMIN_TOKEN + "  "},
        {"X-Relay-Admin-Token": ADMIN_TOKEN},
        {"Authorization": "Basic xyz", "X-Relay-Admin-Token": ADMIN_TOKEN},
    ],
)
def test_authorized(relay, path, headers):
    assert relay.request("GET", path, headers).status == 200


@pytest.mark.parametrize("path", ADMIN_PATHS)
def test_disabled_is_like_unknown(relay, start, path):
    off = weir.Relay({"RELAY_ENABLE_ADMIN_HTTP": "0", "SERVER_URL": "http://127.0.0.1:9"})
    weir.live.remove(off)  # its books cannot be read
    try:
        answer = off.request("GET", path, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        unknown = off.request("GET", "/nothing")
        assert (answer.status, answer.body) == (404, b'{"ok":false,"reason":"NOT_FOUND"}')
        assert answer.headers == unknown.headers
    finally:
        off.stop()


def test_no_token_configured(start):
    off = weir.Relay({"RELAY_ADMIN_TOKEN": None, "SERVER_URL": "http://127.0.0.1:9"})
    weir.live.remove(off)
    try:
        for headers in ({}, {"Authorization": "Bearer x"}, {"X-Relay-Admin-Token": ""}):
            assert off.request("GET", "/metrics", headers).status == 401
    finally:
        off.stop()


# ---- /state

def test_state(world):
    daemon = world.daemon(installId="i_1", machineId="m_1")
    client = world.client(clientId="c_1")
    world.client(clientId="c_2")
    client.send(f.text(f.e2ee()))
    daemon.recv_text()
    daemon.send(f.text(f.e2ee("s")))
    daemon.expect_silence_until(b"routed")
    state = world.relay.state()
    assert state["ok"] is True and state["service"] == "relay"
    assert state["totalConnections"] == 3
    assert isinstance(state["uptimeMs"], int)
    assert state["backplaneMode"] == "single"
    assert state["busEnabled"] is False and state["clientRedirectEnabled"] is False
    for key in ("relayMode", "serverUrl", "tlsEnabled", "tlsHost", "wsBaseUrl", "relayId"):
        assert key in state
    cell = world.relay.cell(world.workspace, "rt_1")
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(time, cell.pop("lastActivityAt"))
    assert re.fullmatch(time, cell["daemons"][0].pop("connectedAt"))
    assert sorted(cell.pop("clientIds")) == ["c_1", "c_2"]
    assert cell == {
        "workspaceId": world.workspace,
        "runtimeTargetId": "rt_1",
        "daemonConnected": True,
        "clientCount": 2,
        "clients": 2,
        "daemons": [
            {
                "installId": "i_1",
                "runtimeTargetId": "rt_1",
                "machineId": "m_1",
                "framesIn": 1,
                "framesOut": 1,
            }
        ],
    }


def test_state_of_a_cell_without_daemon_and_target(world):
    world.pairing_client(target=None)
    cell = world.relay.cell(world.workspace)
    assert cell["daemonConnected"] is False
    assert cell["daemons"] == []
    assert cell["clients"] == cell["clientCount"] == 1
    assert "runtimeTargetId" not in cell


def test_state_install_id_is_null_when_unknown(world):
    world.daemon()
    daemon = world.relay.cell(world.workspace, "rt_1")["daemons"][0]
    assert daemon["installId"] is None


def test_state_without_client_ids(start):
    world = start(RELAY_STATE_INCLUDE_CLIENT_IDS="0", RELAY_HEALTH_VERBOSE="0")
    world.client()
    state = world.relay.state()
    assert "clientIds" not in state["workspaces"][0]
    for key in ("serverUrl", "tlsEnabled", "tlsHost", "wsBaseUrl"):
        assert key not in state


def test_state_lists_cells_of_all_workers(world):
    names = {f"many_{n}" for n in range(20)}
    for name in names:
        world.client(workspace=name)
    assert names <= {cell["workspaceId"] for cell in world.relay.state()["workspaces"]}


# ---- /logs

def test_logs(world):
    world.client(clientId="c_logged")
    page = world.relay.admin("/logs").json()
    assert list(page) == ["ok", "logs"]
    assert all(set(line) == {"ts", "level", "event", "details"} for line in page["logs"])
    connected = [x for x in page["logs"] if x["event"] == "client_connected"]
    assert any(x["details"]["clientId"] == "c_logged" for x in connected)


def test_logs_are_the_lines_of_standard_output(start):
    world = start()
    world.client(clientId="c_1").finish()
    world.relay.log.wait("client_disconnected")
    assert world.relay.admin("/logs").json()["logs"] == world.relay.log.lines


def test_logs_summary(world):
    page = world.relay.admin("/logs?summary=1").json()
    assert page["ok"] is True
    assert set(page["summary"]) == {"info", "warn", "error"}
    assert page["total"] == sum(page["summary"].values()) == len(page["logs"])
    assert page["capacity"] == 1000
    assert page["oldest"] == page["logs"][0]["ts"]
    assert page["newest"] == page["logs"][-1]["ts"]
    assert all(set(line) == {"ts", "level", "event"} for line in page["logs"])


def test_logs_drop_the_oldest(start):
    world = start(RELAY_MAX_LOGS="3")
    for n in range(4):
        world.client(clientId=f"c_{n}")
    logs = world.relay.admin("/logs").json()["logs"]
    assert [x["details"]["clientId"] for x in logs] == ["c_1", "c_2", "c_3"]
    assert world.relay.admin("/logs?summary=1").json()["capacity"] == 3


# ---- /metrics

def families(text):
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))


def test_metrics_names(relay):
    answer = relay.admin("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    seen = families(answer.body.decode())
    for name, kind in DOCUMENTED.items():
        assert seen[name] == kind
    for name in REFERENCE:
        assert seen[name] == "counter"
    assert seen["relay_workspaces_total"] == "gauge"


def test_metrics_start_at_zero_for_every_reason(start):
    assert start().relay.failures() == {reason: 0 for reason in REASONS}


@pytest.mark.parametrize("name", BUCKETS)
def test_metrics_buckets(relay, name):
    text = relay.admin("/metrics").body.decode()
    bounds = re.findall(rf'^{name}_bucket{{le="([^"]+)"}}', text, re.M)
    assert [float(b) for b in bounds] == [float(b) for b in BUCKETS[name].split()]
    assert bounds[-1] == "+Inf"


def test_alert_bounds_are_written_as_the_recipes_ask(relay):
    text = relay.admin("/metrics").body.decode()
    assert 'relay_jwt_validate_duration_seconds_bucket{le="1"}' in text
    assert 'relay_backplane_publish_seconds_bucket{le="0.2"}' in text


def test_histogram_is_cumulative(world):
    daemon, client = world.pair()
    for n in (1, 200, 3000):
        client.send(f.text(f.e2ee(ciphertext="c" * n)))
        daemon.recv_text()
    metrics = world.relay.metrics()
    prefix = "relay_frame_size_bytes_bucket{"
    counts = [v for k, v in metrics.items() if k.startswith(prefix)]
    assert counts == sorted(counts)
    assert counts[-1] == metrics["relay_frame_size_bytes_count"] >= 3


def test_frames_by_workspace(world):
    daemon, client = world.pair()
    client.send(f.text(f.init_v3("k1")))
    daemon.recv_text()
    daemon.send(f.text(f.response_v3("k1")))
    client.recv_text()
    metrics = world.relay.metrics()
    label = f'{{workspace_id="{world.workspace}"}}'
    assert metrics["relay_frames_in_total" + label] == 1
    assert metrics["relay_frames_out_total" + label] == 1


def test_label_goes_with_its_workspace(start):
    world = start(RELAY_EMPTY_WORKSPACE_TTL_MS="50", RELAY_CLEANUP_INTERVAL_MS="20")
    daemon = world.daemon()
    daemon.send(f.text(f.e2ee()))
    daemon.expect_silence_until(b"routed")
    label = f'relay_frames_in_total{{workspace_id="{world.workspace}"}}'
    assert world.relay.metrics()[label] == 1
    daemon.finish()
    world.relay.log.wait("workspace_evicted")
    assert label not in world.relay.metrics()


def test_promtool_accepts_the_page(world):
    daemon, client = world.pair()
    client.send(f.text(f.init_v3("k1")))
    daemon.recv_text()
    page = world.relay.admin("/metrics").body
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )
    # The documented names of two gauges end in _total; promtool would rather they did not.
    complaints = [
        line
        for line in result.stderr.decode().splitlines() + result.stdout.decode().splitlines()
        if not line.startswith(("relay_connections_total ", "relay_workspaces_total "))
    ]
    assert not complaints


def test_openmetrics(relay):
    answer = relay.admin("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    text = answer.body.decode()
    assert text.endswith("# EOF\n")
    seen = families(text)
    assert seen["relay_handshakes"] == "counter"
    assert "relay_handshakes_total" not in seen
    assert re.search(r"^relay_handshakes_total \d+$", text, re.M)


# ---- HTTP

def exchange(relay, data):
    peer = ws.Peer(relay.host, relay.port)
    peer.send_raw(data)
    return peer


def test_keep_alive_and_pipelining(relay):
    get = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    peer = exchange(relay, get * 3)
    for _ in range(3):
        start_line, headers = peer.read_head()
        assert start_line == "HTTP/1.1 200 OK"
        peer.read(int(headers["content-length"]))
    peer.send_split(get)
    assert peer.read_head()[0] == "HTTP/1.1 200 OK"


def test_connection_close(relay):
    peer = exchange(relay, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    peer.read_head()
    assert peer.read_to_end().startswith(b'{"ok":true')


@pytest.mark.parametrize(
    "request_bytes, status",
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost x\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nA: " + b"x" * 20000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/9.9\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_malformed(relay, request_bytes, status):
    peer = exchange(relay, request_bytes)
    start_line, _ = peer.read_head()
    assert start_line.split(" ")[1] == str(status)
    peer.read_to_end()


def test_slow_head_is_cut(start):
    world = start(RELAY_HANDSHAKE_TIMEOUT_MS="100")
    peer = exchange(world.relay, b"GET /health HTTP/1.1\r\nHost: ")
    peer.read_to_end()
    assert world.relay.failures()["aborted"] == 1
    silent = exchange(world.relay, b"")
    silent.read_to_end()
