# SPDX-License-Identifier: Apache-2.0
"""Whoever falls silent in the middle of a body is cut after limits.body_idle_seconds, in either
direction and in every combination of versions; whoever is only slow is not (spec section 6.9)."""
import time

import pytest

from lib import h2_visitor, http1, http2
from lib.site import Site, label_of
from lib.wait import eventually

ENGINE_SETTINGS = {"limits": {"body_idle_seconds": 2}}
SLOW_S = 0.4  # between the bytes of somebody who is only slow
PIECES = 6  # of his: together longer than the limit

pytestmark = pytest.mark.parametrize("version", ["http/1.1", "h2c"])


@pytest.fixture
def site(engine, request, version):
    def publish(handler):
        return Site(engine, label_of(request.node.name), handler, http_version=version)

    return publish


def taken(seen):
    """A service, of either version, that only listens: how much, and how it was told the end."""

    def h1(stream):
        seen["head"] = http1.read_head(stream, 10)
        seen["bytes"] = len(stream.recv_all(10))
        seen["ended"] = stream.ended

    def h2(stream):
        peer = http2.Peer(stream, client=False)
        while "ended" not in seen:
            for event in peer.take(10) or []:
                if type(event).__name__ == "StreamReset":
                    seen["ended"] = "reset"
        stream.recv_all(10)

    return {"http/1.1": h1, "h2c": h2}


def test_a_visitor_who_stops_in_his_body(site, version):
    seen = {}
    demo = site(taken(seen)[version])
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, method="POST", fields=["Content-Length: 100"]) + b"part")
    message = http1.read_answer(visitor)
    assert (message.status, message["x-weir-error"]) == (408, "request_timeout")
    assert message["connection"] == "close"
    assert visitor.recv_all() == b""
    assert eventually(lambda: seen.get("ended"), "the service is told") == "reset"


def test_a_visitor_of_h2_who_stops_in_his_body(site, version):
    seen = {}
    demo = site(taken(seen)[version])
    visitor = h2_visitor.Visitor(demo.engine, demo.host)
    answer = visitor.finish(visitor.request(demo.host, "/", "POST", body=b"part", end=False))
    assert (answer.status, answer.headers["x-weir-error"]) == (408, "request_timeout")
    assert eventually(lambda: seen.get("ended"), "the service is told") == "reset"
    assert not visitor.closed


def half(stops):
    """A service, of either version, that says a part of its answer; what it does then is stops()."""

    def h1(stream):
        http1.read_head(stream, 10)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        stops(stream.send)
        stream.recv_all(10)

    def h2(stream):
        peer = http2.Peer(stream, client=False)
        while 1 not in peer.messages:
            peer.take(10)
        peer.h2.send_headers(1, [(":status", "200"), ("content-length", "100")])
        peer.h2.send_data(1, b"part")
        peer.flush()

        def send(data):
            peer.h2.send_data(1, data)
            peer.flush()

        stops(send)
        stream.recv_all(10)

    return {"http/1.1": h1, "h2c": h2}


def test_a_service_that_stops_in_its_answer(site, version):
    demo = site(half(lambda send: None)[version])
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    message = http1.read_head(visitor)
    assert message.status == 200 and visitor.recv_exact(4) == b"part"
    assert visitor.recv_all(8) == b"" and visitor.ended in ("fin", "reset")  # no orderly end


def test_a_service_that_stops_in_its_answer_to_h2(site, version):
    demo = site(half(lambda send: None)[version])
    visitor = h2_visitor.Visitor(demo.engine, demo.host)
    answer = visitor.finish(visitor.request(demo.host))
    assert (answer.status, answer.body, answer.ended) == (200, b"part", False)
    assert answer.reset is not None


def test_a_visitor_who_takes_nothing(site, version):
    demo = site(half(lambda send: None)[version])
    visitor = h2_visitor.Visitor(demo.engine, demo.host, window=0)
    answer = visitor.finish(visitor.request(demo.host))
    assert (answer.status, answer.body, answer.ended) == (200, b"", False)
    assert answer.reset is not None


def slowly(send):
    for _ in range(PIECES):
        time.sleep(SLOW_S)  # that is what is tested
        send(b"p")


def test_who_is_slow_is_not_cut(site, version):
    demo = site(half(slowly)[version])
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, method="POST", fields=["Content-Length: 10"]))
    slowly(visitor.send)
    visitor.send(b"done")
    assert http1.read_head(visitor).status == 200
    assert visitor.recv_exact(4 + PIECES) == b"part" + PIECES * b"p"


def test_who_is_upgraded_may_be_silent(site, version):
    def handle(stream):
        http1.read_head(stream, 10)
        stream.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        )
        stream.send(stream.recv_exact(4, 10))

    demo = site(handle)
    visitor = demo.visitor()
    fields = ["Connection: Upgrade", "Upgrade: x"]
    visitor.send(http1.request(demo.host, fields=fields))
    assert http1.read_head(visitor).status == 101
    assert visitor.quiet(2.5)
    visitor.send(b"word")
    assert visitor.recv_exact(4) == b"word"
