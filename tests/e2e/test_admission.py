# SPDX-License-Identifier: Apache-2.0
"""The call that turns a token into claims, and every way it can go wrong (spec 4.4)."""
import ssl
import threading
import time

import pytest

from lib import weir
from lib.platform import VALIDATE, Answer, StubPlatform
from lib.wait import eventually

RELAY_ENV = {
    "RELAY_INTERNAL_KEY": "internal-key-of-the-tests",
    "RELAY_ADMISSION_TIMEOUT_MS": "400",
    "RELAY_ADMISSION_MAX_RESPONSE_BYTES": "10000",
}


def test_request_as_specified(world):
    token = world.token("client")
    world.peer().upgrade(world.path("client"), token)
    request = world.platform.asked(token)[0]
    assert (request.method, request.path) == ("POST", VALIDATE)
    assert request.body == (
        f'{{"relayToken":"{token}","role":"client","workspaceId":"{world.workspace}",'
        f'"runtimeTargetId":"{world.target}"}}'
    ).encode()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["content-length"] == str(len(request.body))
    assert request.headers["x-relay-internal-key"] == "internal-key-of-the-tests"
    assert "authorization" not in request.headers


def test_target_is_omitted_when_absent(world):
    token = world.token("worker", target=None, managedExecutorId="me_1")
    world.peer().upgrade(world.path("worker", target=None), token)
    assert list(world.platform.asked(token)[0].json()) == ["relayToken", "role", "workspaceId"]


def test_token_is_written_as_json(world):
    token = 'quo"te\\back/slash'
    world.platform.tokens[token] = world.platform.tokens[world.token("client")]
    world.peer().upgrade(world.path("client"), token)
    assert world.platform.asked(token)[0].json()["relayToken"] == token


def test_connection_to_the_platform_is_kept(world):
    tokens = []
    for _ in range(6):
        tokens.append(world.token("client"))
        peer = world.peer()
        peer.upgrade(world.path("client"), tokens[-1])
        peer.finish()
    assert len({world.platform.asked(t)[0].peer for t in tokens}) <= 2


def test_no_result_is_cached(world):
    token = world.token("client")
    for _ in range(2):
        world.peer().upgrade(world.path("client"), token)
    assert len(world.platform.asked(token)) == 2


BIG = b'{"ok":true,"claims":{},"pad":"' + b"x" * 10000 + b'"}'
REFUSALS = [
    (Answer(401, {"ok": False, "reason": "TOKEN_EXPIRED"}), "TOKEN_EXPIRED", 401, "admission_denied"),
    (Answer(200, {"ok": False, "reason": "NOT_YOU"}), "NOT_YOU", 200, "admission_denied"),
    (Answer(200, {"ok": False, "error": "why"}), "why", 200, "admission_denied"),
    (Answer(200, {"ok": False}), "VALIDATION_FAILED", 200, "admission_denied"),
    (Answer(200, {"claims": {}}), "VALIDATION_FAILED", 200, "admission_denied"),
    (Answer(200, {"ok": "true", "claims": {}}), "VALIDATION_FAILED", 200, "admission_denied"),
    (Answer(200, {"ok": 1, "claims": {}}), "VALIDATION_FAILED", 200, "admission_denied"),
    (Answer(500, {"ok": True, "claims": {}}), "VALIDATION_FAILED", 500, "admission_denied"),
    (Answer(302, {"ok": True, "claims": {}}, [("location", "/elsewhere")]), "VALIDATION_FAILED",
     302, "admission_denied"),
    (Answer(200, b"<html>"), "INVALID_JSON", 200, "admission_error"),
    (Answer(200, b""), "INVALID_JSON", 200, "admission_error"),
    (Answer(200, b'{"ok":true,}'), "INVALID_JSON", 200, "admission_error"),
    (Answer(200, BIG), "ADMISSION_RESPONSE_TOO_LARGE", 502, "admission_error"),
    (Answer(200, b"", fault="silence"), "admission request timed out after 400ms", 504,
     "admission_timeout"),
    (Answer(200, b"", fault="reset"), None, 504, "admission_error"),
    (Answer(200, b'{"ok":true,"claims":{}}', fault="cut"), None, 504, "admission_error"),
]


@pytest.mark.parametrize("answer, reason, status, failure", REFUSALS)
def test_refusals(world, answer, reason, status, failure):
    before = world.relay.metrics()
    mark = world.relay.log.mark()
    token = world.platform.answering(answer)
    refusal = world.refused(token=token, source="127.0.0.7")
    assert refusal.raw == "HTTP/1.1 401 Unauthorized"
    details = world.relay.log.wait("admission_denied", mark)["details"]
    assert details["role"] == "client"
    assert details["workspaceId"] == world.workspace
    assert details["ip"] == "127.0.0.7"
    assert details["status"] == status
    if reason is not None:
        assert details["reason"] == reason
    assert details["reason"]
    after = world.relay.metrics()
    label = f'relay_handshake_failures_total{{reason="{failure}"}}'
    assert after[label] == before[label] + 1
    for name in ("relay_admission_denied_total", "relay_jwt_validate_duration_seconds_count"):
        assert after[name] == before[name] + 1
    assert after["relay_admission_ok_total"] == before["relay_admission_ok_total"]
    assert not [r for r in world.platform.requests if r.path == "/elsewhere"]


CLAIMS_REFUSED = [
    {"clientId": ""},
    {"clientId": 7},
    {"clientId": None},
    {"clientId": "c" * 129},
    {"workspaceId": "w" * 129},
    {"machineId": "m" * 256},
    {"role": "daemon"},
    {"role": "Client"},
    {"scope": "admin"},
    {"scope": None},
    {"sessionIds": "s"},
    {"sessionIds": ["s"] * 65},
    {"sessionIds": [""]},
    {"sessionChannels": ["agent-session:s"] * 65},
    {"sessionChannels": ["agent-session:"]},
    {"sessionChannels": ["other:s"]},
    {"sessionChannels": ["agent-session:" + "s" * 242]},
    {"e2eeProfile": "noise-xx"},
    {"e2eeProfile": None},
    {"policyMode": ""},
    {"daemonPublicKey": ""},
    {"daemonPublicKey": "k" * 513},
    {"pairingSecret": "p" * 1025},
    {"relayWsBaseUrl": "u" * 513},
    {"iss": ""},
    {"jti": "j" * 256},
    {"aud": ""},
    {"aud": [7]},
    {"exp": "soon"},
    {"exp": 1.5},
    {"iat": 2**53},
    {"nbf": None},
    {"ver": -(2**53)},
    {"daemonIssueGeneration": -1},
    {"daemonIssueGeneration": "1"},
]


@pytest.mark.parametrize("claims", CLAIMS_REFUSED, ids=lambda c: str(c)[:50])
def test_claims_of_a_wrong_form(world, claims):
    mark = world.relay.log.mark()
    before = world.relay.failures()["invalid_claims"]
    full = {"workspaceId": world.workspace, "runtimeTargetId": "rt_1", "scope": "runtime", **claims}
    token = world.platform.answering(Answer(200, {"ok": True, "claims": full}))
    assert world.refused(token=token).status == 401
    world.relay.log.wait("admission_denied", mark, reason="INVALID_CLAIMS")
    assert world.relay.failures()["invalid_claims"] == before + 1


@pytest.mark.parametrize("claims", [None, [], "claims", 7])
def test_claims_that_are_no_object(world, claims):
    mark = world.relay.log.mark()
    token = world.platform.answering(Answer(200, {"ok": True, "claims": claims}))
    assert world.refused(token=token).status == 401
    world.relay.log.wait("admission_denied", mark, reason="INVALID_CLAIMS")


CLAIMS_ACCEPTED = [
    {"clientId": "c" * 128},
    {"clientId": "\U0001f600" * 64},  # lengths are UTF-16 code units
    {"machineId": "m" * 255},
    {"sessionIds": ["s"] * 64},
    {"sessionIds": []},
    {"sessionChannels": ["agent-session:s"] * 64},
    {"daemonPublicKey": None, "pairingSecret": None, "relayWsBaseUrl": None},
    {"pairingSecret": "p" * 1024},
    {"aud": []},
    {"aud": ["a", "b"]},
    {"exp": 0, "iat": 2**53 - 1, "nbf": -(2**53) + 1},
    {"daemonIssueGeneration": 0},
    {"policyMode": "crypto_pairing"},
]


@pytest.mark.parametrize("claims", CLAIMS_ACCEPTED, ids=lambda c: str(c)[:50])
def test_claims_at_their_limits(world, claims):
    world.client(**{**claims}) if None not in claims.values() else world.peer().upgrade(
        world.path("client"),
        world.platform.admitting(
            workspaceId=world.workspace, runtimeTargetId="rt_1", scope="runtime", **claims
        ),
    )


def test_unknown_claims_are_ignored_and_logged_once(start):
    world = start()
    for n in range(3):
        world.client(somethingNew={"n": n}, another=n)
    assert world.relay.metric("relay_unknown_claims_total") == 3
    assert len(world.relay.log.all("unknown_claims")) == 1


def test_unknown_members_beside_the_claims_are_ignored(world):
    claims = {"workspaceId": world.workspace, "runtimeTargetId": "rt_1", "scope": "runtime"}
    answer = Answer(200, {"more": [1], "ok": True, "claims": claims, "reason": "fine"})
    world.peer().upgrade(world.path("client"), world.platform.answering(answer))


def test_timeout_is_total(world):
    """A platform that sends a byte now and then does not hold the peer longer."""
    gate = threading.Event()
    token = world.platform.answering(Answer(200, {"ok": True}, gate=gate))
    begin = time.monotonic()
    assert world.refused(token=token).status == 401
    assert 0.35 < time.monotonic() - begin < 3
    gate.set()


def test_platform_that_is_not_there(start):
    stub = StubPlatform()
    stub.stop()
    world = start(stub=stub)
    assert world.refused(token="token-for-nobody").status == 401
    assert world.relay.failures()["admission_error"] == 1
    assert world.relay.log.wait("admission_denied")["details"]["reason"]


def test_many_at_once_wait_for_their_own_answer(world):
    """Slow answers hold nobody else up."""
    gate = threading.Event()
    slow = world.token("client", gate=gate)
    waiting = world.peer()
    waiting.send_raw(
        b"GET " + world.path("client").encode() + b" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer " + slow.encode() + b"\r\n\r\n"
    )
    world.platform.wait_asked(slow)
    world.client().finish()
    gate.set()
    waiting.read_switch("dGhlIHNhbXBsZSBub25jZQ==")


def test_peer_that_leaves_while_it_waits(world):
    gate = threading.Event()
    before = world.relay.failures()["aborted"]
    for leave in ("close", "reset"):
        token = world.token("client", gate=gate)
        peer = world.peer()
        peer.send_raw(
            b"GET " + world.path("client").encode() + b" HTTP/1.1\r\nHost: x\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n"
        )
        world.platform.wait_asked(token)
        getattr(peer, leave)()
    eventually(
        lambda: world.relay.failures()["aborted"] == before + 2, "both counted as aborted", 5
    )
    gate.set()


def test_validate_url_is_used_verbatim(start):
    stub = StubPlatform()
    world = start(stub=stub, RELAY_VALIDATE_URL=f"{stub.origin}/other/validate?x=1")
    claims = {"workspaceId": world.workspace, "runtimeTargetId": "rt_1", "scope": "runtime"}
    stub.page("POST", "/other/validate?x=1", Answer(200, {"ok": True, "claims": claims}))
    world.peer().upgrade(world.path("client"), "a-token-of-good-length")
    assert [r.path for r in stub.requests] == ["/other/validate?x=1"]


# ---- TLS to the platform

@pytest.fixture(name="mtls", scope="module")
def mtls_fixture(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("platform"))
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    stub = StubPlatform(tls=context)
    yield stub
    stub.stop()


def test_mtls(start, authority, mtls):
    cert, key = authority.issue("relay-client")
    world = start(
        stub=mtls,
        RELAY_SERVER_TLS_VERIFY="1",
        RELAY_SERVER_CA_CERT_PATH=authority.path,
        RELAY_SERVER_CLIENT_CERT_PATH=cert,
        RELAY_SERVER_CLIENT_KEY_PATH=key,
    )
    token = world.token("client")
    world.peer().upgrade(world.path("client"), token)
    subject = mtls.asked(token)[0].certificate["subject"]
    assert ((("commonName", "relay-client"),)) in subject


def test_platform_refuses_without_client_certificate(start, authority, mtls):
    world = start(
        stub=mtls, RELAY_SERVER_TLS_VERIFY="1", RELAY_SERVER_CA_CERT_PATH=authority.path
    )
    # A pooled connection that the platform has broken off stays until the worker's next call.
    world.relay.baseline += world.relay.workers
    assert world.refused(token=world.token("client")).status == 401
    assert world.relay.failures()["admission_error"] == 1


def test_platform_with_an_unknown_authority_is_not_asked(start, authority, mtls):
    cert, key = authority.issue("relay-client")
    world = start(
        stub=mtls,
        RELAY_SERVER_TLS_VERIFY="1",
        RELAY_SERVER_CLIENT_CERT_PATH=cert,
        RELAY_SERVER_CLIENT_KEY_PATH=key,
    )
    token = world.token("client")
    assert world.refused(token=token).status == 401
    assert world.relay.failures()["admission_error"] == 1
    assert not mtls.asked(token)


def test_certificates_of_localhost_are_not_verified_by_default(start, authority, mtls):
    cert, key = authority.issue("relay-client")
    world = start(
        stub=mtls, RELAY_SERVER_CLIENT_CERT_PATH=cert, RELAY_SERVER_CLIENT_KEY_PATH=key
    )
    world.client()


def test_mtls_files_must_exist():
    result = weir.run("relay", env={"RELAY_SERVER_MTLS": "1", "RELAY_LISTEN_PORT": "0"})
    assert result.returncode == 1
    assert "RELAY_SERVER_CLIENT_CERT_PATH" in result.stderr
