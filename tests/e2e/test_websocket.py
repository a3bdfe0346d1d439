# SPDX-License-Identifier: Apache-2.0
"""What RFC 6455 sections 5 and 7 make a server enforce, over the wire and at split points."""
import socket
import struct

import pytest

from lib import frames as f
from lib import ws
from lib.ws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame

RELAY_ENV = {
    "RELAY_RUNTIME_RATE_PER_MINUTE": "1000000",
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": "1000000",
    "RELAY_MESSAGE_TIMEOUT_MS": "20000",
    "RELAY_MAX_FRAME_BYTES": "100000",
}

TEXT_FRAME = f.text(f.e2ee(ciphertext="äöü€\U0001f600")).encode()

PROTOCOL_ERRORS = [
    ("not masked", frame(TEXT, b"{}", key=None)),
    ("ping not masked", frame(PING, b"", key=None)),
    ("close not masked", frame(CLOSE, close_payload(1000), key=None)),
    ("rsv1", frame(TEXT, b"{}", rsv=4)),
    ("rsv2", frame(TEXT, b"{}", rsv=2)),
    ("rsv3", frame(TEXT, b"{}", rsv=1)),
    ("rsv1 on a ping", frame(PING, rsv=4)),
    ("rsv1 on a continuation", frame(TEXT, b"{", fin=False) + frame(CONTINUATION, b"}", rsv=4)),
    *((f"opcode {n}", frame(n)) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    ("continuation of nothing", frame(CONTINUATION, b"{}")),
    ("continuation of nothing, not final", frame(CONTINUATION, b"{}", fin=False)),
    ("continuation after a whole message", frame(TEXT, b"{}") + frame(CONTINUATION, b"{}")),
    ("text within a fragmented message", frame(TEXT, b"{", fin=False) + frame(TEXT, b"{}")),
    ("binary within a fragmented message", frame(TEXT, b"{", fin=False) + frame(BINARY, b"{}")),
    ("ping in fragments", frame(PING, b"x", fin=False)),
    ("pong in fragments", frame(PONG, b"x", fin=False)),
    ("close in fragments", frame(CLOSE, close_payload(1000), fin=False)),
    ("ping too long", frame(PING, b"x" * 126)),
    ("pong too long", frame(PONG, b"x" * 126)),
    ("close too long", frame(CLOSE, close_payload(1000, "x" * 124))),
    ("ping with a long length form", frame(PING, b"x", length=16)),
    ("16 bits not shortest", frame(TEXT, b"x" * 125, length=16)),
    ("64 bits not shortest", frame(TEXT, b"x" * 125, length=64)),
    ("64 bits, 16 would do", frame(TEXT, b"x" * 65535, length=64)),
    ("top bit of 64", b"\x81\xff" + struct.pack(">Q", 1 << 63) + ws.MASK),
    ("close of one byte", frame(CLOSE, b"\x03")),
    *(
        (f"close code {code}", frame(CLOSE, close_payload(code)))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
]


@pytest.mark.parametrize("data", [d for _, d in PROTOCOL_ERRORS], ids=[n for n, _ in PROTOCOL_ERRORS])
def test_protocol_error(world, data):
    client = world.client()
    client.send_raw(data)
    got = client.recv()
    while got.opcode == TEXT:  # the answer to a whole message that came before
        assert got.payload.decode() == f.invalid_frame_status(world.workspace)
        got = client.recv()
    assert (got.opcode, got.payload) == (CLOSE, close_payload(1002))


def test_protocol_error_ends_the_connection_even_of_a_peer_that_stays(world):
    client = world.client()
    client.send_raw(frame(TEXT, b"{}", rsv=1) + frame(TEXT, TEXT_FRAME))
    assert client.recv_frame().payload == close_payload(1002)
    assert client.read_to_end() == b""


@pytest.mark.parametrize(
    "data",
    [d for n, d in PROTOCOL_ERRORS if len(d) < 40],
    ids=[n for n, d in PROTOCOL_ERRORS if len(d) < 40],
)
def test_protocol_error_byte_by_byte(world, data):
    client = world.client()
    try:
        client.send_split(data)
    except OSError:
        pass  # refused before its end
    got = client.recv()
    while got.opcode == TEXT:
        got = client.recv()
    assert (got.opcode, got.payload) == (CLOSE, close_payload(1002))


def test_protocol_error_is_logged(world):
    mark = world.relay.log.mark()
    world.client().send_raw(frame(TEXT, b"{}", rsv=1))
    world.relay.log.wait("client_ws_error", mark)
    world.daemon().send_raw(frame(TEXT, b"{}", rsv=1))
    world.relay.log.wait("daemon_ws_error", mark)


CLOSES = [
    (b"", b""),
    (close_payload(1000), close_payload(1000)),
    (close_payload(1001, "ä" * 61), close_payload(1001)),
    *((close_payload(c), close_payload(c)) for c in (1002, 1003, 1007, 1008, 1009, 1010, 1011)),
    *((close_payload(c), close_payload(c)) for c in (1012, 1013, 1014, 3000, 3999, 4000, 4999)),
]


@pytest.mark.parametrize("payload, code", CLOSES, ids=[p[:2].hex() or "none" for p, _ in CLOSES])
def test_close_is_answered(world, payload, code):
    client = world.client()
    client.send_frame(CLOSE, payload)
    got = client.recv_frame()
    assert got.opcode == CLOSE
    assert got.payload[:2] == code[:2]
    assert client.read_to_end() == b""


def test_close_reason_must_be_utf8(world):
    client = world.client()
    client.send_frame(CLOSE, close_payload(1000) + b"\xff")
    got = client.recv_frame()
    assert (got.opcode, got.payload) == (CLOSE, close_payload(1007))


def test_nothing_after_a_close_is_looked_at(world):
    daemon, client = world.pair()
    client.send_raw(frame(CLOSE, close_payload(1000)) + frame(TEXT, TEXT_FRAME))
    assert client.recv_frame().opcode == CLOSE
    assert client.read_to_end() == b""
    daemon.expect_silence_until(b"nothing passed")


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff" * 62, b"y" * 125])
def test_ping_is_answered_with_its_payload(world, payload):
    client = world.client()
    client.send_frame(PING, payload)
    got = client.recv_frame()
    assert (got.opcode, got.fin, got.payload) == (PONG, True, payload)


def test_pings_are_answered_in_order(world):
    client = world.client()
    client.send_raw(b"".join(frame(PING, bytes([n])) for n in range(50)))
    assert [client.recv_frame().payload[0] for n in range(50)] == list(range(50))


def test_unsolicited_pong_is_ignored(world):
    client = world.client()
    client.send_frame(PONG, b"nobody asked")
    client.expect_silence_until(b"still here")


def test_control_frames_between_fragments(world):
    daemon, client = world.pair()
    for at in range(0, len(TEXT_FRAME), 20):
        opcode = TEXT if at == 0 else CONTINUATION
        client.send_frame(opcode, TEXT_FRAME[at : at + 20], fin=False)
        client.send_frame(PING, b"between")
        got = client.recv_frame()
        assert (got.opcode, got.payload) == (PONG, b"between")
        client.send_frame(PONG)
    client.send_frame(CONTINUATION)
    assert daemon.recv().payload == TEXT_FRAME


def test_empty_fragments(world):
    daemon, client = world.pair()
    client.send_raw(
        frame(TEXT, b"", fin=False)
        + frame(CONTINUATION, b"", fin=False) * 100
        + frame(CONTINUATION, TEXT_FRAME, fin=False)
        + frame(CONTINUATION, b"")
    )
    assert daemon.recv().payload == TEXT_FRAME


def test_fragments_at_every_byte(world):
    daemon, client = world.pair()
    for at in range(len(TEXT_FRAME) + 1):
        client.send_raw(
            frame(TEXT, TEXT_FRAME[:at], fin=False) + frame(CONTINUATION, TEXT_FRAME[at:])
        )
        assert daemon.recv().payload == TEXT_FRAME


def test_frame_split_at_every_byte(world):
    """Two segments, and an answered ping between two tries, so that each is read on its own."""
    daemon, client = world.pair()
    data = frame(TEXT, TEXT_FRAME)
    for at in range(1, len(data)):
        client.send_raw(frame(PING, b"split") + data[:at])
        assert client.recv_frame().payload == b"split"
        client.send_raw(data[at:])
        assert daemon.recv().payload == TEXT_FRAME


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"abcd"])
def test_any_mask(world, key):
    daemon, client = world.pair()
    for pad in range(9):  # every alignment
        text = TEXT_FRAME + b" " * pad
        client.send_frame(TEXT, text, key=key)
        assert daemon.recv().payload == text


def test_many_messages_in_one_segment(world):
    daemon, client = world.pair()
    client.send_raw(frame(TEXT, TEXT_FRAME) * 100)
    for _ in range(100):
        assert daemon.recv().payload == TEXT_FRAME


BAD_UTF8 = [
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc3",
    b"\xc3(",
    b"\xe0\x80\x80",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
]


@pytest.mark.parametrize("bad", BAD_UTF8, ids=[b.hex() for b in BAD_UTF8])
def test_text_must_be_utf8(world, bad):
    daemon = world.daemon()
    text = b'{"a":"' + bad + b'"}'
    whole = world.client()
    whole.send_frame(TEXT, text)
    whole.expect_close(1007)
    for at in range(6, 6 + len(bad) + 1):
        client = world.client()
        client.send_frame(TEXT, text[:at], fin=False)
        try:
            client.send_frame(CONTINUATION, text[at:])
        except OSError:
            pass  # known to be bad already
        client.expect_close(1007)
    daemon.expect_silence_until(b"nothing passed")


@pytest.mark.parametrize("good", ["ä", "€", "\U0001f600", "\ud7ff\ue000", "\U0010ffff", "\u0080"])
def test_utf8_split_at_every_byte(world, good):
    daemon, client = world.pair()
    text = f.text(f.e2ee(ciphertext=good)).encode()
    begin = text.index(good.encode())
    for at in range(begin, begin + len(good.encode()) + 1):
        client.send_frame(TEXT, text[:at], fin=False)
        client.send_frame(CONTINUATION, text[at:])
        assert daemon.recv().payload == text


def test_message_that_ends_within_a_character(world):
    client = world.client()
    client.send_frame(TEXT, b'{"a":"\xf0\x9f', fin=False)
    client.send_frame(CONTINUATION, b"")
    client.expect_close(1007)


def test_length_above_the_limit_is_refused_from_the_head_alone(world):
    for size in (100001, 1 << 32, (1 << 63) - 1):
        client = world.client()
        client.send_raw(b"\x81\xff" + struct.pack(">Q", size) + ws.MASK)
        client.expect_close(1009)


def test_message_not_complete_in_time(start):
    world = start(RELAY_MESSAGE_TIMEOUT_MS="150")
    client = world.client()
    client.send_raw(frame(TEXT, TEXT_FRAME)[:-1])
    client.read_to_end()
    world.relay.log.wait("ws_terminated")
    fragmented = world.client()
    fragmented.send_frame(TEXT, b"{", fin=False)
    fragmented.read_to_end()


def test_half_closed_peer(world):
    """FIN without a close frame ends the connection."""
    mark = world.relay.log.mark()
    client = world.client(clientId="c_half")
    client.sock.shutdown(socket.SHUT_WR)
    client.read_to_end()
    world.relay.log.wait("client_disconnected", mark, clientId="c_half")
