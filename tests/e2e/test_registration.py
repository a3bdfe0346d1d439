# SPDX-License-Identifier: Apache-2.0
"""Registration after the 101, and the daemon that comes back (spec 5.1, 5.3)."""
import pytest

from lib import frames, ws
from lib.wait import eventually

RELAY_ENV = {"RELAY_TAKEOVER_TIMEOUT_MS": "300"}


def rejected(world, role, claims, target="", query_target=""):
    """Joins with exactly these claims."""
    peer = world.peer()
    peer.upgrade(world.path(role, target=query_target), world.platform.admitting(**claims))
    return peer


def claims_of(world, **more):
    full = {"workspaceId": world.workspace, "runtimeTargetId": "rt_1", "scope": "runtime", **more}
    return {k: v for k, v in full.items() if v is not None}


ROWS = [
    ("client", {"workspaceId": None}, "missing workspace claim", "connection_rejected",
     "missing_workspace_claim"),
    ("client", {"workspaceId": "   "}, "missing workspace claim", "connection_rejected",
     "missing_workspace_claim"),
    ("workspace-daemon", {"workspaceId": "other"}, "workspace claim mismatch",
     "connection_rejected", "workspace_claim_mismatch"),
    ("client", {"runtimeTargetId": "other"}, "runtime target claim mismatch",
     "connection_rejected", "runtime_target_claim_mismatch"),
    ("client", {"runtimeTargetId": None}, "runtime target claim mismatch",
     "connection_rejected", "runtime_target_claim_mismatch"),
    ("client", {"scope": None}, "invalid scope claim", "client_connection_rejected",
     "invalid_scope_claim"),
    ("client", {"role": "workspace-daemon"}, "role claim mismatch", "connection_rejected",
     "role_claim_mismatch"),
    ("workspace-daemon", {"role": "client"}, "role claim mismatch", "connection_rejected",
     "role_claim_mismatch"),
]


@pytest.mark.parametrize("role, claims, reason, event, log_reason", ROWS)
def test_claims_that_do_not_fit(world, role, claims, reason, event, log_reason):
    mark = world.relay.log.mark()
    before = world.relay.metrics()
    peer = rejected(world, role, claims_of(world, **claims))
    peer.expect_close(4008, reason)
    world.relay.log.wait(event, mark, reason=log_reason)
    after = world.relay.metrics()
    label = f'relay_handshake_failures_total{{reason="{log_reason}"}}'
    assert after[label] == before[label] + 1
    rejections = "relay_ws_connections_rejected_total"
    assert after[rejections] == before[rejections] + 1
    assert after["relay_handshakes_total"] == before["relay_handshakes_total"]


@pytest.mark.parametrize(
    "role, scope",
    [("workspace-daemon", None), ("client", "runtime"), ("client", "session-events")],
)
def test_target_is_required(world, role, scope):
    mark = world.relay.log.mark()
    peer = rejected(
        world, role, claims_of(world, runtimeTargetId=None, scope=scope), query_target=None
    )
    assert peer.recv_text() == frames.target_required_status(world.workspace)
    peer.expect_close(4008, "missing runtime target claim")
    world.relay.log.wait("connection_rejected", mark, reason="missing_runtime_target_claim")


def test_claims_are_trimmed(world):
    claims = claims_of(
        world, workspaceId=f"  {world.workspace}\u00a0", runtimeTargetId="\trt_1 \ufeff"
    )
    daemon = rejected(world, "workspace-daemon", claims)
    client = world.client()
    client.send(frames.text(frames.e2ee()))
    assert daemon.recv_text() == frames.text(frames.e2ee())


def test_target_from_the_claim_alone(world):
    daemon = rejected(world, "workspace-daemon", claims_of(world, scope=None), query_target=None)
    client = rejected(world, "client", claims_of(world), query_target=None)
    client.send(frames.text(frames.e2ee()))
    assert daemon.recv_text() == frames.text(frames.e2ee())


def test_pairing_client_without_target_has_another_cell(world):
    world.daemon()
    client = rejected(
        world, "client", claims_of(world, runtimeTargetId=None, scope="pairing"), query_target=None
    )
    for n in range(2):
        client.send(frames.text(frames.offer_request(f"p{n}")))
        assert client.recv_text() == frames.target_required_status(world.workspace)


def test_cells_do_not_mix(world):
    """Workspace a:b without target is not workspace a with target b."""
    first = world.daemon(workspace="mix:a", target="b")
    second = world.daemon(workspace="mix", target="a:b")
    world.client(workspace="mix", target="a:b").send(frames.text(frames.e2ee()))
    assert second.recv_text() == frames.text(frames.e2ee())
    first.expect_silence_until(b"first")


def test_connections_are_logged_and_counted(world):
    mark = world.relay.log.mark()
    before = world.relay.metrics()
    daemon = world.daemon(machineId="m_7", installId="i_7")
    client = world.client(clientId="c_seven")
    worker = world.worker()
    connected = world.relay.log.wait("daemon_connected", mark)["details"]
    assert connected == {
        "workspaceId": world.workspace,
        "runtimeTargetId": "rt_1",
        "ip": "127.0.0.1",
        "machineId": "m_7",
    }
    details = world.relay.log.wait("client_connected", mark)["details"]
    assert details["clientId"] == "c_seven" and details["ip"] == "127.0.0.1"
    world.relay.log.wait("worker_connected", mark, workspaceId=world.workspace)
    after = world.relay.metrics()
    for name in ("relay_handshakes_total", "relay_ws_connections_opened_total"):
        assert after[name] == before[name] + 3
    assert after["relay_connections_total"] == 3
    for peer in (client, worker, daemon):
        peer.finish()
    world.relay.log.wait("client_disconnected", mark, clientId="c_seven")
    world.relay.log.wait("worker_disconnected", mark)
    world.relay.log.wait("daemon_disconnected", mark, clearedCurrentDaemon=True)


def test_client_id_defaults_to_client_unknown(world):
    mark = world.relay.log.mark()
    world.client(clientId=None)
    world.relay.log.wait("client_connected", mark, clientId="client_unknown")


# ---- The daemon of a cell

def test_second_daemon_is_refused_while_the_first_answers(world):
    mark = world.relay.log.mark()
    first = world.daemon()
    second = world.daemon()
    ping = first.recv_frame()
    assert ping.opcode == ws.PING
    first.send_frame(ws.PONG, ping.payload)
    second.expect_close(4008, "daemon already connected")
    world.relay.log.wait("daemon_connection_rejected", mark, reason="daemon_already_connected")
    world.client().send(frames.text(frames.e2ee()))
    assert first.recv_text() == frames.text(frames.e2ee())


def test_equal_generation_is_refused_while_the_first_answers(world):
    first = world.daemon(daemonIssueGeneration=4)
    second = world.daemon(daemonIssueGeneration=4)
    first.send_frame(ws.PONG, first.recv_frame().payload)
    second.expect_close(4008, "daemon already connected")


def test_data_is_an_answer_too(world):
    first = world.daemon()
    second = world.daemon()
    assert first.recv_frame().opcode == ws.PING
    first.send(frames.text(frames.e2ee("nobody")))
    second.expect_close(4008, "daemon already connected")


def test_silent_daemon_is_replaced(world):
    """A half-open socket: its machine has changed networks."""
    mark = world.relay.log.mark()
    old = world.daemon(machineId="m_1")
    new = world.daemon(machineId="m_1")
    assert old.recv_frame().opcode == ws.PING
    assert old.recv_frame().payload == ws.close_payload(4008, "replaced by newer daemon")
    eventually(lambda: len(world.relay.log.all("daemon_connected", mark)) == 2, "both registered")
    world.relay.log.wait("daemon_disconnected", mark, clearedCurrentDaemon=True)
    client = world.client()
    client.send(frames.text(frames.e2ee()))
    assert new.recv_text() == frames.text(frames.e2ee())
    old.reset()
    client.send(frames.text(frames.e2ee(seq=2)))
    assert new.recv_text() == frames.text(frames.e2ee(seq=2))
    assert world.relay.cell(world.workspace, "rt_1")["daemonConnected"] is True


def test_higher_generation_replaces_at_once(world):
    old = world.daemon(daemonIssueGeneration=1)
    new = world.daemon(daemonIssueGeneration=2)
    old.expect_close(4008, "replaced by newer daemon")
    client = world.client()
    client.send(frames.text(frames.e2ee()))
    assert new.recv_text() == frames.text(frames.e2ee())


def test_lower_generation_is_stale_even_after_the_daemon_left(world):
    mark = world.relay.log.mark()
    world.daemon(daemonIssueGeneration=5).finish()
    world.relay.log.wait("daemon_disconnected", mark)
    world.daemon(daemonIssueGeneration=4).expect_close(4008, "stale daemon generation")
    details = world.relay.log.wait(
        "daemon_connection_rejected", mark, reason="stale_daemon_issue_generation"
    )["details"]
    assert {4, 5} <= set(details.values())
    assert world.relay.failures()["stale_daemon_generation"] >= 1
    world.daemon(daemonIssueGeneration=5)


def test_daemon_without_generation_after_one_with(world):
    mark = world.relay.log.mark()
    world.daemon(daemonIssueGeneration=5).finish()
    world.relay.log.wait("daemon_disconnected", mark)
    world.daemon()
    world.relay.log.wait("daemon_disconnected", mark)


def test_third_daemon_while_two_contend(world):
    first = world.daemon()
    second = world.daemon()
    assert first.recv_frame().opcode == ws.PING
    world.daemon().expect_close(4008, "daemon already connected")
    first.send_frame(ws.PONG)
    second.expect_close(4008, "daemon already connected")


def test_returning_daemon_clears_requests_and_sessions(world):
    mark = world.relay.log.mark()
    daemon, client = world.pair()
    client.send(frames.text(frames.init_v3("k1")))
    daemon.recv_text()
    daemon.send(frames.text(frames.response_v3("k1", "s1")))
    client.recv_text()
    client.send(frames.text(frames.init_v3("k2")))
    daemon.recv_text()
    daemon.finish()
    world.relay.log.wait("daemon_disconnected", mark)
    client.expect_silence_until(b"told nothing")
    daemon = world.daemon()
    daemon.send(frames.text(frames.e2ee("s1")))
    daemon.send(frames.text(frames.response_v3("k2", "s2")))
    daemon.expect_silence_until(b"routed")
    client.expect_silence_until(b"old entries are gone")
    world.relay.log.wait("key_exchange_response_owner_missing", mark)


def test_empty_cells_are_evicted(start):
    world = start(RELAY_EMPTY_WORKSPACE_TTL_MS="50", RELAY_CLEANUP_INTERVAL_MS="20")
    world.daemon(daemonIssueGeneration=9).finish()
    line = world.relay.log.wait("workspace_evicted")
    assert line["details"]["workspaceId"].startswith(world.workspace)
    assert world.relay.metric("relay_workspace_evictions_total") == 1
    assert world.relay.metric("relay_workspaces_total") == 0
    assert world.relay.cell(world.workspace, "rt_1") is None
    daemon = world.daemon(daemonIssueGeneration=1)  # the memory went with the cell
    world.client().send(frames.text(frames.e2ee()))
    daemon.recv_text()


def test_connection_ends_at_expiry_when_asked_to(start):
    world = start(RELAY_EXPIRY_GRACE_MS="1")
    world.client(exp=1).expect_close(4008, "credential expired")
