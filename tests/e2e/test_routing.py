# SPDX-License-Identifier: Apache-2.0
"""Who gets what: order of checks, scopes, profiles, tables (spec 7.1-7.3)."""
import pytest

from lib import frames as f

RELAY_ENV = {
    "RELAY_PAIRING_REQUEST_TRACK_MAX": "8",
    "RELAY_SESSION_OWNER_TRACK_MAX": "8",
    "RELAY_RUNTIME_RATE_PER_MINUTE": "100000",
}


def handshake(daemon, client, request, session, **profile):
    client.send(f.text(f.init_v3(request, **profile)))
    assert daemon.recv_text() == f.text(f.init_v3(request, **profile))
    daemon.send(f.text(f.response_v3(request, session, **profile)))
    assert client.recv_text() == f.text(f.response_v3(request, session, **profile))


def added(world, before):
    after = world.relay.metrics()
    return {k: v - before[k] for k, v in after.items() if k in before and v != before[k]}


def test_session_frames_find_their_client(world):
    daemon = world.daemon()
    clients = [world.client() for _ in range(3)]
    for n, client in enumerate(clients):
        handshake(daemon, client, f"k{n}", f"s{n}")
    for n in (2, 0, 1, 1):
        daemon.send(f.text(f.e2ee(f"s{n}")))
        assert clients[n].recv_text() == f.text(f.e2ee(f"s{n}"))
        daemon.send(f.text(f.key_update(f"s{n}")))
        assert clients[n].recv_text() == f.text(f.key_update(f"s{n}"))
    for client in clients:
        client.expect_silence_until(b"nothing for others")


def test_one_client_many_sessions_and_rekey(world):
    daemon, client = world.pair()
    for n in range(3):
        handshake(daemon, client, f"k{n}", f"s{n}")
    client.send(f.text(f.init_v3("again", previousSessionId="s1")))
    daemon.recv_text()
    daemon.send(f.text(f.response_v3("again", "s1b")))
    client.recv_text()
    for session in ("s0", "s1", "s1b", "s2"):
        daemon.send(f.text(f.e2ee(session)))
        assert client.recv_text() == f.text(f.e2ee(session))


def test_client_needs_no_handshake_to_send(world):
    daemon, client = world.pair()
    client.send(f.text(f.e2ee("never negotiated")))
    assert daemon.recv_text() == f.text(f.e2ee("never negotiated"))


def test_unknown_session_is_dropped_and_counted(world):
    daemon, client = world.pair()
    before = world.relay.metrics()
    daemon.send(f.text(f.e2ee("unknown")))
    daemon.expect_silence_until(b"routed")
    client.expect_silence_until(b"nothing")
    changes = added(world, before)
    assert changes["relay_session_frame_dropped_total"] == 1
    assert changes["relay_frames_daemon_to_clients_total"] == 1


def test_response_is_used_once(world):
    daemon, client = world.pair()
    handshake(daemon, client, "k1", "s1")
    mark = world.relay.log.mark()
    before = world.relay.metrics()
    daemon.send(f.text(f.response_v3("k1", "s2")))
    daemon.send(f.text(f.response_v2("never asked")))
    daemon.expect_silence_until(b"routed")
    client.expect_silence_until(b"nothing")
    world.relay.log.wait("key_exchange_response_owner_missing", mark)
    assert added(world, before)["relay_key_exchange_response_dropped_total"] == 2


def test_pairing_response_is_used_once(world):
    daemon, client = world.daemon(), world.pairing_client()
    client.send(f.text(f.offer_request("p1")))
    daemon.recv_text()
    mark = world.relay.log.mark()
    before = world.relay.metrics()
    for _ in range(2):
        daemon.send(f.text(f.offer_response("p1")))
    assert client.recv_text() == f.text(f.offer_response("p1"))
    daemon.expect_silence_until(b"routed")
    client.expect_silence_until(b"once")
    world.relay.log.wait("pairing_response_owner_missing", mark)
    changes = added(world, before)
    assert changes["relay_pairing_response_dropped_total"] == 1
    assert changes["relay_pairing_response_routed_local_total"] == 1


def test_request_ids_are_trimmed_and_sessions_looked_up_as_they_stand(world):
    daemon, client = world.pair()
    client.send(f.text(f.init_v3("  k1\u00a0")))
    daemon.recv_text()
    daemon.send(f.text(f.response_v3("k1\ufeff", " s1 ")))
    client.recv_text()
    daemon.send(f.text(f.e2ee(" s1 ")))
    daemon.send(f.text(f.e2ee("s1")))
    assert client.recv_text() == f.text(f.e2ee("s1"))


def test_escaped_ids_are_the_same_ids(world):
    daemon, client = world.pair()
    client.send(f.text(f.init_v3("kä1")).replace("kä1", "\\u006b\\u00e41"))
    daemon.recv_text()
    daemon.send(f.text(f.response_v3("kä1", "s1")).replace('"s1"', '"\\u0073\\u0031"'))
    client.recv_text()
    daemon.send(f.text(f.e2ee("s1")))
    assert client.recv_text() == f.text(f.e2ee("s1"))


def test_blank_request_id_is_forwarded_but_not_tracked(world):
    daemon, client = world.pair()
    client.send(f.text(f.init_v3("  ")))
    assert daemon.recv_text() == f.text(f.init_v3("  "))
    daemon.send(f.text(f.response_v3("  ")))
    daemon.expect_silence_until(b"routed")
    client.expect_silence_until(b"nothing")


def test_key_exchange_and_pairing_ids_are_apart(world):
    daemon = world.daemon()
    runtime, pairing = world.client(), world.pairing_client()
    runtime.send(f.text(f.init_v3("same")))
    pairing.send(f.text(f.offer_request("same")))
    daemon.recv_text()
    daemon.recv_text()
    daemon.send(f.text(f.offer_response("same")))
    daemon.send(f.text(f.response_v3("same")))
    assert pairing.recv_text() == f.text(f.offer_response("same"))
    assert runtime.recv_text() == f.text(f.response_v3("same"))


def test_oldest_requests_go_first_at_the_cap(world):
    daemon, client = world.pair()
    for n in range(9):
        client.send(f.text(f.init_v3(f"k{n}")))
        daemon.recv_text()
    daemon.send(f.text(f.response_v3("k0", "s0")))
    for n in range(1, 9):
        daemon.send(f.text(f.response_v3(f"k{n}", f"s{n}")))
        assert client.recv_text() == f.text(f.response_v3(f"k{n}", f"s{n}"))


def test_oldest_sessions_go_first_at_the_cap(world):
    daemon, client = world.pair()
    for n in range(9):
        handshake(daemon, client, f"k{n}", f"s{n}")
    for n in range(9):
        daemon.send(f.text(f.e2ee(f"s{n}")))
    for n in range(1, 9):
        assert client.recv_text() == f.text(f.e2ee(f"s{n}"))


def test_leaving_client_leaves_all_tables(world):
    mark = world.relay.log.mark()
    daemon, client = world.pair()
    other = world.client()
    handshake(daemon, client, "k1", "s1")
    handshake(daemon, other, "k2", "s2")
    client.send(f.text(f.init_v3("k3")))
    daemon.recv_text()
    client.finish()
    world.relay.log.wait("client_disconnected", mark)
    before = world.relay.metrics()
    daemon.send(f.text(f.e2ee("s1")))
    daemon.send(f.text(f.response_v3("k3")))
    daemon.send(f.text(f.e2ee("s2")))
    assert other.recv_text() == f.text(f.e2ee("s2"))
    changes = added(world, before)
    assert changes["relay_session_frame_dropped_total"] == 1
    assert changes["relay_key_exchange_response_dropped_total"] == 1


def test_order_is_kept_both_ways(world):
    daemon, client = world.pair()
    handshake(daemon, client, "k1", "s1")
    texts = [f.text(f.e2ee("s1", seq=n)) for n in range(1, 201)]
    for text in texts:
        client.send(text)
    assert [daemon.recv_text() for _ in texts] == texts
    for text in texts:
        daemon.send(text)
    assert [client.recv_text() for _ in texts] == texts


def test_daemon_unavailable_until_it_comes(world):
    client = world.client()
    mark = world.relay.log.mark()
    before = world.relay.metrics()
    for _ in range(2):
        client.send(f.text(f.e2ee()))
        assert client.recv_text() == f.unavailable_status(world.workspace, "rt_1")
    assert added(world, before)["relay_client_messages_dropped_total"] == 2
    world.relay.log.wait("client_message_dropped", mark, reason="daemon_unavailable")
    daemon = world.daemon()
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())


def test_counters_of_a_conversation(world):
    daemon, client = world.pair()
    before = world.relay.metrics()
    handshake(daemon, client, "k1", "s1")
    sent = f.text(f.e2ee("s1", ciphertext="up" * 50))
    client.send(sent)
    daemon.recv_text()
    back = f.text(f.e2ee("s1", ciphertext="down" * 50))
    daemon.send(back)
    client.recv_text()
    changes = added(world, before)
    assert changes["relay_frames_client_to_daemon_total"] == 2
    assert changes["relay_bytes_client_to_daemon_total"] == len(sent) + len(f.text(f.init_v3("k1")))
    assert changes["relay_frames_daemon_to_clients_total"] == 2
    response = f.text(f.response_v3("k1", "s1"))
    assert changes["relay_bytes_daemon_to_clients_total"] == len(back) + len(response)
    assert changes["relay_key_exchange_response_routed_local_total"] == 1
    assert changes["relay_session_frame_routed_local_total"] == 1
    metrics = world.relay.metrics()
    label = f'{{workspace_id="{world.workspace}"}}'
    assert metrics["relay_frames_in_total" + label] == 2
    assert metrics["relay_frames_out_total" + label] == 2
    cell = world.relay.cell(world.workspace, "rt_1")
    assert cell["daemons"][0]["framesIn"] == 2
    assert cell["daemons"][0]["framesOut"] == 2


# ---- Scopes and profiles

GATES = [
    ("runtime", f.offer_request(), "runtime scope only"),
    ("runtime", f.redeem_request(), "runtime scope only"),
    ("runtime", f.subscribe(), "session-events scope required"),
    ("runtime", f.unsubscribe(), "session-events scope required"),
    ("runtime", f.presence(), "session-events scope required"),
    ("pairing", f.e2ee(), "pairing scope only"),
    ("pairing", f.init_v3(), "pairing scope only"),
    ("pairing", f.init_v2(), "pairing scope only"),
    ("pairing", f.subscribe(), "session-events scope required"),
    ("pairing", f.unsubscribe(), "session-events scope required"),
    ("pairing", f.presence(), "session-events scope required"),
]


@pytest.mark.parametrize("scope, frame, close", GATES)
def test_scope_gate_closes(world, scope, frame, close):
    daemon = world.daemon()
    client = world.client(scope=scope)
    before = world.relay.metrics()
    client.send(f.text(frame))
    client.expect_close(4008, close)
    assert added(world, before)["relay_frames_client_rejected_scope_total"] == 1
    daemon.expect_silence_until(b"nothing passed")


@pytest.mark.parametrize("frame", [f.e2ee(), f.init_v3(), f.offer_request(), f.redeem_request()])
def test_session_events_scope_stays_open(world, frame):
    daemon = world.daemon()
    client = world.events_client()
    client.send(f.text(frame))
    assert client.recv_text() == f.events_only_status(world.workspace)
    daemon.expect_silence_until(b"nothing passed")
    client.expect_silence_until(b"still open")


CLIENT_PROFILES = [
    ("noise-ik", "noise-ik", True),
    ("noise-ik", "noise-ikpsk2", False),
    ("noise-ikpsk2", "noise-ik", False),
    ("noise-ikpsk2", "noise-ikpsk2", True),
    (None, "noise-ik", True),
    (None, "noise-ikpsk2", True),
]


@pytest.mark.parametrize("claim, profile, passes", CLIENT_PROFILES)
@pytest.mark.parametrize("make", [f.e2ee, f.init_v3, f.init_v2])
def test_client_profile_must_equal_the_claim(world, make, claim, profile, passes):
    daemon = world.daemon()
    client = world.client(e2eeProfile=claim)
    text = f.text(make(profile=profile))
    client.send(text)
    if passes:
        assert daemon.recv_text() == text
    else:
        client.expect_close(4008, "client frame profile mismatch")
        daemon.expect_silence_until(b"nothing passed")


DAEMON_PROFILES = [
    ("noise-ik", "noise-ik", True),
    ("noise-ik", "noise-ikpsk2", True),
    ("noise-ikpsk2", "noise-ik", False),
    ("noise-ikpsk2", "noise-ikpsk2", True),
    (None, "noise-ik", True),
]


@pytest.mark.parametrize("claim, profile, passes", DAEMON_PROFILES)
def test_daemon_profile_must_not_be_weaker(world, claim, profile, passes):
    daemon = world.daemon(e2eeProfile=claim)
    client = world.client()
    client.send(f.text(f.init_v3("k1", profile=profile)))
    daemon.recv_text()
    mark = world.relay.log.mark()
    text = f.text(f.response_v3("k1", profile=profile))
    daemon.send(text)
    if passes:
        assert client.recv_text() == text
    else:
        daemon.expect_close(4008, "daemon frame profile mismatch")
        world.relay.log.wait("daemon_frame_rejected", mark, reason="profile_mismatch")


def test_frames_without_profile_pass_a_strict_daemon(world):
    daemon = world.daemon(e2eeProfile="noise-ikpsk2")
    client = world.client()
    handshake(daemon, client, "k1", "s1", profile="noise-ikpsk2")
    daemon.send(f.text(f.key_update("s1")))
    assert client.recv_text() == f.text(f.key_update("s1"))


def test_invalid_comes_before_scope(world):
    client = world.client()
    client.send(f.text(f.offer_request("")))
    assert client.recv_text() == f.invalid_frame_status(world.workspace)


def test_scope_comes_before_profile(world):
    client = world.pairing_client(e2eeProfile="noise-ikpsk2")
    client.send(f.text(f.e2ee()))
    client.expect_close(4008, "pairing scope only")


def test_same_target_name_in_two_workspaces(world):
    daemons = {name: world.daemon(workspace=name) for name in ("iso_a", "iso_b")}
    client = world.client(workspace="iso_a")
    client.send(f.text(f.e2ee()))
    assert daemons["iso_a"].recv_text() == f.text(f.e2ee())
    daemons["iso_b"].expect_silence_until(b"nothing")
    daemons["iso_b"].send(f.text(f.response_v3("k1")))
    handshake(daemons["iso_a"], client, "k1", "s1")
    daemons["iso_b"].send(f.text(f.e2ee("s1")))
    daemons["iso_b"].expect_silence_until(b"routed")
    client.expect_silence_until(b"another tenant cannot send to it")
