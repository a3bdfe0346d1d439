# SPDX-License-Identifier: Apache-2.0
"""The upgrade: address, order of checks, query, token, answer (spec 4.1-4.3, 4.7)."""
import pytest

from lib import ws
from lib.platform import Answer

RELAY_ENV = {"RELAY_MODE": "dev"}
GOOD = "a-token-of-good-length"


class Counted:
    """What a refusal adds to the metrics."""

    def __init__(self, relay):
        self.relay = relay
        self.before = relay.metrics()

    def added(self):
        after = self.relay.metrics()
        return {
            k: v - self.before.get(k, 0)
            for k, v in after.items()
            if v != self.before.get(k, 0)
            and ("handshake" in k or k.startswith("relay_upgrade") or "admission" in k)
        }

    def expect(self, reason, metric=None):
        expected = {f'relay_handshake_failures_total{{reason="{reason}"}}': 1.0}
        if metric is not None:
            expected[metric] = 1.0
        assert self.added() == expected


QUERIES = [
    ("", "nothing"),
    ("role=client", "no workspace"),
    ("workspaceId=w", "no role"),
    ("role=&workspaceId=w", "empty role"),
    ("role=Client&workspaceId=w", "role in other case"),
    ("role=daemon&workspaceId=w", "unknown role"),
    ("role=client&workspaceId=", "empty workspace"),
    ("role=client&workspaceId=w%20x", "space"),
    ("role=client&workspaceId=w+x", "plus is a space"),
    ("role=client&workspaceId=w%2Fx", "slash"),
    ("role=client&workspaceId=%C3%A4", "not ASCII"),
    ("role=client&workspaceId=w%00", "NUL"),
    ("role=client&workspaceId=" + "w" * 129, "workspace too long"),
    ("role=client&workspaceId=w&runtimeTargetId=", "empty target"),
    ("role=client&workspaceId=w&runtimeTargetId=" + "r" * 129, "target too long"),
    ("role=client&workspaceId=w&runtimeTargetId=a/b", "slash in target"),
    ("role=bad&role=client&workspaceId=w", "first role counts"),
    ("role=client&workspaceId=%2F&workspaceId=w", "first workspace counts"),
]


@pytest.mark.parametrize("query", [q for q, _ in QUERIES], ids=[name for _, name in QUERIES])
def test_query_refused(world, query):
    counted = Counted(world.relay)
    refusal = world.refused("/ws?" + query, GOOD)
    assert refusal.status == 400
    assert refusal.raw == "HTTP/1.1 400 Bad Request"
    counted.expect("invalid_query", "relay_upgrade_invalid_query_total")


ACCEPTED_QUERIES = [
    "role=client&workspaceId={w}&runtimeTargetId=rt_1&unknown=%FF",
    "workspaceId={w}&runtimeTargetId=rt_1&role=client&role=bad",
    "r%6Fle=cli%65nt&workspaceId={w}&runtimeTargetId=rt_1",
    "&&role=client&&workspaceId={w}&runtimeTargetId=rt_1&",
]


@pytest.mark.parametrize("query", ACCEPTED_QUERIES)
def test_query_accepted(world, query):
    peer = world.peer()
    peer.upgrade("/ws?" + query.format(w=world.workspace), world.token("client"))
    peer.finish()


def test_ids_of_every_allowed_character_and_full_length(world):
    workspace = ("AZaz09._:-" * 13)[:128]
    target = ("-:_.90zaZA" * 13)[:128]
    world.client(workspace=workspace, target=target).finish()
    world.relay.log.wait("client_connected", workspaceId=workspace, runtimeTargetId=target)


@pytest.mark.parametrize("path", ["/ws/", "/WS", "/", "/wss", "/%77s", "//ws", "/health"])
def test_wrong_path_is_dropped_without_a_byte(world, path):
    counted = Counted(world.relay)
    refusal = world.refused(path + "?role=client&workspaceId=w", GOOD)
    assert (refusal.status, refusal.raw) == (0, b"")
    counted.expect("bad_request")


TOKENS = [
    ([], "none"),
    ([("Authorization", "Bearer short")], "too short"),
    ([("Authorization", "Bearer " + "t" * 4097)], "too long"),
    ([("Authorization", "Basic " + GOOD)], "other scheme"),
    ([("Authorization", "Bearer" + GOOD)], "no blank"),
    ([("Authorization", "Bearer ")], "empty"),
    ([("Sec-WebSocket-Protocol", "auth.short")], "short in the subprotocol"),
    ([("Sec-WebSocket-Protocol", "Auth." + GOOD)], "prefix in other case"),
    ([("Sec-WebSocket-Protocol", "viewport-relay-v1")], "subprotocol without token"),
]


@pytest.mark.parametrize("headers", [h for h, _ in TOKENS], ids=[name for _, name in TOKENS])
def test_no_usable_token(world, headers):
    counted = Counted(world.relay)
    refusal = world.refused(headers=headers)
    assert refusal.raw == "HTTP/1.1 401 Unauthorized"
    counted.expect("missing_auth", "relay_upgrade_missing_auth_total")


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER\t", "Bearer    "])
def test_authorization_scheme(world, scheme):
    token = world.token("client")
    peer = world.peer()
    peer.upgrade(world.path("client"), headers=[("Authorization", scheme + token + "  ")])
    assert world.platform.asked(token)


@pytest.mark.parametrize("size", [10, 4096])
def test_token_of_extreme_length(world, size):
    token = "T" * size
    world.platform.tokens[token] = world.platform.tokens[world.token("client")]
    world.peer().upgrade(world.path("client"), token)


def test_token_of_wrong_length_is_skipped(world):
    token = world.token("client")
    headers = [("Authorization", "Bearer short"), ("Sec-WebSocket-Protocol", f"a, auth.{token}")]
    world.peer().upgrade(world.path("client"), headers=headers)
    assert len(world.platform.asked(token)) == 1


def test_authorization_wins_over_subprotocol_over_query(world):
    first, second, third = (world.token("client") for _ in range(3))
    protocol = ("Sec-WebSocket-Protocol", f"auth.{second}")
    path = world.path("client", token=third)
    world.peer().upgrade(path, first, headers=[protocol])
    world.peer().upgrade(path, headers=[protocol])
    world.peer().upgrade(path)
    for token in (first, second, third):
        assert len(world.platform.asked(token)) == 1


ECHOES = [
    (["viewport-relay-v1, auth.{t}"], "viewport-relay-v1"),
    (["auth.{t}, viewport-relay-v1"], "viewport-relay-v1"),
    (["auth.{t}"], "auth.{t}"),
    (["a", "b, auth.{t}"], "a"),
    (["auth.{t},b ,c"], "b"),
]


@pytest.mark.parametrize("offered, echoed", ECHOES)
def test_subprotocol_echo(world, offered, echoed):
    token = world.token("client")
    peer = world.peer()
    headers = [("Sec-WebSocket-Protocol", line.format(t=token)) for line in offered]
    peer.upgrade(world.path("client"), headers=headers)
    assert peer.headers["sec-websocket-protocol"] == echoed.format(t=token)


def test_no_subprotocol_offered_none_echoed(world):
    assert "sec-websocket-protocol" not in world.client().headers


def test_extensions_are_not_negotiated(world):
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]
    assert "sec-websocket-extensions" not in world.client(headers=offer).headers


def test_origin_is_not_checked(world):
    world.client(headers=[("Origin", "https://elsewhere.example")])


HANDSHAKES = [
    ({"drop": ("sec-websocket-key",)}, [], 400, "key"),
    ({"key": "short"}, [], 400, "key"),
    ({"key": "A" * 24}, [], 400, "key"),
    ({"key": "!" * 22 + "=="}, [], 400, "key"),
    ({"drop": ("sec-websocket-version",)}, [], 400, "version"),
    ({"version": "12"}, [], 400, "version"),
    ({"version": "13, 8"}, [], 400, "version"),
    ({}, [("Sec-WebSocket-Protocol", "a, a")], 400, "protocol"),
    ({}, [("Sec-WebSocket-Protocol", "a b")], 400, "protocol"),
    ({}, [("Sec-WebSocket-Protocol", "a,,b")], 400, "protocol"),
    ({"drop": ("upgrade",)}, [("Upgrade", "h2c")], 400, "upgrade"),
    ({"method": "POST"}, [], 405, "method"),
]


@pytest.mark.parametrize("request_parts, headers, status, what", HANDSHAKES)
def test_handshake_headers(world, request_parts, headers, status, what):
    counted = Counted(world.relay)
    token = world.token("client")
    refusal = world.refused(token=token, headers=headers, **request_parts)
    assert refusal.status == status
    assert refusal.headers["connection"].lower() == "close"
    assert refusal.headers["content-type"] == "text/html"
    assert int(refusal.headers["content-length"]) == len(refusal.body) > 0
    assert what in refusal.body.decode().lower()
    if what == "version":
        assert refusal.headers["sec-websocket-version"] == "13, 8"
    assert not world.platform.asked(token), "refused cheaply, before the platform is asked"
    counted.expect("bad_request")


def test_version_8_is_accepted(world):
    world.peer().upgrade(world.path("client"), world.token("client"), version="8")


def test_header_names_and_values_in_other_case(world):
    peer = world.peer()
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    peer.send_raw(
        f"GET {world.path('client')} HTTP/1.1\r\nhost: x\r\nUPGRADE: WebSocket\r\n"
        f"connection: keep-alive, UPGRADE\r\nsec-websocket-KEY: {key}\r\n"
        f"SEC-WEBSOCKET-VERSION: 13\r\nauthorization: bearer {world.token('client')}\r\n\r\n".encode()
    )
    peer.read_switch(key)
    assert peer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_frame_sent_with_the_request_is_not_lost(world):
    daemon = world.daemon()
    text = '{"type":"relay_key_exchange_init","version":3,"profile":"noise-ik","requestId":"e",' \
        '"clientEphemeralPublicKey":"A","encryptedClientStatic":"B"}'
    world.peer().upgrade(
        world.path("client"), world.token("client"), early=ws.frame(ws.TEXT, text)
    )
    assert daemon.recv_text() == text


def test_upgrade_byte_by_byte(world):
    peer = world.peer()
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    headers = [("Authorization", "Bearer " + world.token("client"))]
    peer.send_split(ws.upgrade_request(world.path("client"), headers, key=key))
    peer.read_switch(key)


# ---- Order: each row fails its own check and all the later ones

def test_order_of_checks(start):
    """Spec 4.2 rows 2-9, from the last to the first: the earlier failure is the one that shows."""
    world = start(
        RELAY_MAX_CLIENTS_PER_WORKSPACE="1",
        RELAY_MAX_CONNECTIONS_PER_IP="3",
        RELAY_MAX_TOTAL_CONNECTIONS="4",
    )
    denied = world.platform.answering(Answer(403, {"ok": False, "reason": "NO"}))
    other_cell = world.path("client", target="rt_2")
    keep = [world.client(source="127.0.0.2")]

    assert world.refused(other_cell, denied, source="127.0.0.2").status == 401  # 9
    assert not world.platform.asked(GOOD)
    assert world.refused(None, GOOD, source="127.0.0.2").status == 429  # 8 before 9
    assert not world.platform.asked(GOOD)
    assert world.refused(None, None, source="127.0.0.2").status == 401  # 7 before 8
    assert world.refused("/ws?role=client", None, source="127.0.0.2").status == 400  # 6 before 7
    assert world.refused("/no?role=client", None, source="127.0.0.2").status == 0  # 5 before 6

    keep += [world.client(source="127.0.0.2", target=f"rt_{n}") for n in (3, 4)]
    assert world.refused("/no", None, source="127.0.0.2").status == 429  # 3 before 5
    keep.append(world.client(source="127.0.0.3", target="rt_5"))
    full = world.refused("/no", None, source="127.0.0.2")  # 2 before 3
    assert full.raw == "HTTP/1.1 503 Service Unavailable"

    failures = {k: v for k, v in world.relay.failures().items() if v}
    assert failures == {
        "admission_denied": 1,
        "workspace_clients": 1,
        "missing_auth": 1,
        "invalid_query": 1,
        "bad_request": 1,
        "ip_connections": 1,
        "total_connections": 1,
    }
    metrics = world.relay.metrics()
    assert metrics["relay_upgrade_rejected_workspace_clients_total"] == 1
    assert metrics["relay_upgrade_rejected_ip_connections_total"] == 1
    assert metrics["relay_upgrade_rejected_total_connections_total"] == 1
    for peer in keep:
        peer.finish()


def test_upgrade_rate_comes_first_and_counts_every_path(start):
    world = start(RELAY_UPGRADE_RATE_PER_MINUTE="3", RELAY_MAX_TOTAL_CONNECTIONS="1")
    world.client(source="127.0.0.5")
    assert world.refused(None, GOOD, source="127.0.0.5").status == 503
    assert world.refused("/no", GOOD, source="127.0.0.5").status == 503
    refusal = world.refused("/no", GOOD, source="127.0.0.5")
    assert refusal.raw == "HTTP/1.1 429 Too Many Requests"
    assert world.refused("/no", GOOD, source="127.0.0.6").status == 503, "per address"
    assert world.relay.failures()["rate_limited"] == 1
    assert world.relay.metric("relay_upgrade_rate_limited_total") == 1


def test_slots_come_back(start):
    """A slot is reserved before admission and returned when admission fails, or the peer leaves."""
    world = start(
        RELAY_MAX_CLIENTS_PER_WORKSPACE="1",
        RELAY_MAX_CONNECTIONS_PER_IP="1",
        RELAY_MAX_TOTAL_CONNECTIONS="1",
    )
    denied = world.platform.answering(Answer(200, {"ok": False, "reason": "NO"}))
    for _ in range(3):
        assert world.refused(None, denied).status == 401
        client = world.client()
        assert world.refused(None, denied, source="127.0.0.9").status == 503
        client.finish()
        world.relay.wait_metric("relay_connections_total", 0)


def test_workers_are_not_counted_in_the_total(start):
    world = start(RELAY_MAX_TOTAL_CONNECTIONS="1")
    workers = [world.worker() for _ in range(2)]
    world.client()
    assert world.refused(None, GOOD).status == 503
    assert world.relay.metric("relay_connections_total") == 3
    for peer in workers:
        peer.finish()


def test_query_token_only_in_dev(start):
    world = start(RELAY_MODE="staging")
    token = world.token("client")
    assert world.refused(world.path("client", token=token)).status == 401
    assert world.relay.failures()["query_token_not_allowed"] == 1
    assert not world.platform.asked(token)


def test_cell_is_not_made_by_a_refused_upgrade(world):
    denied = world.platform.answering(Answer(200, {"ok": False, "reason": "NO"}))
    assert world.refused(world.path("workspace-daemon"), denied).status == 401
    assert world.relay.cell(world.workspace, world.target) is None
