# SPDX-License-Identifier: Apache-2.0
"""What hostile visitors, services, agents and readers of the API do to an engine."""
import contextlib
import functools
import os
import resource
import socket
import struct
import subprocess
import threading

import h2.events
import pytest

from lib import h2_visitor, http1, http2
from lib.agent import Agent
from lib.site import Site, label_of
from lib.wait import eventually

ENGINE_SETTINGS = {
    "timeouts": {"stream_request_seconds": 10},
    "limits": {"buffered_bytes": 8 << 20},  # of two workers
}

DATA, HEADERS, RST_STREAM, WINDOW_UPDATE = 0, 1, 3, 8
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
        peer = http2.Peer(stream, client=False)
        while 1 not in peer.messages:
            peer.take(10)
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
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    assert http1.read_answer(visitor).status in (200, 502)
    assert http2.Visitor(demo).get("/").fields


# ---- Visitors of h2


@pytest.mark.parametrize(
    "words",
    [
        frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 100,
        frame(RST_STREAM, 0, 1, struct.pack(">I", 8)) * 100,
        frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88" + b"\xbe" * 16000),  # of the table
    ],
    ids=["windows", "resets", "heads"],
)
def test_h2_services_that_say_nothing_of_use(site, words):
    ended = threading.Event()
    x_large = b"\x40\x01x\x7f\xbd\x1d" + b"y" * 3900  # goes to the table of fields

    def handle(stream):
        stream.recv_record(30)
        stream.send(frame(4, 0, 0) + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88" + x_large))
        with contextlib.suppress(OSError):  # the end that is waited for
            while True:
                stream.send(words)
        ended.set()

    demo = site(handle, http_version="h2c")
    visitor = demo.visitor()
    assert demo.ask(visitor).status == 200
    assert ended.wait(60)
    visitor.close()


def test_many_cookies_in_a_field_each(site):
    """As browsers send them on h2 (RFC 9113 section 8.2.3)."""
    demo = site(http1.service(lambda m, s: s.send(http1.answer((m["cookie"] or "").encode()))))
    visitor = http2.Visitor(demo)
    crumbs = [f"name-{i}={'v' * 150}" for i in range(60)]
    answer = visitor.get("/", fields=[("cookie", crumb) for crumb in crumbs])
    assert (answer.status, bytes(answer.body).decode()) == (200, "; ".join(crumbs))


@pytest.mark.parametrize("version", ["http/1.1", "h2c"])
def test_h2_trailers_that_frame_route_or_authenticate_do_not_travel(site, version):
    seen = []

    def app1(message, stream):
        seen.append(message.trailers)
        stream.send(http1.answer(b""))

    def app2(peer, stream_id, request):
        seen.append(request.trailers)
        http2.answer(peer, stream_id)

    handler = http1.service(app1) if version == "http/1.1" else http2.service(app2)
    demo = site(handler, http_version=version)
    visitor = h2_visitor.Visitor(demo.engine, demo.host)
    stream = visitor.request(demo.host, "/", "POST", end=False)
    visitor.send(stream, b"body")
    visitor.h2.send_headers(
        stream,
        [("content-length", "4"), ("x-forwarded-for", "10.0.0.1"), ("host", "other"),
         ("authorization", "Bearer x"), ("x-check", "fine"), ("forwarded", "for=x"),
         ("x-real-ip", "10.0.0.1")],
        end_stream=True,
    )
    visitor.flush()
    assert visitor.finish(stream).status == 200
    assert seen == [[("x-check", "fine")]]


def test_resets_that_the_engine_is_made_to_send_are_counted(site):
    """Each request is ended by a frame that makes the engine itself reset it."""
    demo = site(lambda stream: stream.recv_all(20))
    visitor = h2_visitor.Visitor(demo.engine, demo.host)
    before = demo.engine.metrics()["weir_engine_h2_floods_total"]
    for _ in range(600):
        if visitor.goaway is not None or visitor.closed:
            break
        stream = visitor.request(demo.host, "/", "POST", end=False)
        visitor.pipe.send(frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff"))
        answer = visitor.answers[stream]
        visitor.read(lambda: answer.reset is not None or visitor.goaway is not None)
    assert visitor.goaway == 11
    assert demo.engine.metrics()["weir_engine_h2_floods_total"] == before + 1


def test_a_head_that_unpacks_to_a_thousand_times_its_size_is_the_end(site):
    demo = site()
    before = demo.engine.metrics()["weir_engine_h2_floods_total"]
    visitor = h2_visitor.Visitor(demo.engine, demo.host)
    visitor.request(demo.host, headers=[("x-bomb", "b" * 3900)] * 400)  # a byte each
    assert visitor.read(lambda: visitor.goaway is not None)
    assert visitor.goaway == 11  # ENHANCE_YOUR_CALM
    assert demo.engine.metrics()["weir_engine_h2_floods_total"] == before + 1


def test_extended_connect_carries_websockets_only(site):
    seen = []
    demo = site(http1.service(lambda m, s: (seen.append(m), s.send(http1.answer(b"")))))
    visitor = h2_visitor.Visitor(demo.engine, demo.host)
    visitor.read(lambda: visitor.settings is not None)
    for protocol in ("h2c", "connect-udp", "websocket, h2c"):
        stream = visitor.raw_request(
            [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https"),
             (":authority", demo.host), (":path", "/")], end=False)
        answer = visitor.finish(stream)
        assert answer.status == 405, protocol
    assert not seen


# ---- Visitors who do not take what they asked for


def test_who_holds_most_is_cut_and_others_are_not(site):
    """128 answers behind a closed window, beside a visitor who is only slow."""
    big = b"b" * 300_000
    demo = site(http1.service(lambda m, s: s.send(http1.answer(big if m.target == "/" else b"ok"))))
    slow = [demo.visitor() for _ in range(4)]
    for visitor in slow:
        visitor.send(http1.request(demo.host))
    before = demo.engine.metrics()["weir_engine_visitors_cut_total"]
    mark = demo.engine.log.mark()
    greedy = [h2_visitor.Visitor(demo.engine, demo.host, window=0) for _ in range(2)]
    for visitor in greedy:
        for _ in range(60):
            visitor.request(demo.host)
    eventually(
        lambda: demo.engine.metrics()["weir_engine_visitors_cut_total"] > before, "one is cut"
    )
    line = demo.engine.log.wait("visitor_cut", mark)["details"]
    assert (line["visitor"], line["bytes"] > 1 << 20) == ("127.0.0.1", True)
    assert demo.engine.metrics()["weir_engine_buffered_bytes"] <= 8 << 20
    assert demo.get("/small").body == b"ok"
    assert [http1.read_answer(visitor).body == big for visitor in slow] == [True] * 4
    for visitor in greedy:
        visitor.pipe.close()
    eventually(lambda: demo.engine.metrics()["weir_engine_buffered_bytes"] == 0, "all is let go")


def test_what_a_service_does_not_take_is_held_against_the_visitor(site):
    def handle(stream):
        peer = http2.Peer(stream, client=False)
        peer.refilling = False
        while peer.take(20) is not None:
            pass

    demo = site(handle, http_version="h2c")
    before = demo.engine.metrics()["weir_engine_visitors_cut_total"]
    greedy = http2.Visitor(demo)
    greedy.take()
    with pytest.raises((AssertionError, OSError)):  # it is cut in the middle
        for _ in range(100):
            greedy.send_body(greedy.ask("/", "POST", end=False), b"g" * 66_000, end=False)
    eventually(
        lambda: demo.engine.metrics()["weir_engine_visitors_cut_total"] > before, "it is cut"
    )


def buffered(engine):
    return engine.metrics()["weir_engine_buffered_bytes"]


def test_heads_that_wait_for_their_answers_are_held_against_the_visitor(site):
    demo = site()  # whose agent opens no stream
    before = demo.engine.metrics()["weir_engine_visitors_cut_total"]
    large = [("x-large", "l" * 31_000)]
    greedy = [h2_visitor.Visitor(demo.engine, demo.host) for _ in range(3)]
    for visitor in greedy:
        encode = visitor.h2.encoder.encode
        visitor.h2.encoder.encode = functools.partial(encode, huffman=False)  # that would be slow
        with contextlib.suppress(OSError):  # it is cut in the middle
            for _ in range(75):  # two of them on one worker: 4.6 MB
                visitor.request(demo.host, headers=large)
    eventually(
        lambda: demo.engine.metrics()["weir_engine_visitors_cut_total"] > before, "one is cut"
    )
    assert buffered(demo.engine) <= 8 << 20
    for visitor in greedy:
        visitor.close()
    eventually(lambda: buffered(demo.engine) == 0, "all is let go")


@pytest.mark.parametrize("version", ["http/1.1", "h2c"])
def test_bodies_that_the_service_does_not_take_are_in_the_books(site, version):
    """What the kernel has no room for: at the service's side and read ahead of it."""

    def handle(stream):
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        over.wait(30)

    over = threading.Event()
    demo = site(handle, http_version=version)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, method="POST", fields=["Content-Length: 99999999"]))
    visitor.sock.settimeout(20)

    def flood():
        with contextlib.suppress(OSError):  # it is closed below
            while True:
                visitor.send(b"f" * 60_000)

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    eventually(lambda: buffered(demo.engine) > 16 << 10, "it is counted")
    visitor.close()
    over.set()
    eventually(lambda: buffered(demo.engine) == 0, "all is let go")
    sender.join(20)


def stuff(visitor, stream_id):
    """Sends of a body what it may, until the service's side has no room."""

    def full():
        while room := visitor.h2.local_flow_control_window(stream_id):
            visitor.h2.send_data(stream_id, b"f" * min(room, 16384))
            visitor.flush()
        with contextlib.suppress(TimeoutError):
            visitor.take(0.5)
        return buffered(visitor.site.engine) > 64 << 10

    eventually(full, "the service's side is full", timeout=60)


def cancel(visitor, streams):
    """Returns when the engine has seen it."""
    for stream_id in streams:
        visitor.h2.reset_stream(stream_id)
    visitor.h2.ping(b"are you?")
    visitor.flush()
    while not any(isinstance(event, h2.events.PingAckReceived) for event in visitor.take(20)):
        pass


def test_what_waits_for_an_h2_service_is_in_the_books_and_bounded(site):
    """Also when nobody waits for it any more: frames and heads on a connection that is not read."""
    over = threading.Event()

    def does_not_read(stream):
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer = http2.Peer(stream, client=False)
        peer.h2.update_settings({3: 1 << 30, 4: 1 << 30})  # streams at once, and their windows
        peer.h2.increment_flow_control_window(1 << 30)
        peer.flush()
        while not any(isinstance(e, h2.events.SettingsAcknowledged) for e in peer.take(30)):
            pass
        over.wait(300)

    good = http2.service(lambda peer, id_, _: http2.answer(peer, id_, b"well"))
    demo = site(lambda stream: (does_not_read if demo.streams == 1 else good)(stream),
                http_version="h2c")
    visitor = http2.Visitor(demo)
    encode = visitor.h2.encoder.encode
    visitor.h2.encoder.encode = functools.partial(encode, huffman=False)  # that would be slow
    try:

        def something_is_left():
            post = visitor.ask("/", "POST", end=False)
            stuff(visitor, post)
            cancel(visitor, [post])
            return buffered(demo.engine) > 0

        eventually(something_is_left, "frames wait that nobody waits for", timeout=200)
        mark = demo.engine.log.mark()
        for _ in range(8):  # of 20 heads of 31 KB, where a worker has 4 MiB
            large = [("x-large", "l" * 31_000)]
            cancel(visitor, [visitor.ask(fields=large) for _ in range(20)])
            if demo.engine.log.find("visitor_cut", mark):
                break
        line = demo.engine.log.wait("visitor_cut", mark)["details"]
        assert line["hostname"] == demo.host and line["bytes"] > 1 << 20
        assert visitor.get().body == b"well"  # on another stream
    finally:
        over.set()
    visitor.pipe.close()
    eventually(lambda: buffered(demo.engine) == 0, "all is let go")


def test_raw_bytes_that_the_visitor_does_not_take_are_in_the_books(engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="flood")
    visitor = engine.visit(engine.name("flood"))
    _, stream = agent.bound()
    stream.sock.settimeout(20)

    def flood():
        with contextlib.suppress(OSError):  # it is cut below
            while True:
                stream.send(b"f" * 60_000)

    sender = threading.Thread(target=flood, daemon=True)
    sender.start()
    # How much depends on where the kernel stopped in a record; some it is for as long as it lasts.
    eventually(lambda: buffered(engine) == buffered(engine) > 0, "it is counted")
    visitor.reset()
    eventually(lambda: buffered(engine) == 0, "all is let go")
    sender.join(20)


# ---- Upgrades and CONNECT


def test_a_101_to_connect_is_no_answer(site):
    demo = site(lambda stream: (
        stream.recv_until(b"\r\n\r\n"),
        stream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
        stream.recv_all(5)))
    visitor = demo.visitor()
    visitor.send(f"CONNECT {demo.host}:443 HTTP/1.1\r\nHost: {demo.host}:443\r\n\r\n".encode())
    assert http1.read_answer(visitor).status == 502


def test_what_follows_a_refused_connect_is_no_request(site):
    """The visitor's words behind it were meant for another protocol."""
    seen = []

    def app(message, stream):
        seen.append(message.start)
        stream.send(http1.answer(b"no", "403 Forbidden"))

    demo = site(http1.service(app))
    visitor = demo.visitor()
    connect = f"CONNECT {demo.host}:443 HTTP/1.1\r\nHost: {demo.host}:443\r\n\r\n".encode()
    visitor.send(connect + http1.request(demo.host, "/smuggled"))
    answer = http1.read_answer(visitor)
    assert (answer.status, answer["connection"]) == (403, "close")
    assert visitor.recv_all(5) == b""
    assert len(seen) == 1


# ---- Unlucky operators


def was_reset(connection):
    """It was turned away."""
    try:
        return connection.recv(1, socket.MSG_DONTWAIT) == b""  # seen to be reset before
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def ports(engine):
    return {"tls": engine.port, "metrics": engine.metrics_port}


@pytest.mark.parametrize("door", ["tls", "metrics"])
def test_descriptors_that_are_out(site, door):
    """Newcomers are turned away one by one; whoever is in, stays; afterwards all is as before."""
    demo = site(http1.service(lambda m, s: s.send(http1.answer(b"ok"))))
    engine = demo.engine
    visitor = demo.visitor()
    assert demo.ask(visitor).body == b"ok"
    limits = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)
    mark = engine.log.mark()
    # The limit is on the numbers of descriptors: lower ones that are free let somebody in too.
    numbers = [int(name) for name in os.listdir(f"/proc/{engine.pid}/fd")]
    limit = max(numbers) + 3
    resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (limit, limits[1]))
    crowd = []
    try:
        for _ in range(limit - len(numbers) + 10):
            crowd.append(socket.create_connection(("127.0.0.1", ports(engine)[door])))
        line = engine.log.wait("accept_failed", mark, turnedAway=1)["details"]
        assert "descriptor" in line["reason"]
        eventually(lambda: sum(map(was_reset, crowd)) >= 3, "some are told that they must go")
        if door == "metrics":  # his connection stays; whether there is a stream for him is luck
            assert demo.ask(visitor).status in (200, 502, 503, 504)
    finally:
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, limits)
        for connection in crowd:
            connection.close()
    assert demo.ask(visitor).body == b"ok"
    assert demo.get().body == b"ok"


def test_streams_at_rest_make_room(site):
    """Descriptors that nobody waits for are given up for newcomers."""
    demo = site(http1.service(lambda m, s: s.send(http1.answer(b"ok"))))
    engine = demo.engine
    idle = [demo.visitor() for _ in range(8)]
    for visitor in idle:
        assert demo.ask(visitor).body == b"ok"
    assert demo.streams == 8
    limits = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (engine.descriptors(), limits[1]))
    try:
        # The first one is turned away, for those behind it.
        eventually(lambda: demo_answers(demo), "there is room")
    finally:
        resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, limits)


def demo_answers(demo):
    try:
        return demo.get().body == b"ok"
    except (OSError, EOFError):
        return False


# ---- TLS that says nothing


class Fidgety:
    """openssl s_client, told to change its keys."""

    def __init__(self, site):
        self.site = site
        self.process = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{site.engine.port}", "-servername",
             site.host, "-CAfile", site.engine.ca, "-alpn", "http/1.1", "-tls1_3"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def wait_for(self, word):
        """False when it has ended before."""
        while line := self.process.stdout.readline():
            if word in line:
                return True
        return False

    def change_keys(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"K\n")  # with a request to do the same
            self.process.stdin.flush()
            return self.wait_for(b"KEYUPDATE")
        return False

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def test_key_updates_without_end_are_the_end(site):
    demo = site(http1.service(lambda message, stream: stream.send(http1.answer(b"well\n"))))
    client = Fidgety(demo)
    try:
        assert client.wait_for(b"Verify return code: 0")
        assert all([client.change_keys() for _ in range(10)])
        client.process.stdin.write(http1.request(demo.host))
        client.process.stdin.flush()
        assert client.wait_for(b"well")
        # 32 within ten seconds; on a slow machine some of them are in the next ten.
        assert not all([client.change_keys() for _ in range(200)])
        assert client.process.wait(20) is not None
    finally:
        with contextlib.suppress(BrokenPipeError):
            client.close()
