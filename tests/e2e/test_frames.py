# SPDX-License-Identifier: Apache-2.0
"""What may pass, what may not, and that it passes byte for byte (spec 6)."""
import json

import pytest

from lib import frames as f
from lib import ws
from lib.wait import eventually

RELAY_ENV = {
    "RELAY_RUNTIME_RATE_PER_MINUTE": "1000000",
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": "1000000",
    "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE": "1000000",
    "RELAY_KEX_INIT_RATE_PER_MINUTE": "1000000",
    "RELAY_PAIRING_RATE_PER_MINUTE": "1000000",
    "RELAY_MAX_FRAME_BYTES": "300000",
}
BLANKS = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)


def without(frame, key):
    return {k: v for k, v in frame.items() if k != key}


def changed(frame, **members):
    return {**frame, **members}


def each(frame, keys, values):
    """The frame with each of the keys missing, and set to each of the values."""
    for key in keys:
        yield without(frame, key)
        for value in values:
            yield changed(frame, **{key: value})


NOT_TEXT = [None, 1, True, [], {}]
BLANK = [*NOT_TEXT, "", BLANKS]
NOT_POSITIVE = [None, 0, -1, 1.5, "1", True, []]

CLIENT_REFUSED = [
    *each(f.e2ee(), ["sessionId", "iv", "tag", "ciphertext"], BLANK),
    *each(f.e2ee(), ["epoch", "seq"], NOT_POSITIVE),
    *each(f.e2ee(), ["version"], [1, 3, "2", None, 2.5]),
    *each(f.e2ee(), ["profile"], ["", "noise-xx", "Noise-ik", "noise-ik ", None, 1]),
    *each(f.e2ee(), ["type"], ["", "E2EE", "e2ee ", None, 1, ["e2ee"]]),
    *each(f.init_v3(), ["requestId", "clientEphemeralPublicKey", "encryptedClientStatic"], NOT_TEXT),
    *each(f.init_v3(), ["version"], [1, 2, 4, "3"]),
    *each(f.init_v3(profile="noise-ikpsk2"), ["pairingPeerId"], BLANK),
    *each(f.init_v2(), ["requestId", "clientPublicKey", "clientNonce", "clientProof"], NOT_TEXT),
    *each(f.init_v2(profile="noise-ikpsk2"), ["pairingPeerId"], BLANK),
    f.response_v3(),
    f.response_v2(),
    f.key_update(),
    f.offer_response(),
    f.redeem_response(),
    f.session_event(),
    f.worker_request("/api/runtime/workspaces/w/managed-executors/e"),
    {"type": "relay_status", "code": "X"},
    {"type": "ack"},
    {"type": "command", "command": "ls"},
    {},
]

PAIRING_REFUSED = [
    *each(f.offer_request(), ["requestId", "clientChannelPublicKey"], BLANK),
    *(f.offer_request(ttlSeconds=v) for v in (29, 3601, 30.5, "60", None, -1)),
    *each(f.redeem_request(), ["requestId", "offerId", "encIv", "encTag", "encCiphertext"], BLANK),
]

EVENTS_REFUSED = [
    *each(f.subscribe(), ["channel"], [*BLANK, "agent-sessions:x", " agent-session:x", "x"]),
    *(f.subscribe(afterSequence=v) for v in (-1, 1.5, "1", None, [])),
    *each(f.unsubscribe(), ["channel"], [*BLANK, "x"]),
    *each(f.presence(), ["channel"], [*BLANK, "x"]),
    *each(f.presence(), ["action"], ["", "Joined", "gone", None, 1]),
    *each(f.presence(), ["userId"], [*BLANK, "u" * 129]),
    *(f.presence(displayName=v) for v in (None, 1, "d" * 256)),
    *(f.presence(sentAt=v) for v in (None, 1)),
]

NO_OBJECT = [
    "",
    " ",
    "null",
    "true",
    "1",
    '"e2ee"',
    "[]",
    "{",
    "}",
    "{}}",
    "{} {}",
    "{}x",
    "\ufeff{}",
    "\x00{}",
    '{"type":"e2ee",}',
    "{'type':'e2ee'}",
    "{type:1}",
    "// x\n{}",
    "{}/**/",
    '{"a":01}',
    '{"a":1.}',
    '{"a":.5}',
    '{"a":+1}',
    '{"a":NaN}',
    '{"a":Infinity}',
    '{"a":1e}',
    '{"a":"\t"}',
    '{"a":"\\x"}',
    '{"a":"\\u12g4"}',
    '{"a":"x}',
    '{"a" 1}',
    '{"a":1 "b":2}',
    '{"a":[1,]}',
    '{"a":tru}',
    '{"a":1}\u00a0',
    "{}\f",
]


def refuse_all(world, peer, texts):
    """Each gets one INVALID_FRAME, in order, and the connection stays."""
    status = f.invalid_frame_status(world.workspace)
    name = "relay_frames_client_rejected_total"
    before = world.relay.metric(name)
    for text in texts:
        peer.send(text)
        assert peer.recv_text() == status, text
    assert world.relay.metric(name) == before + len(texts)


def test_client_frames_refused(world):
    daemon, client = world.pair()
    mark = world.relay.log.mark()
    refuse_all(world, client, [f.text(frame) for frame in CLIENT_REFUSED])
    world.relay.log.wait("client_frame_rejected", mark, reason="invalid_client_frame")
    daemon.expect_silence_until(b"nothing passed")


def test_texts_that_are_no_json_object(world):
    daemon, client = world.pair()
    refuse_all(world, client, NO_OBJECT)
    daemon.expect_silence_until(b"nothing passed")


def test_every_truncation_is_refused(world):
    daemon, client = world.pair()
    text = f.text(f.e2ee(more={"a": [1, -2.5e3, "\\u00e4"], "b": None, "c": True}))
    refuse_all(world, client, [text[:end] for end in range(len(text))])
    daemon.expect_silence_until(b"nothing passed")


def test_pairing_frames_refused(world):
    daemon = world.daemon()
    client = world.pairing_client()
    refuse_all(world, client, [f.text(frame) for frame in PAIRING_REFUSED])
    daemon.expect_silence_until(b"nothing passed")


def test_event_frames_refused(world):
    refuse_all(world, world.events_client(), [f.text(frame) for frame in EVENTS_REFUSED])


DAEMON_REFUSED = [
    *each(f.e2ee(), ["sessionId", "iv", "tag", "ciphertext"], BLANK),
    *each(
        f.response_v3(),
        [
            "requestId",
            "daemonPublicKey",
            "daemonEphemeralPublicKey",
            "encryptedMetadata",
            "sessionId",
            "proof",
        ],
        NOT_TEXT,
    ),
    *each(f.response_v3(), ["epoch"], NOT_POSITIVE),
    *each(f.response_v3(), ["version"], [1, 2, 4]),
    *each(f.response_v2(), ["requestId", "daemonNonce", "sessionId", "proof"], NOT_TEXT),
    *each(f.response_v2(), ["epoch"], [None, "1", True, []]),
    *each(f.key_update(), ["sessionId"], NOT_TEXT),
    *each(f.key_update(), ["nextEpoch"], [None, "1", True]),
    *each(f.offer_response(), ["requestId"], BLANK),
    *each(f.offer_response(), ["ok"], [None, 1, "true"]),
    *each(f.offer_response(), ["daemonChannelPublicKey", "encIv", "encTag", "encCiphertext"], BLANK),
    *each({**f.offer_response(ok=False), "errorCode": "E"}, ["errorCode"], BLANK),
    *each(f.redeem_response(), ["requestId"], BLANK),
    *each(f.redeem_response(), ["ok"], [None, 1, "true", False]),
    *each(f.session_event(), ["channel"], [*BLANK, "x"]),
    *each(f.session_event(), ["event"], [1, "x", []]),
    f.init_v3(),
    f.init_v2(),
    f.offer_request(),
    f.redeem_request(),
    f.subscribe(),
    f.presence(),
    {"type": "relay_status", "code": "DAEMON_UNAVAILABLE"},
    {"type": "ack"},
]


def test_daemon_frames_refused_in_silence(world):
    daemon, client = world.pair()
    client.send(f.text(f.init_v3("k1")))
    daemon.recv_text()
    mark = world.relay.log.mark()
    before = world.relay.metrics()
    texts = [f.text(frame) for frame in DAEMON_REFUSED] + NO_OBJECT
    for text in texts:
        daemon.send(text)
    daemon.expect_silence_until(b"no answer")
    client.expect_silence_until(b"nothing passed")
    after = world.relay.metrics()
    name = "relay_frames_daemon_rejected_total"
    assert after[name] == before[name] + len(texts)
    world.relay.log.wait("daemon_frame_rejected", mark, reason="invalid_daemon_frame")
    daemon.send(f.text(f.response_v3("k1")))
    assert client.recv_text() == f.text(f.response_v3("k1"))


def test_event_frame_of_a_daemon_is_not_delivered(start):
    world = start()
    daemon = world.daemon()
    viewer = world.events_client()
    viewer.send(f.text(f.subscribe()))
    viewer.recv_text()
    daemon.send(f.text(f.session_event()))
    daemon.send(f.text(f.session_event(event=None)))
    daemon.expect_silence_until(b"routed")
    viewer.expect_silence_until(b"nothing")
    assert world.relay.metric("relay_frames_daemon_to_clients_total") == 2
    world.relay.log.wait("daemon_frame_rejected", reason="unroutable_daemon_frame")


E2EE_TEXT = f.text(f.e2ee())
PASSING = [
    E2EE_TEXT,
    " \t\r\n" + E2EE_TEXT + " \r\n\t",
    json.dumps(f.e2ee(), indent=3),
    f.text(f.e2ee()).replace('"type"', '"t\\u0079pe"'),
    f.text(f.e2ee()).replace('"e2ee"', '"\\u0065\\u0032ee"'),
    f.text(f.e2ee()).replace('"noise-ik"', '"noise\\u002dik"'),
    f.text(f.e2ee()).replace('"version":2', '"version":2.0'),
    f.text(f.e2ee()).replace('"version":2', '"version":20e-1'),
    f.text(f.e2ee()).replace('"epoch":1', '"epoch":1.0'),
    f.text(f.e2ee()).replace('"epoch":1', '"epoch":1e3'),
    f.text(f.e2ee()).replace('"seq":1', '"seq":99999999999999999999'),
    f.text(f.e2ee()).replace('"seq":1', '"seq":123456789012345678901234567890.0'),
    '{"type":"ack",' + E2EE_TEXT[1:],  # duplicate keys: the last one counts
    '{"type":{"type":1},' + E2EE_TEXT[1:],
    '{"unknown":[{},[],null,true,-0.5E+7,"\\ud800\\"\\/"],' + E2EE_TEXT[1:],
    '{"":1,"\\u0000":2,' + E2EE_TEXT[1:],
    '{"deep":' + "[" * 5000 + "]" * 5000 + "," + E2EE_TEXT[1:],
    '{"deep":' + '{"a":' * 5000 + "1" + "}" * 5000 + "," + E2EE_TEXT[1:],
    f.text(f.e2ee(ciphertext="\u200b")),  # no blank for JavaScript
    f.text(f.e2ee(ciphertext="\u0085")),
    f.text(f.e2ee(ciphertext="\\u00e4 ä \U0001f600 " + "x" * 200000)),
    f.text(f.e2ee("\u00a0 padded ")),
    f.text(f.e2ee(profile="noise-ikpsk2")),
    f.text(f.init_v3()),
    f.text(f.init_v3("")),
    f.text(f.init_v3(clientEphemeralPublicKey="", encryptedClientStatic="")),
    f.text(f.init_v3(profile="noise-ikpsk2")),
    f.text(f.init_v3(previousSessionId=17)),
    f.text(f.init_v3()).replace('"version":3', '"version":3.000'),
    f.text(f.init_v2()),
    f.text(f.init_v2(profile="noise-ikpsk2")),
]

REFUSED_TEXTS = [
    '{"ciphertext":"later wins",' + E2EE_TEXT[1:-1] + ',"ciphertext":""}',
    E2EE_TEXT[:-1] + ',"type":"ack"}',
    E2EE_TEXT[:-1] + ',"t\\u0079pe":null}',
    f.text(f.e2ee()).replace('"seq":1', '"seq":1e400'),
    f.text(f.e2ee()).replace('"seq":1', '"seq":1.0000001'),
    f.text(f.e2ee()).replace('"seq":1', '"seq":1e-1'),
    f.text(f.e2ee()).replace('"version":2', '"version":2.0000001'),
    f.text(f.e2ee()).replace('"type"', '"Type"'),
]


def test_client_frames_pass_byte_for_byte(world):
    daemon, client = world.pair()
    for text in PASSING:
        client.send(text)
        assert daemon.recv_text() == text
    client.expect_silence_until(b"no status")


def test_subtle_refusals(world):
    daemon, client = world.pair()
    refuse_all(world, client, REFUSED_TEXTS)
    daemon.expect_silence_until(b"nothing passed")


def test_pairing_frames_pass_both_ways(world):
    daemon = world.daemon()
    client = world.pairing_client()
    requests = [
        f.offer_request("p1"),
        f.offer_request("p2", ttlSeconds=30),
        f.offer_request("p3", ttlSeconds=3600),
        f.offer_request("p4", ttlSeconds=6e1),
        f.redeem_request("p5"),
        f.redeem_request("p6"),
    ]
    answers = [
        f.offer_response("p1"),
        {**f.offer_response("p2", ok=False), "errorCode": "E"},
        {"type": "relay_pairing_offer_response", "requestId": "p3", "ok": False, "errorCode": "E"},
        f.offer_response("p4", more=[]),
        f.redeem_response("p5"),
        f.redeem_response("p6", ok=False, errorCode="E"),
    ]
    for request, answer in zip(requests, answers):
        client.send(f.text(request))
        assert daemon.recv_text() == f.text(request)
        daemon.send(json.dumps(answer))
        assert client.recv_text() == json.dumps(answer)


def test_daemon_frames_pass_byte_for_byte(world):
    daemon, client = world.pair()
    for n, response in enumerate((f.response_v3, f.response_v2)):
        client.send(f.text(f.init_v3(f"k{n}")))
        daemon.recv_text()
        text = json.dumps(response(f"k{n}", f"s{n}"), indent=1)
        daemon.send(text)
        assert client.recv_text() == text
        for frame in (
            f.e2ee(f"s{n}", ciphertext="ü" * 1000),
            f.key_update(f"s{n}"),
            f.key_update(f"s{n}", nextEpoch=-1.5, reason=None),
        ):
            daemon.send(f.text(frame))
            assert client.recv_text() == f.text(frame)


def test_response_v2_takes_any_number_as_epoch(world):
    daemon, client = world.pair()
    client.send(f.text(f.init_v2("k1")))
    daemon.recv_text()
    daemon.send(f.text(f.response_v2("k1", epoch=-0.5)))
    assert client.recv_text() == f.text(f.response_v2("k1", epoch=-0.5))


def test_binary_message_arrives_as_text(world):
    daemon, client = world.pair()
    client.send_frame(ws.BINARY, f.text(f.e2ee(ciphertext="ä")))
    assert daemon.recv_text() == f.text(f.e2ee(ciphertext="ä"))


REPAIRS = [
    (b"\xff", "\ufffd"),
    (b"\xc3", "\ufffd"),
    (b"\xe2\x82", "\ufffd"),
    (b"\xf0\x9f\x98", "\ufffd"),
    (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    (b"\xc0\xaf", "\ufffd\ufffd"),
    (b"\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"),
    (b"\x80\x80", "\ufffd\ufffd"),
]


@pytest.mark.parametrize("bad, repaired", REPAIRS, ids=[bad.hex() for bad, _ in REPAIRS])
def test_binary_message_is_repaired(world, bad, repaired):
    daemon, client = world.pair()
    text = f.text(f.e2ee(ciphertext="x@y"))
    client.send_frame(ws.BINARY, text.encode().replace(b"@", bad))
    assert daemon.recv_text() == text.replace("@", repaired)


def test_fragments_arrive_as_one_frame(world):
    daemon, client = world.pair()
    text = f.text(f.e2ee(ciphertext="äöü" * 5)).encode()
    for step in (1, 7, 100):
        pieces = [text[at : at + step] for at in range(0, len(text), step)]
        for n, piece in enumerate(pieces):
            opcode = ws.TEXT if n == 0 else ws.CONTINUATION
            client.send_frame(opcode, piece, fin=n == len(pieces) - 1)
        got = daemon.recv()
        assert (got.opcode, got.fin, got.payload) == (ws.TEXT, True, text)


@pytest.mark.parametrize("size", [125, 126, 127, 65535, 65536, 299999, 300000])
def test_sizes_around_the_length_forms(world, size):
    daemon, client = world.pair()
    empty = len(f.text(f.e2ee(ciphertext="", sessionId="s")))
    frame = f.e2ee(ciphertext="c" * max(1, size - empty), sessionId="s")
    text = f.text(frame)
    text += " " * (size - len(text))
    client.send(text)
    assert daemon.recv_text() == text


def test_message_above_the_limit(world):
    for opcode in (ws.TEXT, ws.BINARY):
        before = world.relay.metric("relay_ws_frame_too_large_total")
        client = world.client()
        client.send_frame(opcode, b"x" * 300001)
        client.expect_close(1009)
        eventually(
            lambda b=before: world.relay.metric("relay_ws_frame_too_large_total") == b + 1,
            "counted",
        )


def test_fragments_above_the_limit(world):
    client = world.client()
    client.send_frame(ws.TEXT, b"x" * 200000, fin=False)
    client.send_frame(ws.CONTINUATION, b"x" * 100001)
    client.expect_close(1009)


def test_binary_message_that_grows_above_the_limit(world):
    """Every bad byte becomes three."""
    client = world.client()
    client.send_frame(ws.BINARY, b"\xff" * 150000)
    client.expect_close(1009, "frame too large")


def test_frame_sizes_are_observed(world):
    daemon, client = world.pair()
    before = world.relay.metrics()
    text = f.text(f.e2ee(ciphertext="c" * 400))
    client.send(text)
    daemon.recv_text()
    after = world.relay.metrics()
    name = "relay_frame_size_bytes"
    assert after[f"{name}_sum"] == before[f"{name}_sum"] + len(text)
    assert after[f'{name}_bucket{{le="512"}}'] == before[f'{name}_bucket{{le="512"}}']
    assert after[f'{name}_bucket{{le="1024"}}'] == before[f'{name}_bucket{{le="1024"}}'] + 1
