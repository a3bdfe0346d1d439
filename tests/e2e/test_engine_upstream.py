# SPDX-License-Identifier: Apache-2.0
"""How requests travel to a service on HTTP/1.1 (spec sections 6.1, 6.4, 6.8, 6.9)."""
import hashlib
import pathlib
import threading
import time

import pytest

from lib import http1
from lib.site import Site, given_up, label_of
from lib.wait import eventually

REUSES = "weir_engine_http_stream_reuses_total"
RETRIES = "weir_engine_http_retries_total"
BIG = 24 * 1024 * 1024


@pytest.fixture
def site(engine, request):
    """site(app) publishes app(request, stream), under the test's name."""
    label = label_of(request.node.name)
    return lambda app=None, **properties: Site(
        engine, label, app and http1.service(app), **properties)


def told(message, stream):
    stream.send(http1.answer(f"{message.method} {message.target}".encode()))


def counted(engine, name):
    return engine.metrics()[name]


# ---- Streams that are used again


def test_a_visitor_keeps_its_stream(engine, site):
    demo = site(told)
    before = counted(engine, REUSES)
    visitor = demo.visitor()
    for i in range(4):
        assert demo.ask(visitor, f"/{i}").body == f"GET /{i}".encode()
    assert demo.streams == 1
    assert counted(engine, REUSES) - before == 3


def test_another_visitor_gets_its_own(site):
    demo = site(told)
    visitors = [demo.visitor(), demo.visitor()]
    for visitor in visitors * 2:
        assert demo.ask(visitor).status == 200
    assert demo.streams == 2


@pytest.mark.parametrize("method,body", [("POST", b"x" * 300), ("PUT", b""), ("DELETE", None)],
                         ids=["post", "empty-put", "delete"])
def test_requests_with_bodies_keep_it_too(site, method, body):
    def app(message, stream):
        stream.send(http1.answer(message.body + message.method.encode()))

    demo = site(app)
    visitor = demo.visitor()
    for _ in range(3):
        assert demo.ask(visitor, "/", method, body=body).body == (body or b"") + method.encode()
    assert demo.streams == 1


def test_a_service_that_says_close_gets_a_new_stream(site):
    demo = site(lambda message, stream: stream.send(http1.answer(fields=["Connection: close"])))
    visitor = demo.visitor()
    assert demo.ask(visitor).status == 200
    assert demo.ask(visitor).status == 200
    assert demo.streams == 2


def test_bytes_behind_an_answer_end_the_stream(site):
    demo = site(lambda message, stream: stream.send(http1.answer(b"one") + b"HTTP/1.1 200 OK\r\n"))
    visitor = demo.visitor()
    assert demo.ask(visitor).body == b"one"
    assert demo.ask(visitor).body == b"one"
    assert demo.streams == 2


def test_a_stream_at_rest_that_speaks_is_dropped(site):
    ended = threading.Event()

    def app(message, stream):
        stream.send(http1.answer(b"one"))
        if message.target == "/talk":
            stream.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            assert stream.recv_all(10) == b""
            ended.set()
            return False
        return True

    demo = site(app)
    visitor = demo.visitor()
    assert demo.ask(visitor, "/talk").body == b"one"
    assert ended.wait(10)
    assert demo.ask(visitor, "/").body == b"one"
    assert demo.streams == 2


def test_the_visitor_takes_its_streams_along(site):
    ended = threading.Event()

    def handler(stream):
        told(http1.read_request(stream), stream)
        stream.recv_all(10)
        assert stream.ended == "notify"
        ended.set()

    demo = site()
    demo.serve(handler)
    visitor = demo.visitor()
    assert demo.ask(visitor).status == 200
    assert not ended.is_set()
    visitor.close()
    assert ended.wait(10)


# ---- Streams that turn out to be stale


def goes_at_the_second(method_seen):
    """Answers the first request of a stream, and leaves at the second."""

    def handler(stream):
        first = http1.read_request(stream)
        method_seen.append(first.method)
        told(first, stream)
        if http1.read_request(stream) is not None:
            method_seen.append("left")

    return handler


def test_a_stale_stream_is_replaced_once(engine, site):
    seen = []
    demo = site()
    demo.serve(goes_at_the_second(seen))
    before = counted(engine, RETRIES)
    visitor = demo.visitor()
    assert demo.ask(visitor, "/1").body == b"GET /1"
    assert demo.ask(visitor, "/2").body == b"GET /2"
    assert seen == ["GET", "left", "GET"]
    assert counted(engine, RETRIES) - before == 1
    assert demo.streams == 2


def test_what_may_not_be_repeated_is_not(site):
    seen = []
    demo = site()
    demo.serve(goes_at_the_second(seen))
    visitor = demo.visitor()
    assert demo.ask(visitor, "/1").status == 200
    message = demo.ask(visitor, "/2", "POST", body=b"money")
    assert (message.status, message["x-weir-error"]) == (502, "upstream_closed")
    assert demo.streams == 1


def test_a_stream_that_ended_at_rest_is_not_met_by_a_post(site):
    left = threading.Event()

    def handler(stream):
        told(http1.read_request(stream), stream)
        stream.close()
        left.set()

    demo = site()
    demo.serve(handler)
    visitor = demo.visitor()
    assert demo.ask(visitor, "/1", "POST", body=b"a").status == 200
    assert left.wait(10)
    assert demo.ask(visitor, "/2", "POST", body=b"b").body == b"POST /2"
    assert demo.streams == 2


def test_a_fresh_stream_that_fails_is_an_error(site):
    demo = site(lambda message, stream: False)
    message = demo.get()
    assert (message.status, message["x-weir-error"]) == (502, "upstream_closed")
    assert demo.streams == 1


def test_part_of_a_head_is_no_reason_to_try_again(site):
    def app(message, stream):
        if message.target == "/1":
            return told(message, stream)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-")
        return False

    demo = site(app)
    visitor = demo.visitor()
    assert demo.ask(visitor, "/1").status == 200
    message = demo.ask(visitor, "/2")
    assert (message.status, message["x-weir-error"]) == (502, "upstream_closed")
    assert demo.streams == 1


# ---- Errors


def test_an_agent_that_refuses(site):
    demo = site()
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    demo.agent.refuse(demo.agent.next_stream())
    message = http1.read_answer(visitor)
    assert (message.status, message["x-weir-error"]) == (502, "agent_refused")


def test_an_agent_that_does_not_come(impatient):
    demo = Site(impatient, "absent")
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    demo.agent.next_stream()
    message = http1.read_answer(visitor)
    assert (message.status, message["x-weir-error"]) == (504, "agent_timeout")


def test_a_service_that_does_not_answer(impatient):
    demo = Site(impatient, "silent", http1.service(lambda message, stream: stream.recv_all(20) and None))
    given_up(demo)


@pytest.mark.parametrize(
    "bytes_",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 40,
    ],
    ids=["ssh", "two-lengths", "length-and-chunks", "huge", "unasked-101", "endless-1xx"],
)
def test_what_is_not_an_answer(site, bytes_):
    demo = site(lambda message, stream: stream.send(bytes_))
    message = demo.get()
    assert (message.status, message["x-weir-error"]) == (502, "upstream_bad")


def test_an_answer_with_a_long_head(site):
    demo = site(lambda message, stream: stream.send(http1.answer(b"x", fields=["X: " + "y" * 30000])))
    message = demo.get()
    assert (message.status, len(message["x"]), message.body) == (200, 30000, b"x")


# ---- Bodies


def test_head_and_body_are_one_record(site):
    demo = site(lambda message, stream: stream.send(http1.answer(b"x" * 1024)))
    visitor = demo.visitor()
    for _ in range(2):
        visitor.send(http1.request(demo.host))
        record = visitor.recv_record()
        assert record.endswith(b"\r\n\r\n" + b"x" * 1024)


def test_pieces_arrive_when_they_are_sent(site):
    taken = [threading.Event() for _ in range(3)]

    def app(message, stream):
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n")
        for i, event in enumerate(taken):
            stream.send(http1.chunk(b"data: %d\n\n" % i))
            assert event.wait(10)
        stream.send(b"0\r\n\r\n")

    demo = site(app)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    assert http1.read_head(visitor).status == 200
    for i, event in enumerate(taken):
        assert b"data: %d" % i in visitor.recv_until(b"\n\n\r\n")
        event.set()
    assert visitor.recv_until(b"0\r\n\r\n")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_big_answer(site, chunked):
    data = bytes(range(256)) * 40000

    def app(message, stream):
        if not chunked:
            return stream.send(http1.answer(data))
        stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(data), 100001):
            stream.send(http1.chunk(data[at : at + 100001]))
        return stream.send(b"0\r\n\r\n")

    demo = site(app)
    visitor = demo.visitor()
    for _ in range(2):
        assert demo.ask(visitor, timeout=60).body == data
    assert demo.streams == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_big_upload(site, chunked):
    data = bytes(range(256)) * 40000

    def app(message, stream):
        digest = hashlib.sha256(message.body).hexdigest()
        stream.send(http1.answer(f"{digest} {message['content-length']}".encode()))

    demo = site(app)
    visitor = demo.visitor()
    if chunked:
        visitor.send(http1.request(demo.host, "/", "POST", ["Transfer-Encoding: chunked"]))
        for at in range(0, len(data), 70001):
            visitor.send(http1.chunk(data[at : at + 70001]))
        visitor.send(b"0\r\n\r\n")
        length = None
    else:
        visitor.send(http1.request(demo.host, "/", "POST", body=data))
        length = len(data)
    expected = f"{hashlib.sha256(data).hexdigest()} {length}"
    assert http1.read_answer(visitor, timeout=60).body == expected.encode()


def test_trailers_both_ways(site):
    seen = []

    def app(message, stream):
        seen.append((message.body, message.trailers))
        stream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                    http1.chunk(b"hello") + b"0\r\nX-Sum: 5\r\nX-More: yes\r\n\r\n")

    demo = site(app)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", "POST", ["Transfer-Encoding: chunked", "TE: trailers",
                                                        "Connection: TE"]))
    visitor.send(http1.chunk(b"abc") + b"0\r\nX-Check: 3\r\n\r\n")
    message = http1.read_answer(visitor)
    assert seen == [(b"abc", [("x-check", "3")])]
    assert message.body == b"hello"
    assert message.trailers == [("x-sum", "5"), ("x-more", "yes")]


def test_a_body_that_ends_with_the_stream(site):
    def app(message, stream):
        stream.send(b"HTTP/1.1 200 OK\r\n\r\nall there is")
        stream.send_notify()
        return False

    demo = site(app)
    message = demo.get()
    assert (message.body, message.complete) == (b"all there is", True)


def test_a_body_that_is_cut(site):
    def app(message, stream):
        stream.send(b"HTTP/1.1 200 OK\r\n\r\nnot all")
        stream.sock.close()
        return False

    demo = site(app)
    message = demo.get()
    assert (message.status, message.complete) == (200, False)


def test_a_length_that_is_not_kept(site):
    def app(message, stream):
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour")
        stream.send_notify()
        return False

    demo = site(app)
    assert demo.get().complete is False


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_bodies(site, status):
    demo = site(lambda message, stream: stream.send(f"HTTP/1.1 {status}\r\nX-A: b\r\n\r\n".encode()))
    visitor = demo.visitor()
    for _ in range(2):
        message = demo.ask(visitor)
        assert (message.status, message["x-a"]) == (int(status[:3]), "b")
    assert demo.streams == 1


def test_head(site):
    demo = site(lambda message, stream: stream.send(
        b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"))
    visitor = demo.visitor()
    for _ in range(2):
        assert demo.ask(visitor, method="HEAD")["content-length"] == "12345"
    assert demo.streams == 1


def test_informational_answers(site):
    def app(message, stream):
        stream.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        stream.send(http1.answer(b"done"))

    demo = site(app)
    message = demo.get()
    assert [(part.status, part["link"]) for part in message.interim] == [(103, "</a.css>")]
    assert message.body == b"done"


def test_expect_continue(site):
    def handler(stream):
        head = http1.read_head(stream)
        assert head["expect"] == "100-continue"
        stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        http1.read_body(stream, head)
        stream.send(http1.answer(head.body))

    demo = site()
    demo.serve(handler)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", "POST", ["Content-Length: 4", "Expect: 100-continue"]))
    assert http1.read_head(visitor).status == 100
    visitor.send(b"body")
    assert http1.read_answer(visitor).body == b"body"


def test_an_answer_before_the_request_is_complete(site):
    def handler(stream):
        http1.read_head(stream)
        stream.send(http1.answer(b"too much", "413 Content Too Large"))
        stream.recv_all(10)

    demo = site()
    demo.serve(handler)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", "POST", ["Content-Length: 1000000"]) + b"x" * 1000)
    assert http1.read_answer(visitor).status == 413


# ---- Back-pressure


def resident(engine):
    for line in pathlib.Path(f"/proc/{engine.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def stalls(progress):
    """Waits until a counter that has begun does not move any more."""
    last = [0, 0]

    def still():
        last[0], last[1] = last[1], progress()
        time.sleep(0.3)
        return last[0] == last[1] and last[1] > 0

    eventually(still, "the counter stands still", timeout=30)
    return last[1]


def test_a_slow_visitor_holds_the_service(engine, site):
    sent = [0]
    block = b"z" * 65536

    def app(message, stream):
        stream.sock.settimeout(60)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        while sent[0] < BIG:
            stream.send(block)
            sent[0] += len(block)

    demo = site(app)
    before = resident(engine)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    assert stalls(lambda: sent[0]) < BIG * 3 // 4
    assert resident(engine) - before < 16 * 1024 * 1024
    assert len(http1.read_answer(visitor, timeout=60).body) == BIG


def test_a_slow_service_holds_the_visitor(engine, site):
    go_on = threading.Event()

    def handler(stream):
        head = http1.read_head(stream)
        assert go_on.wait(60)
        http1.read_body(stream, head, 60)
        stream.send(http1.answer(b"%d" % len(head.body)))

    demo = site()
    demo.serve(handler)
    before = resident(engine)
    visitor = demo.visitor()
    visitor.sock.settimeout(60)
    sent = [0]

    def upload():
        visitor.send(http1.request(demo.host, "/", "POST", [f"Content-Length: {BIG}"]))
        while sent[0] < BIG:
            visitor.send(b"u" * 65536)
            sent[0] += 65536

    thread = threading.Thread(target=upload, daemon=True)
    thread.start()
    assert stalls(lambda: sent[0]) < BIG * 3 // 4
    assert resident(engine) - before < 16 * 1024 * 1024
    go_on.set()
    thread.join(60)
    assert http1.read_answer(visitor, timeout=60).body == b"%d" % BIG


# ---- Upgrades

UPGRADE = ["Connection: Upgrade", "Upgrade: chat/1"]
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\n"


def test_an_upgrade_becomes_raw_bytes(site):
    def handler(stream):
        head = http1.read_head(stream)
        assert (head["connection"], head["upgrade"]) == ("Upgrade", "chat/1")
        stream.send(SWITCH + b"first")
        while True:
            data = stream.recv_record(30)
            if not data:
                stream.send(b"bye")
                stream.send_notify()
                return
            stream.send(data.upper())

    demo = site()
    demo.serve(handler)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", fields=UPGRADE))
    message = http1.read_answer(visitor)
    assert (message.status, message["upgrade"]) == (101, "chat/1")
    assert visitor.recv_exact(5) == b"first"
    visitor.send(b"hello\r\n")
    assert visitor.recv_exact(7) == b"HELLO\r\n"
    visitor.send_notify()
    assert visitor.recv_all() == b"bye"


def test_an_upgrade_outlives_the_deadline_of_requests(impatient):
    def handler(stream):
        http1.read_head(stream)
        stream.send(SWITCH)
        stream.recv_exact(1, 30)
        stream.send(b"still here")

    demo = Site(impatient, "long")
    demo.serve(handler)

    def upgraded():  # the agent may be too slow for this engine
        visitor = demo.visitor()
        visitor.send(http1.request(demo.host, "/", fields=UPGRADE))
        return visitor if http1.read_answer(visitor).status == 101 else None

    visitor = eventually(upgraded, "the agent comes in time")
    assert visitor.quiet(1.5)  # longer than stream_request_seconds
    visitor.send(b"?")
    assert visitor.recv_exact(10) == b"still here"


def test_an_upgrade_that_is_declined(site):
    demo = site(told)
    visitor = demo.visitor()
    assert demo.ask(visitor, "/x", fields=UPGRADE).body == b"GET /x"
    assert demo.ask(visitor, "/y").body == b"GET /y"
