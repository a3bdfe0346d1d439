# SPDX-License-Identifier: Apache-2.0
"""Services that speak h2, and those with TLS of their own (spec sections 6.1, 6.4, 6.5)."""
import hashlib

import h2.errors
import pytest

from lib import forward, http1, http2, inner_tls, targets
from lib.site import Site, given_up, label_of

RETRIES = "weir_engine_http_retries_total"
BIG = bytes(range(256)) * 20000  # several windows


@pytest.fixture
def h2c(engine, request):
    """h2c(app) publishes app(peer, stream_id, request) behind cleartext h2."""
    label = label_of(request.node.name)

    def publish(app=None, prepare=None):
        return Site(engine, label, app and http2.service(app, prepare), http_version="h2c")

    return publish


def told(peer, stream_id, request):
    http2.answer(peer, stream_id, f"{request[':method']} {request[':path']}".encode())


def summed(peer, stream_id, request):
    http2.answer(peer, stream_id, hashlib.sha256(request.body).hexdigest().encode())


# ---- Requests


def test_one_stream_carries_a_visitors_requests(h2c):
    seen = []

    def app(peer, stream_id, request):
        seen.append(request.fields)
        told(peer, stream_id, request)

    demo = h2c(app)
    visitor = demo.visitor()
    for i in range(3):
        assert demo.ask(visitor, f"/{i}?q=%20", fields=["X-Mixed: Yes"]).body == b"GET /%d?q=%%20" % i
    assert demo.streams == 1
    fields = dict(seen[0])
    assert fields[":scheme"] == "http"
    assert fields[":authority"] == demo.host
    assert fields["x-mixed"] == "Yes"
    assert fields["x-forwarded-proto"] == "https"
    assert not {"host", "connection", "transfer-encoding"} & set(fields)


def test_requests_that_come_together_share_the_stream_that_opens(h2c):
    demo = h2c(told)
    visitor = http2.Visitor(demo)
    streams = [visitor.ask(f"/{i}") for i in range(20)]
    assert [bytes(visitor.answer(s).body) for s in streams] == [b"GET /%d" % i for i in range(20)]
    assert demo.streams == 1


def test_another_visitor_gets_a_stream_of_its_own(h2c):
    demo = h2c(told)
    assert demo.get().status == demo.get().status == 200
    assert demo.streams == 2


def test_bodies_larger_than_the_windows(h2c):
    demo = h2c(lambda peer, s, r: http2.answer(peer, s, bytes(r.body)))
    visitor = demo.visitor()
    for _ in range(2):
        assert demo.ask(visitor, "/", "POST", body=BIG, timeout=60).body == BIG
    assert demo.streams == 1


def test_a_body_of_unknown_length_with_trailers(h2c):
    seen = []

    def app(peer, stream_id, request):
        seen.append((bytes(request.body), request.trailers))
        summed(peer, stream_id, request)

    demo = h2c(app)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", "POST", ["Transfer-Encoding: chunked"]))
    visitor.send(http1.chunk(b"abc") + http1.chunk(b"def") + b"0\r\nX-Check: 6\r\n\r\n")
    assert http1.read_answer(visitor).status == 200
    assert seen == [(b"abcdef", [("x-check", "6")])]


def test_a_call_like_those_of_grpc(h2c):
    """Messages both ways while both sides are open, and the status in the trailers."""

    def handler(stream):
        peer = http2.Peer(stream, client=False)
        while 1 not in peer.messages:
            peer.take()
        call = peer.messages[1]
        assert call["te"] == "trailers"
        peer.h2.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
        peer.flush()
        sent = 0
        while not call.ended:
            if len(call.body) > sent:
                peer.h2.send_data(1, bytes(call.body[sent:]).upper())
                peer.flush()
                sent = len(call.body)
            peer.take()
        peer.h2.send_headers(1, [("grpc-status", "0"), ("grpc-message", "fine")], end_stream=True)
        peer.flush()
        stream.recv_all(20)

    demo = h2c()
    demo.serve(handler)
    visitor = http2.Visitor(demo)
    call = visitor.ask("/pkg.Service/Method", "POST",
                       [("te", "trailers"), ("content-type", "application/grpc")], end=False)
    for i, word in enumerate([b"one", b"two", b"three"]):
        visitor.send_body(call, word, end=False)
        expected = b"".join([b"ONE", b"TWO", b"THREE"][: i + 1])
        while bytes(visitor.messages.get(call, http2.Stream()).body) != expected:
            assert visitor.take() is not None
    visitor.h2.end_stream(call)
    visitor.flush()
    answer = visitor.answer(call)
    assert answer.trailers == [("grpc-status", "0"), ("grpc-message", "fine")]
    assert answer.reset is None


def test_answers_without_bodies(h2c):
    def app(peer, stream_id, request):
        status = request[":path"][1:]
        peer.h2.send_headers(stream_id, [(":status", status), ("content-length", "7")]
                             if request[":method"] == "HEAD" else [(":status", status)],
                             end_stream=True)

    demo = h2c(app)
    visitor = demo.visitor()
    assert demo.ask(visitor, "/204").status == 204
    assert demo.ask(visitor, "/304").status == 304
    assert demo.ask(visitor, "/200", "HEAD")["content-length"] == "7"
    assert demo.ask(visitor, "/200").body == b""


def test_informational_answers(h2c):
    def app(peer, stream_id, request):
        peer.h2.send_headers(stream_id, [(":status", "103"), ("link", "</a.css>")])
        told(peer, stream_id, request)

    message = h2c(app).get()
    assert [part.status for part in message.interim] == [103]
    assert message.body == b"GET /"


def test_a_slow_answer_does_not_hold_another(h2c):
    def app(peer, stream_id, request):
        if request[":path"] == "/slow":
            peer.h2.send_headers(stream_id, [(":status", "200")])
            sent = 0
            while sent < 200_000 and peer.h2.local_flow_control_window(stream_id) > 0:
                sent += 10_000
                peer.h2.send_data(stream_id, b"s" * 10_000)
                peer.flush()
        else:
            told(peer, stream_id, request)

    demo = h2c(app)
    visitor = http2.Visitor(demo)
    visitor.refilling = False  # the first 65,535 bytes fill the visitor's window
    slow = visitor.ask("/slow")
    while len(visitor.messages.get(slow, http2.Stream()).body) < 65535:
        assert visitor.take() is not None
    visitor.h2.increment_flow_control_window(1000)  # of the connection, for others
    visitor.flush()
    assert visitor.get("/fast").body == b"GET /fast"
    assert demo.streams == 1


# ---- What goes wrong


def on_first_stream(first):
    """first(peer, stream_id) for requests of the first proxied stream, answers on all others."""
    connections = []

    def app(peer, stream_id, request):
        if not connections:
            connections.append(peer)
        if connections[0] is peer:
            first(peer, stream_id)
        else:
            told(peer, stream_id, request)

    return app


@pytest.mark.parametrize("method,path", [("GET", "/g"), ("POST", "/p")])
def test_a_refused_request_is_sent_again(engine, h2c, method, path):
    demo = h2c(on_first_stream(
        lambda peer, s: peer.h2.reset_stream(s, h2.errors.ErrorCodes.REFUSED_STREAM)))
    before = engine.metrics()[RETRIES]
    assert demo.get(path, method).body == f"{method} {path}".encode()
    assert demo.streams == 2
    assert engine.metrics()[RETRIES] - before == 1


def test_a_request_behind_goaway_is_sent_again(h2c):
    demo = h2c(on_first_stream(lambda peer, s: peer.h2.close_connection(last_stream_id=0)))
    assert demo.get("/x").body == b"GET /x"
    assert demo.streams == 2


def test_a_request_refused_twice_is_an_error(h2c):
    demo = h2c(lambda peer, s, r: peer.h2.reset_stream(s, h2.errors.ErrorCodes.REFUSED_STREAM))
    message = demo.get()
    assert (message.status, message["x-weir-error"]) == (502, "upstream_closed")
    assert demo.streams == 2


def test_a_request_that_was_looked_at_is_not_sent_again(h2c):
    demo = h2c(lambda peer, s, r: peer.h2.reset_stream(s, h2.errors.ErrorCodes.INTERNAL_ERROR))
    message = demo.get()
    assert (message.status, message["x-weir-error"]) == (502, "upstream_closed")
    assert demo.streams == 1


def test_an_answer_that_is_reset_is_cut(h2c):
    def app(peer, stream_id, request):
        peer.h2.send_headers(stream_id, [(":status", "200"), ("content-length", "100")])
        peer.h2.send_data(stream_id, b"some")
        peer.h2.reset_stream(stream_id, h2.errors.ErrorCodes.INTERNAL_ERROR)

    demo = h2c(app)
    message = demo.get()
    assert (message.status, message.complete) == (200, False)
    assert http2.Visitor(demo).get().reset == h2.errors.ErrorCodes.INTERNAL_ERROR


def test_headers_without_end(h2c):
    demo = h2c(lambda peer, s, r: peer.h2.send_headers(
        s, [(":status", "200"), *((f"x-{i}", "y" * 1000) for i in range(40))], end_stream=True))
    message = demo.get()
    assert (message.status, message["x-weir-error"]) == (502, "upstream_bad")


def test_a_service_that_does_not_speak_h2(h2c):
    demo = h2c()
    demo.serve(lambda stream: (stream.recv_record(), stream.send(b"HTTP/1.1 400 Bad\r\n\r\n"),
                               stream.recv_all()))
    message = demo.get()
    assert (message.status, message["x-weir-error"]) == (502, "upstream_bad")


def test_a_service_that_does_not_answer(impatient):
    silent = http2.service(lambda peer, s, r: None)
    given_up(Site(impatient, "silent", silent, http_version="h2c"))


def test_a_visitor_that_leaves_resets_its_request(h2c):
    seen = []

    def handler(stream):
        peer = http2.Peer(stream, client=False)
        while 1 not in peer.messages:
            peer.take()
        seen.append("asked")
        while peer.messages[1].reset is None:
            if peer.take(10) is None:
                break
        seen.append("reset" if peer.messages[1].reset is not None else "gone")
        if 3 not in peer.messages:
            peer.take(10)
        http2.answer(peer, 3, b"later")
        stream.recv_all(10)

    demo = h2c()
    demo.serve(handler)
    visitor = http2.Visitor(demo)
    first = visitor.ask("/1")
    while not seen:
        visitor.pipe.quiet(0.02)
    visitor.h2.reset_stream(first)
    visitor.flush()
    assert visitor.get("/2").body == b"later"
    assert seen == ["asked", "reset"]


def test_a_websocket_to_an_h2c_service_is_http1(h2c):
    def handler(stream):
        head = http1.read_head(stream)
        assert head.start == "GET /ws HTTP/1.1"
        stream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                    b"Upgrade: websocket\r\n\r\n")
        stream.send(stream.recv_record().upper())
        stream.recv_all(10)

    demo = h2c()
    demo.serve(handler)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/ws", fields=[
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]))
    assert http1.read_answer(visitor).status == 101
    visitor.send(b"abc")
    assert visitor.recv_exact(3) == b"ABC"


# ---- TLS of the service's own


@pytest.fixture
def encrypted(engine, authority, request):
    """encrypted(handler, alpn) publishes handler(session) behind TLS inside the stream."""
    label = label_of(request.node.name)
    cert, key = authority.issue("inside", hosts=["not.the.name"])
    sessions = []

    def publish(handler, alpn=()):
        def handle(stream):
            session = inner_tls.Server(stream, cert, key, alpn)
            sessions.append(session)
            handler(session)

        site = Site(engine, label, handle, upstream_tls=True)
        site.sessions = sessions
        return site

    return publish


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)], ids=["no-alpn", "http1"])
def test_a_service_with_a_certificate_of_its_own(encrypted, alpn):
    def app(message, session):
        session.send(http1.answer(message.body or message.target.encode()))

    demo = encrypted(http1.service(app), alpn)
    visitor = demo.visitor()
    assert demo.ask(visitor, "/inside").body == b"/inside"
    assert demo.ask(visitor, "/", "POST", body=BIG, timeout=60).body == BIG
    assert demo.streams == 1
    assert demo.sessions[0].server_name == demo.host


def test_a_service_that_chooses_h2(encrypted):
    seen = []

    def app(peer, stream_id, request):
        seen.append(request[":scheme"])
        http2.answer(peer, stream_id, bytes(request.body))

    demo = encrypted(http2.service(app), ("h2", "http/1.1"))
    visitor = demo.visitor()
    for _ in range(2):
        assert demo.ask(visitor, "/", "POST", body=BIG, timeout=60).body == BIG
    assert seen == ["https", "https"]
    assert demo.streams == 1


def test_an_upgrade_offers_http1_only(encrypted):
    def handler(session):
        assert session.protocol == "http/1.1"
        http1.read_head(session)
        session.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                     b"Upgrade: chat\r\n\r\n" + b"in")
        session.recv_record()
        session.send(b"out")
        session.recv_record()

    demo = encrypted(handler, ("h2", "http/1.1"))
    visitor = demo.visitor()
    assert demo.ask(visitor, fields=["Connection: Upgrade", "Upgrade: chat"]).status == 101
    assert visitor.recv_exact(2) == b"in"
    visitor.send(b"x")
    assert visitor.recv_exact(3) == b"out"


def test_a_body_until_the_session_ends(encrypted):
    def handler(session):
        head = http1.read_head(session)
        session.send(b"HTTP/1.1 200 OK\r\n\r\nall there is")
        if head.target == "/good":
            session.send_notify()
            session.recv_record()

    demo = encrypted(handler)
    assert (demo.get("/good").body, demo.get("/good").complete) == (b"all there is", True)
    assert demo.get("/cut").complete is False


def test_a_service_without_tls(engine):
    demo = Site(engine, "plain-inside", upstream_tls=True)
    demo.serve(lambda stream: (stream.recv_record(), stream.send(b"HTTP/1.1 400 Bad\r\n\r\n"),
                               stream.recv_all()))
    message = demo.get()
    assert (message.status, message["x-weir-error"]) == (502, "upstream_bad")


# ---- Services that take few requests at once


@pytest.fixture(scope="module")
def narrow():
    """nghttpd refuses what is above two requests at once. Bodies come back."""
    port = targets.free_port()
    options = ["--no-tls", "-a", "127.0.0.1", "-m", "2", "--echo-upload"]
    server = targets.Program(["nghttpd", *options, port], port)
    yield server.port
    server.stop()


def test_more_requests_at_once_than_the_service_takes(engine, narrow):
    """One goes out before the service has said how many it takes; those above go on other streams."""
    demo = Site(engine, "narrow", forward.to(narrow), http_version="h2c")
    visitor = http2.Visitor(demo)
    visitor.take()
    streams = [visitor.ask("/", "POST", end=False) for _ in range(12)]
    for i, stream in enumerate(streams):
        visitor.send_body(stream, b"body %d" % i)
    answers = [visitor.answer(stream) for stream in streams]
    assert [answer.status for answer in answers] == [200] * 12
    assert [bytes(answer.body) for answer in answers] == [b"body %d" % i for i in range(12)]


def test_a_service_that_never_says_how_many_it_takes(impatient):
    """It speaks no h2 at all; who waits behind the first is told as well."""
    demo = Site(impatient, "mute", lambda stream: stream.recv_all(20), http_version="h2c")
    visitor = http2.Visitor(demo)
    visitor.take()
    streams = [visitor.ask(f"/{i}") for i in range(3)]
    assert {visitor.answer(stream).status for stream in streams} == {504}
