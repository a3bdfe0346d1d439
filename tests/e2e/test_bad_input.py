# SPDX-License-Identifier: Apache-2.0
"""Every kind of bad input gets its named reason, in the log and in the metric, and nothing else
changes (spec 4.7, 14.4).
"""
import random

import pytest

from lib import frames as f
from lib import ws
from lib.platform import Answer

RELAY_ENV = {"RELAY_MODE": "dev", "RELAY_ADMISSION_TIMEOUT_MS": "300"}
GOOD = "a-token-of-good-length"
UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"


def raw(target, extra=b""):
    return (
        b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + UPGRADE
        + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        + extra + b"\r\n"
    )


def exchange(world, data):
    peer = world.peer()
    peer.send_raw(data)
    return peer.read_to_end()


TOKEN = f"Authorization: Bearer {GOOD}\r\n".encode()
QUERY = b"?role=client&workspaceId=w"
# what is sent, begin of the answer, reason of relay_handshake_failures_total, event of the log
HEADS = [
    (b"\x00\x01\x02\x03\r\n\r\n", b"HTTP/1.1 400 ", "bad_request", "handshake_failed"),
    (b"GET /ws\r\n\r\n", b"HTTP/1.1 400 ", "bad_request", "handshake_failed"),
    (raw(b"/ws" + QUERY, b"Bad Header: x\r\n"), b"HTTP/1.1 400 ", "bad_request",
     "handshake_failed"),
    (raw(b"/ws" + QUERY, b"A: \x01\r\n"), b"HTTP/1.1 400 ", "bad_request", "handshake_failed"),
    (raw(b"/ws" + QUERY, b"A: " + b"x" * 17000 + b"\r\n"), b"HTTP/1.1 431 ", "bad_request",
     "handshake_failed"),
    (raw(b"/other", TOKEN), b"", "bad_request", "upgrade_refused"),
    (raw(b"/ws", TOKEN), b"HTTP/1.1 400 ", "invalid_query", "upgrade_refused"),
    (raw(b"/ws?role=%zz&workspaceId=w", TOKEN), b"HTTP/1.1 400 ", "invalid_query",
     "upgrade_refused"),
    (raw(b"/ws" + QUERY), b"HTTP/1.1 401 ", "missing_auth", "upgrade_refused"),
    (raw(b"/ws" + QUERY, b"Authorization: Bearer \xff\r\n"), b"HTTP/1.1 401 ", "missing_auth",
     "upgrade_refused"),
]


@pytest.mark.parametrize("data, answer, reason, event", HEADS)
def test_heads(world, data, answer, reason, event):
    mark = world.relay.log.mark()
    before = world.relay.failures()
    got = exchange(world, data)
    assert got.startswith(answer) if answer else got == b""
    after = world.relay.failures()
    assert {k: v - before[k] for k, v in after.items() if v != before[k]} == {reason: 1}
    assert world.relay.log.wait(event, mark)["details"]["reason"]


TARGETS = [
    b"*",
    b"http://",
    b"http://[::1",
    b"//",
    b"/ws?%",
    b"/ws?role=client&workspaceId=%",
    b"/ws?role=client&workspaceId=%u0041",
    b"/ws#fragment",
    b"http://x/ws",
    b"/" + b"a" * 8000,
    b"/ws?" + b"&" * 8000,
    b"/ws?" + b"role=client&" * 600,
    b"/\xff\xfe",
    b"/ws?\xff=\xfe",
]


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_targets(world, target):
    before = sum(world.relay.failures().values())
    got = exchange(world, raw(target, TOKEN))
    assert b" 101 " not in got
    assert sum(world.relay.failures().values()) == before + 1
    world.client().finish()


@pytest.mark.parametrize(
    "host", [b"", b"[", b"a b", b"\xff", b"x" * 8000, b"x:99999999", b"x\r\nHost: y"]
)
def test_hosts(world, host):
    """Whatever the Host header says, an upgrade with a good token works or is answered 400."""
    token = world.token("client").encode()
    data = raw(world.path("client").encode(), b"Authorization: Bearer " + token + b"\r\n")
    peer = world.peer()
    peer.send_raw(data.replace(b"Host: x", b"Host: " + host, 1))
    start_line, _ = peer.read_head()
    assert start_line.split(" ")[1] in ("101", "400")


REASONS_OF_REGISTRATION = [
    ({"workspaceId": "other"}, "workspace_claim_mismatch"),
    ({"workspaceId": None}, "missing_workspace_claim"),
    ({"runtimeTargetId": "other"}, "runtime_target_claim_mismatch"),
    ({"scope": None}, "invalid_scope_claim"),
    ({"role": "worker"}, "role_claim_mismatch"),
]


@pytest.mark.parametrize("claims, reason", REASONS_OF_REGISTRATION)
def test_claims(world, claims, reason):
    before = world.relay.failures()
    full = {"workspaceId": world.workspace, "runtimeTargetId": "rt_1", "scope": "runtime", **claims}
    token = world.platform.admitting(**{k: v for k, v in full.items() if v is not None})
    peer = world.peer()
    peer.upgrade(world.path("client"), token)
    peer.expect_close(4008, reason.replace("_", " "))
    after = world.relay.failures()
    assert {k: v - before[k] for k, v in after.items() if v != before[k]} == {reason: 1}


JUNK = [b"", b"\0", b"{", b"null", b'{"ok":true', b"\xff" * 100, b'{"ok":true,"claims":"x"}', b"[" * 9000]


@pytest.mark.parametrize("body", JUNK, ids=range(len(JUNK)))
def test_platform_that_talks_nonsense(world, body):
    token = world.platform.answering(Answer(200, body))
    assert world.refused(token=token).status == 401
    world.client().finish()


def test_noise_instead_of_http(world):
    """Random bytes, always the same ones."""
    generator = random.Random(6455)
    for _ in range(60):
        peer = world.peer()
        try:
            peer.send_raw(generator.randbytes(generator.randrange(1, 400)) + b"\r\n\r\n")
            peer.sock.shutdown(1)
        except OSError:
            pass  # refused early
        peer.read_to_end()
    world.client().finish()


def test_noise_instead_of_frames(world):
    generator = random.Random(8259)
    daemon = world.daemon()
    for _ in range(60):
        client = world.client()
        try:
            client.send_raw(generator.randbytes(generator.randrange(1, 400)))
        except OSError:
            pass
        client.reset()
    client = world.client()
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())


def test_noise_within_frames(world):
    """Mutations of a valid frame are refused or passed, never anything else."""
    generator = random.Random(27)
    daemon, client = world.pair()
    text = f.text(f.init_v3("k")).encode()
    status = f.invalid_frame_status(world.workspace)
    for _ in range(55):
        mutated = bytearray(text)
        for _ in range(generator.randrange(1, 4)):
            mutated[generator.randrange(len(mutated))] = generator.randrange(32, 127)
        client.send_frame(ws.TEXT, bytes(mutated))
        client.send_frame(ws.PING, b"turn")
        got = client.recv_frame()
        if got.opcode == ws.TEXT:
            assert got.payload.decode() == status
            assert client.recv_frame().opcode == ws.PONG
        else:
            assert daemon.recv().payload == bytes(mutated)


def test_deep_and_long_json(world):
    daemon, client = world.pair()
    for text in ("[" * 500000, '{"a":' * 150000, '"' + "\\" * 400000, "[" + "1," * 200000):
        client.send(text)
        assert client.recv_text() == f.invalid_frame_status(world.workspace)
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())


def test_many_headers(world):
    head = "".join(f"X-{n}: {n}\r\n" for n in range(500)).encode()
    got = exchange(world, raw(b"/ws" + QUERY, head + TOKEN))
    assert got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
