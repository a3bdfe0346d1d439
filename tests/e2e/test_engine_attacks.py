# SPDX-License-Identifier: Apache-2.0
"""What hostile visitors, services, agents and readers of the API do to an engine."""
import struct
import time

import pytest

from lib import h2_visitor, http1, http2
from lib.site import Site, label_of
from lib.wait import eventually

ENGINE_SETTINGS = {"timeouts": {"stream_request_seconds": 2}}

DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE = 0, 1, 3, 4, 8
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@pytest.fixture
def site(engine, request):
    """site(handler, ...) publishes a service."""

    def publish(handler=None, **properties):
        return Site(engine, label_of(request.node.name), handler, **properties)

    return publish


# ---- Services of h2


def h2_words(words):
    """A service of h2 that answers the first request with these bytes, whatever they are."""

    def handle(stream):
        stream.send(frame(SETTINGS, 0, 0))
        peer = b""
        while frame(HEADERS, 0, 1)[3:4] not in peer[24:] or len(peer) < 60:
            peer += stream.recv_record(10)
        stream.send(words)
        stream.recv_all(20)

    return handle


@pytest.mark.parametrize(
    "status, length", [("200", None), ("200", "7"), ("204", None), ("304", None), ("304", "7")]
)
def test_h2_answers_to_head_that_end_by_an_empty_frame(site, status, length):
    def app(peer, stream_id, request):
        fields = [(":status", status)] + ([("content-length", length)] if length else [])
        peer.h2.send_headers(stream_id, fields)
        peer.flush()
        peer.h2.end_stream(stream_id)

    demo = site(http2.service(app), http_version="h2c")
    visitor = demo.visitor()
    for _ in range(2):
        answer = demo.ask(visitor, "/", "HEAD")
        assert answer.status == int(status)
        assert answer["transfer-encoding"] is None
    second = http2.Visitor(demo)
    assert second.get("/", method="HEAD").status == int(status)


@pytest.mark.parametrize("status", ["204", "304"])
def test_h2_answers_without_a_body_that_end_by_an_empty_frame(site, status):
    def app(peer, stream_id, request):
        peer.h2.send_headers(stream_id, [(":status", status)])
        peer.flush()
        peer.h2.end_stream(stream_id)

    demo = site(http2.service(app), http_version="h2c")
    visitor = demo.visitor()
    for _ in range(2):
        answer = demo.ask(visitor, "/", "GET")
        assert answer.status == int(status)
        assert answer["transfer-encoding"] is None


@pytest.mark.parametrize(
    "words",
    [
        frame(DATA, 0, 1, b"before any head"),
        frame(DATA, END_STREAM, 1),
        frame(DATA, END_STREAM, 1, b"before any head"),
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03100") + frame(DATA, END_STREAM, 1, b"early"),
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03101"),
        frame(HEADERS, END_HEADERS, 1, b"\x08\x03000"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x08\x03103"),
        frame(HEADERS, END_HEADERS, 1, b"\x88") + frame(HEADERS, END_HEADERS, 1, b"\x88"),
        frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"),
        frame(RST_STREAM, 0, 1, b"\0\0\0\0"),
    ],
)
def test_h2_services_out_of_order(site, words):
    demo = site(h2_words(words), http_version="h2c")
    for visitor in (demo.visitor(),):
        try:
            answer = demo.ask(visitor, "/")
            print("STATUS", answer.status, answer["x-weir-error"])
            assert answer.status in (200, 502, 504)
        except EOFError:
            pass
    second = http2.Visitor(demo)
    second.get("/")
    demo.engine.check_sanitizers()
