# SPDX-License-Identifier: Apache-2.0
"""Published HTTP: what visitors get over HTTP/1.1 and HTTP/2 (docs/spec/engine.md section 6)."""
import base64
import hashlib
import socket
import ssl
import threading

import pytest

from lib.agent import Agent, Refused
from lib.h2_visitor import Visitor
from lib.wait import eventually

WORKERS = 2
INTERNAL_ERROR = 2
ENHANCE_YOUR_CALM = 11
LORIS_S = 22  # the head's deadline is 15 s


def leave(agent):
    """A thread of the agent reads: closing alone would wait for that."""
    try:
        agent.sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the engine was faster
    agent.close()


@pytest.fixture
def publish(engine):
    """publish(label, service, **properties): an agent whose tunnel is served by service(stream)."""
    agents = []

    def opener(label, service=echo_heads, **properties):
        agent = Agent(engine)
        agents.append(agent)

        def opened():
            # The agent of the test before may still be on its way out.
            try:
                return agent.tunnel(hostname=label, **properties)
            except Refused as refused:
                assert "in use" in refused.text
                return None

        def counted(stream):
            agent.served.append(stream)
            service(stream)

        agent.served = []
        eventually(opened, f"{label} is free")
        agent.serve(counted)
        return agent

    yield opener
    for agent in agents:
        leave(agent)


def echo_heads(stream):
    """Request after request; each head comes back as the body."""
    while True:
        head = stream.recv_until(b"\r\n\r\n", 60)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


def answers(*parts):
    """A service that reads requests' heads and sends these bytes for each."""

    def service(stream):
        while True:
            stream.recv_until(b"\r\n\r\n", 30)
            for part in parts:
                stream.send(part)

    return service


def closes_behind(answer):
    """A service that sends this and leaves."""

    def service(stream):
        stream.recv_until(b"\r\n\r\n", 30)
        stream.send(answer)

    return service


def read_answer(visitor, timeout=10):
    """Status, head and body of an answer with Content-Length."""
    head = visitor.recv_until(b"\r\n\r\n", timeout)
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return int(head.split(b" ")[1]), head, visitor.recv_exact(length, timeout) if length else b""


def visit(engine, label):
    return engine.visit(engine.name(label), alpn=["http/1.1"])


# ---- Ordinary requests


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_gets_what_the_service_says(engine, publish, version):
    publish("plain")
    path = "/a%2Fb/./c;d?x=%20&y=z"
    got = engine.curl(
        engine.name("plain"),
        path,
        version,
        "--path-as-is",
        *("-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Real-IP: 6.6.6.6", "-H", "Origin: https://o"),
        *("-H", "Cookie: a=b", "-H", "Authorization: Basic eA==", "-H", "Forwarded: for=6.6.6.6"),
    )
    assert got.returncode == 0, got.stderr
    lines = got.stdout.decode().split("\r\n")
    assert lines[0] == f"GET {path} HTTP/1.1"
    fields = {line.split(": ")[0].lower(): line.split(": ")[1] for line in lines[1:] if line}
    host = f"{engine.name('plain')}:{engine.port}"
    assert fields["host"] == host
    assert fields["origin"] == "https://o"
    assert fields["cookie"] == "a=b"
    assert fields["authorization"] == "Basic eA=="
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "https"
    assert fields["x-forwarded-host"] == host
    assert fields["x-forwarded-port"] == str(engine.port)
    assert fields["x-real-ip"] == "127.0.0.1"
    assert len(fields["x-request-id"]) == 32
    assert "6.6.6.6" not in got.stdout.decode()
    assert "forwarded" not in fields


def test_a_connection_carries_request_after_request(engine, publish):
    publish("again")
    host = engine.name("again")
    visitor = visit(engine, "again")
    for number in range(3):
        visitor.send(f"GET /{number} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, _, body = read_answer(visitor)
        assert status == 200 and body.startswith(f"GET /{number} ".encode())


def test_pipelined_requests_are_answered_in_order(engine, publish):
    publish("pipe")
    host = engine.name("pipe")
    visitor = visit(engine, "pipe")
    visitor.send(
        b"".join(f"GET /{n} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for n in range(5))
    )
    for number in range(5):
        status, _, body = read_answer(visitor)
        assert status == 200 and body.startswith(f"GET /{number} ".encode())


def test_head_and_body_of_a_small_answer_share_a_record(engine, publish):
    publish("record", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
    visitor = visit(engine, "record")
    visitor.send(f"GET / HTTP/1.1\r\nHost: {engine.name('record')}\r\n\r\n".encode())
    assert visitor.recv_record().endswith(b"\r\n\r\nhello")


def test_http_1_0_gets_a_body_that_ends_with_the_connection(engine, publish):
    publish(
        "old",
        answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    )
    visitor = visit(engine, "old")
    visitor.send(f"GET / HTTP/1.0\r\nHost: {engine.name('old')}\r\n\r\n".encode())
    head, _, body = visitor.recv_all().partition(b"\r\n\r\n")
    assert b"chunked" not in head and b"Connection: close" in head
    assert body == b"hello" and visitor.ended == "notify"


BODILESS = [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nX-A: b\r\n\r\n", 200, b"4096"),
    ("GET", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", 204, None),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nX-A: b\r\nETag: x\r\n\r\n", 304, None),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: b\r\n\r\n", 200, b"0"),
]


@pytest.mark.parametrize("method,answer,status,length", BODILESS)
def test_answers_without_a_body(engine, publish, method, answer, status, length):
    publish("bodiless", answers(answer))
    host = engine.name("bodiless")
    visitor = visit(engine, "bodiless")
    visitor.send(f"{method} / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = visitor.recv_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"X-A: b" in head
    assert b"chunked" not in head.lower()
    if length is None:
        assert b"content-length" not in head.lower()
    else:
        assert b"content-length: " + length in head.lower()
    assert visitor.quiet(0.1)
    got = Visitor(engine, host).get(host, method=method)
    assert (got.status, got.body, got.headers["x-a"]) == (status, b"", "b")
    assert got.headers.get("content-length") == (length.decode() if length else None)


def test_informational_answers_travel(engine, publish):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    publish("early", answers(early + final))
    host = engine.name("early")
    visitor = visit(engine, "early")
    visitor.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = visitor.recv_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 103 ") and b"Link: </a>" in head
    assert read_answer(visitor)[2] == b"ok"
    got = Visitor(engine, host).get(host)
    assert got.informational[0][":status"] == "103" and got.body == b"ok"


def test_expectations_are_the_services(engine, publish):
    def service(stream):
        stream.recv_until(b"\r\n\r\n", 30)
        stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = stream.recv_exact(4, 30)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + body)
        stream.recv_all(30)

    publish("expect", service)
    visitor = visit(engine, "expect")
    head = f"POST / HTTP/1.1\r\nHost: {engine.name('expect')}\r\nContent-Length: 4\r\n"
    visitor.send(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert visitor.recv_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
    visitor.send(b"body")
    assert read_answer(visitor)[2] == b"body"


def test_trailers_travel_both_ways(engine, publish):
    seen = []

    def service(stream):
        stream.recv_until(b"\r\n\r\n", 30)
        seen.append(stream.recv_until(b"\r\n\r\n", 30))
        stream.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n"
        )
        stream.recv_all(30)

    publish("trailers", service)
    host = engine.name("trailers")
    visitor = visit(engine, "trailers")
    visitor.send(
        f"POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n".encode()
    )
    head = visitor.recv_until(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert visitor.recv_until(b"\r\n\r\n").lower() == b"2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n"
    assert b"x-sum: 7" in seen[0].lower()

    h2 = Visitor(engine, host)
    stream = h2.request(host, method="POST", headers=[("te", "trailers")], body=b"abc", end=False)
    h2.h2.send_headers(stream, [("x-sum", "8")], end_stream=True)
    h2.flush()
    got = h2.finish(stream)
    assert got.body == b"ok" and got.trailers == {"grpc-status": "0"}
    assert b"x-sum: 8" in seen[1].lower()


# ---- Streaming


@pytest.mark.parametrize("version", [1, 2])
def test_events_flow_one_by_one(engine, publish, version):
    seen = threading.Event()

    def service(stream):
        stream.recv_until(b"\r\n\r\n", 30)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\ndata: 1\n\n")
        assert seen.wait(20)
        stream.send(b"data: 2\n\n")

    publish("events", service)
    host = engine.name("events")
    if version == 1:
        visitor = visit(engine, "events")
        visitor.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        visitor.recv_until(b"data: 1\n\n")
        seen.set()
        visitor.recv_until(b"data: 2\n\n")
    else:
        visitor = Visitor(engine, host)
        answer = visitor.answers[visitor.request(host)]
        assert visitor.read(lambda: answer.body == b"data: 1\n\n")
        seen.set()
        assert visitor.read(lambda: answer.body.endswith(b"data: 2\n\n"))


BIG = hashlib.sha256(b"weir").digest() * (8 * 1024 * 1024 // 32)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_large_bodies_arrive_whole(engine, publish, tmp_path, version):
    def service(stream):
        stream.recv_until(b"\r\n\r\n", 30)
        body = stream.recv_exact(len(BIG), 60)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 16384):
            stream.send(body[at : at + 16384])
        stream.recv_all(30)

    publish("big", service)
    path = tmp_path / "big"
    path.write_bytes(BIG)
    got = engine.curl(
        engine.name("big"),
        "/",
        version,
        *("-H", "Expect:", "--data-binary", f"@{path}"),
        timeout=60,
    )
    assert got.returncode == 0, got.stderr
    assert hashlib.sha256(got.stdout).digest() == hashlib.sha256(BIG).digest()


@pytest.mark.parametrize("version", [1, 2])
def test_a_visitor_that_does_not_read_stops_the_service(engine, publish, version):
    total = 64 * 1024 * 1024
    sent = [0]

    def service(stream):
        stream.recv_until(b"\r\n\r\n", 30)
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent[0] < total:
            stream.send(b"x" * 16384)
            sent[0] += 16384

    publish("stuck", service)
    host = engine.name("stuck")
    if version == 1:
        visitor = visit(engine, "stuck")
        visitor.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        visitor.recv_until(b"\r\n\r\n")
    else:
        visitor = Visitor(engine, host, auto_window=False)
        answer = visitor.answers[visitor.request(host)]
        visitor.read(lambda: answer.body)
    marks = []

    def at_rest():
        marks.append(sent[0])
        return len(marks) > 50 and marks[-1] == marks[-50]

    eventually(at_rest, "the service stops", timeout=30)
    assert 0 < sent[0] < total // 2
    visitor.close()


def test_large_answers_to_pipelined_requests_wait_for_a_slow_visitor(engine, publish):
    size = 2 * 1024 * 1024
    publish("slow", answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size))
    visitor = visit(engine, "slow")
    visitor.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    request = f"GET / HTTP/1.1\r\nHost: {engine.name('slow')}\r\n\r\n".encode()
    visitor.send(request * 4)
    assert not visitor.quiet(1)
    for _ in range(4):
        status, _, body = read_answer(visitor, 60)
        assert status == 200 and body == b"x" * size


def test_an_answer_that_is_cut_does_not_look_whole(engine, publish):
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    publish("cut", closes_behind(cut))
    host = engine.name("cut")
    visitor = visit(engine, "cut")
    visitor.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    body = visitor.recv_all().partition(b"\r\n\r\n")[2]
    assert body == b"5\r\nhello\r\n" and visitor.ended in ("fin", "reset")
    got = Visitor(engine, host).get(host)
    assert got.status == 200 and got.reset == INTERNAL_ERROR and not got.ended


# ---- Requests that two readers may read differently

HOST = "Host: smuggle.t.edge.test\r\n"
SMUGGLED = {
    "length and coding": (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and length": (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
    "equal lengths": (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "list of lengths": (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 4, 4\r\n\r\nabcd", 400),
    "signed length": (f"POST / HTTP/1.1\r\n{HOST}Content-Length: +4\r\n\r\nabcd", 400),
    "length in hex": (f"POST / HTTP/1.1\r\n{HOST}Content-Length: 0x4\r\n\r\nabcd", 400),
    "two codings": (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown coding": (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "coding with tab": (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "coding in 1.0": (f"POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "space before colon": (f"POST / HTTP/1.1\r\n{HOST}Content-Length : 4\r\n\r\nabcd", 400),
    "folded": (f"GET / HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n", 400),
    "folded coding": (f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "bare LF": (f"GET / HTTP/1.1\n{HOST}\r\n", 400),
    "bare LF in head": (f"GET / HTTP/1.1\r\n{HOST}X: a\nY: b\r\n\r\n", 400),
    "bare CR": (f"GET / HTTP/1.1\r\n{HOST}X: a\rY: b\r\n\r\n", 400),
    "NUL": (f"GET / HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n", 400),
    "no token": (f"GET / HTTP/1.1\r\n{HOST}X(: a\r\n\r\n", 400),
    "empty name": (f"GET / HTTP/1.1\r\n{HOST}: a\r\n\r\n", 400),
    "HTTP/0.9": ("GET /\r\n\r\n", 400),
    "HTTP/2.0": (f"GET / HTTP/2.0\r\n{HOST}\r\n", 400),
    "HTTP/1.2": (f"GET / HTTP/1.2\r\n{HOST}\r\n", 400),
    "two spaces": (f"GET  / HTTP/1.1\r\n{HOST}\r\n", 400),
    "tab": (f"GET\t/ HTTP/1.1\r\n{HOST}\r\n", 400),
    "no host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (f"GET / HTTP/1.1\r\n{HOST}Host: other.t.edge.test\r\n\r\n", 400),
    "equal hosts": (f"GET / HTTP/1.1\r\n{HOST}{HOST}\r\n", 400),
    "hosts in one": ("GET / HTTP/1.1\r\nHost: smuggle.t.edge.test, other\r\n\r\n", 400),
    "user in host": ("GET / HTTP/1.1\r\nHost: a@smuggle.t.edge.test\r\n\r\n", 400),
    "other authority": (f"GET https://other.t.edge.test/ HTTP/1.1\r\n{HOST}\r\n", 400),
    "fragment": (f"GET /#a HTTP/1.1\r\n{HOST}\r\n", 400),
    "asterisk": (f"GET * HTTP/1.1\r\n{HOST}\r\n", 400),
    "relative": (f"GET a HTTP/1.1\r\n{HOST}\r\n", 400),
    "CONNECT with body": (f"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\na", 400),
    "long target": (f"GET /{'a' * 9000} HTTP/1.1\r\n{HOST}\r\n", 414),
    "long head": (f"GET / HTTP/1.1\r\n{HOST}X: {'a' * 33000}\r\n\r\n", 431),
    "many fields": (f"GET / HTTP/1.1\r\n{HOST}{'X: a' + chr(13) + chr(10)}" * 1 + "Y: b\r\n" * 101 + "\r\n", 431),
}


@pytest.mark.parametrize("case", SMUGGLED)
def test_heads_with_two_readings_end_the_connection(engine, publish, case):
    agent = publish("smuggle")
    request, status = SMUGGLED[case]
    visitor = visit(engine, "smuggle")
    visitor.send(request.encode("latin-1"))
    got = visitor.recv_all()
    assert got.startswith(b"HTTP/1.1 %d " % status), got
    assert b"Connection: close" in got and got.count(b"HTTP/1.1 ") == 1
    assert visitor.ended == "notify"
    assert not agent.served


BAD_CHUNKS = {
    "no size": "\r\nabc\r\n",
    "not hexadecimal": "xyz\r\nabc\r\n",
    "signed": "-3\r\nabc\r\n",
    "prefix": "0x3\r\nabc\r\n",
    "too long": "3\r\nabcd\r\n",
    "bare LF": "3\nabc\r\n",
    "huge": "fffffffffffffffff\r\nabc\r\n",
    "space": "3 \r\nabc\r\n",
}


@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_bodies_with_bad_chunks_are_refused(engine, publish, case):
    publish("chunks")
    visitor = visit(engine, "chunks")
    head = f"POST / HTTP/1.1\r\nHost: {engine.name('chunks')}\r\nTransfer-Encoding: chunked\r\n\r\n"
    visitor.send(head.encode() + BAD_CHUNKS[case].encode())
    got = visitor.recv_all()
    assert got.startswith(b"HTTP/1.1 400 ") and got.count(b"HTTP/1.1 ") == 1, got


H2_BAD = {
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "connection": [("connection", "close")],
    "upper case": [("X-Upper", "a")],
    "LF in value": [("x-a", "b\nc: d")],
    "CR in value": [("x-a", "b\rc")],
    "NUL in value": [("x-a", "b\0c")],
    "te": [("te", "gzip")],
    "two paths": [(":path", "/b")],
    "two lengths": [("content-length", "1"), ("content-length", "2")],
}


@pytest.mark.parametrize("case", H2_BAD)
def test_h2_requests_that_h1_would_read_otherwise_are_refused(engine, publish, case):
    agent = publish("h2bad")
    host = engine.name("h2bad")
    visitor = Visitor(engine, host)
    stream = visitor.request(host, headers=H2_BAD[case])
    got = visitor.finish(stream)
    assert got.reset is not None or got.status == 400 or visitor.closed
    assert not agent.served


def test_h2_host_and_authority_must_agree(engine, publish):
    publish("agree")
    host = engine.name("agree")
    visitor = Visitor(engine, host)
    assert visitor.get(host, headers=[("host", host)]).status == 200
    assert visitor.get(host, headers=[("host", engine.name("other"))]).status == 400


def test_h2_body_must_have_the_length_it_says(engine, publish):
    publish("length")
    host = engine.name("length")
    visitor = Visitor(engine, host)
    visitor.h2.config.validate_outbound_headers = False
    stream = visitor.h2.get_next_available_stream_id()
    fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", host),
        (":path", "/"),
        ("content-length", "3"),
    ]
    visitor.raw_request(fields, body=b"abcdef", stream=stream)
    assert visitor.finish(stream).reset is not None


def test_cookies_become_one_field(engine, publish):
    publish("cookies")
    host = engine.name("cookies")
    got = Visitor(engine, host).get(host, headers=[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d")])
    assert b"cookie: a=b; c=d\r\n" in got.body.lower()
    assert got.body.lower().count(b"cookie:") == 1


def test_no_way_around_by_h2c(engine, publish):
    publish("h2c")
    visitor = visit(engine, "h2c")
    visitor.send(
        f"GET / HTTP/1.1\r\nHost: {engine.name('h2c')}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n".encode()
    )
    status, _, body = read_answer(visitor)
    assert status == 200
    assert b"upgrade" not in body.lower() and b"http2-settings" not in body.lower()


# ---- Whom a request is for


def test_one_h2_connection_reaches_every_tunnel(engine, publish):
    first = publish("first", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"))
    publish("second", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"))
    visitor = Visitor(engine, engine.name("first"))
    assert visitor.get(engine.name("first")).body == b"1"
    assert visitor.get(engine.name("second")).body == b"2"
    leave(first)
    eventually(
        lambda: visitor.get(engine.name("first")).status == 404, "the first tunnel has closed"
    )
    assert visitor.get(engine.name("second")).body == b"2"


MISROUTED = [
    ("{engine}.evil.test", 421, "misdirected"),
    ("example.com", 421, "misdirected"),
    ("127.0.0.1", 421, "misdirected"),
    ("a.b.t.{engine}", 421, "misdirected"),
    ("nobody.t.{engine}", 404, "unknown_host"),
    ("raw.t.{engine}", 421, "misdirected"),
]


@pytest.mark.parametrize("asked,status,label", MISROUTED)
def test_other_names_are_told_so(engine, publish, asked, status, label):
    publish("route")
    publish("raw", protocol="tls")
    asked = asked.format(engine=engine.host)
    h2 = Visitor(engine, engine.name("route")).get(asked)
    assert (h2.status, h2.headers["x-weir-error"]) == (status, label)
    visitor = visit(engine, "route")
    visitor.send(f"GET / HTTP/1.1\r\nHost: {asked}\r\n\r\n".encode())
    got, head, _ = read_answer(visitor)
    assert got == status and f"x-weir-error: {label}".encode() in head
    assert b"\r\nserver:" not in head.lower()


def test_a_tunnel_that_wants_newer_tls_is_not_reached_over_older(engine, publish):
    publish("lax")
    publish("strict", tls_min_version="tls1.3")
    old = Visitor(engine, engine.name("lax"), maximum=ssl.TLSVersion.TLSv1_2)
    assert old.get(engine.name("lax")).status == 200
    assert old.get(engine.name("strict")).status == 421
    assert Visitor(engine, engine.name("lax")).get(engine.name("strict")).status == 200


def test_hosts_are_compared_without_case_dot_and_port(engine, publish):
    publish("names")
    visitor = Visitor(engine, engine.name("names"))
    for authority in ("NAMES.t.Edge.Test", "names.t.edge.test.", "names.t.edge.test:1"):
        assert visitor.get(authority).status == 200


def test_the_engines_own_name_is_the_api(engine, publish):
    publish("api")
    visitor = Visitor(engine, engine.name("api"))
    got = visitor.get(engine.host, "/api/tunnels")
    assert got.status == 401 and "x-weir-error" not in got.headers


# ---- CONNECT and upgrades


def connected(stream):
    """Answers CONNECT, then echoes."""
    stream.recv_until(b"\r\n\r\n", 30)
    stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        data = stream.recv_record(30)
        if not data:
            return
        stream.send(data)


def test_connect_goes_to_the_tunnel_of_the_tls_session(engine, publish):
    publish("proxy", connected)
    publish("elsewhere")
    visitor = visit(engine, "proxy")
    visitor.send(b"CONNECT target.test:25 HTTP/1.1\r\nHost: target.test:25\r\n\r\nearly")
    head = visitor.recv_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and b"content-length" not in head.lower()
    assert visitor.recv_exact(5) == b"early"
    visitor.send(b"raw\r\n\r\n")
    assert visitor.recv_exact(7) == b"raw\r\n\r\n"

    h2 = Visitor(engine, engine.name("proxy"))
    stream = h2.raw_request([(":method", "CONNECT"), (":authority", "target.test:25")], end=False)
    answer = h2.answers[stream]
    assert h2.read(lambda: answer.status == 200)
    h2.send(stream, b"ping")
    assert h2.read(lambda: answer.body == b"ping")
    assert h2.get(engine.name("elsewhere")).status == 421

    strayed = Visitor(engine, engine.name("proxy"))
    assert strayed.get(engine.name("elsewhere")).status == 200
    stream = strayed.raw_request([(":method", "CONNECT"), (":authority", "t:1")], end=False)
    strayed.read(lambda: strayed.answers[stream].status)
    assert strayed.answers[stream].status == 421


def test_connect_without_a_tunnel_is_not_possible(engine):
    visitor = engine.visit(engine.host, alpn=["http/1.1"])
    visitor.send(b"CONNECT target.test:25 HTTP/1.1\r\nHost: target.test:25\r\n\r\n")
    status, head, _ = read_answer(visitor)
    assert status == 405 and b"allow: " in head


def websocket(stream):
    """Answers the handshake, then echoes raw bytes."""
    head = stream.recv_until(b"\r\n\r\n", 30)
    lower = head.lower()
    good = b"upgrade: websocket" in lower and b"connection: upgrade" in lower
    if not good or not head.startswith(b"GET /chat?a=b "):
        stream.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return
    at = lower.index(b"sec-websocket-key: ") + len(b"sec-websocket-key: ")
    key = head[at : at + 24]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    stream.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\nwelcome" % accept
    )
    while True:
        data = stream.recv_record(30)
        if not data:
            return
        stream.send(data)


def test_websocket_over_h1(engine, publish):
    publish("ws", websocket)
    visitor = visit(engine, "ws")
    visitor.send(
        f"GET /chat?a=b HTTP/1.1\r\nHost: {engine.name('ws')}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = visitor.recv_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ") and b"Upgrade: websocket" in head
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert visitor.recv_exact(7) == b"welcome"
    visitor.send(b"\x81\x02hi")
    assert visitor.recv_exact(4) == b"\x81\x02hi"
    visitor.send_notify()
    assert visitor.recv_all() == b""


def test_websocket_over_h2(engine, publish):
    publish("ws2", websocket)
    host = engine.name("ws2")
    visitor = Visitor(engine, host)
    assert visitor.read(lambda: visitor.settings)
    assert visitor.settings[8].new_value == 1  # SETTINGS_ENABLE_CONNECT_PROTOCOL
    fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", host),
        (":path", "/chat?a=b"),
        ("sec-websocket-version", "13"),
    ]
    stream = visitor.raw_request(fields, end=False)
    answer = visitor.answers[stream]
    assert visitor.read(lambda: answer.body == b"welcome")
    assert answer.status == 200 and "sec-websocket-accept" not in answer.headers
    visitor.send(stream, b"\x81\x02hi")
    assert visitor.read(lambda: answer.body.endswith(b"\x81\x02hi"))
    visitor.send(stream, b"", end=True)
    assert visitor.read(lambda: answer.ended)


def test_a_service_that_does_not_upgrade_is_no_success_over_h2(engine, publish):
    publish("page", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"))
    host = engine.name("page")
    visitor = Visitor(engine, host)
    fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", host),
        (":path", "/"),
    ]
    assert visitor.finish(visitor.raw_request(fields, end=False)).status == 502


# ---- Pages


def test_pages_suit_who_asks(engine):
    plain = engine.curl(engine.name("nobody"), "/", "-i")
    assert b"content-type: text/plain" in plain.stdout.lower()
    browser = engine.curl(engine.name("nobody"), "/", "-i", "-H", "Accept: text/html,*/*;q=0.8")
    assert b"content-type: text/html" in browser.stdout.lower() and b"<h1>404" in browser.stdout
    head = engine.curl(engine.name("nobody"), "/", "-I")
    assert b"404" in head.stdout and head.returncode == 0


def test_a_refusing_agent_is_502(engine, publish):
    agent = Agent(engine)
    agent.tunnel(hostname="refusing")
    visitor = visit(engine, "refusing")
    visitor.send(f"GET / HTTP/1.1\r\nHost: {engine.name('refusing')}\r\n\r\n".encode())
    agent.refuse(agent.next_stream())
    status, head, _ = read_answer(visitor)
    assert status == 502 and b"x-weir-error: agent_refused" in head
    agent.close()


@pytest.mark.parametrize(
    "answer,label",
    [(b"", b"upstream_closed"), (b"SSH-2.0-x\r\n", b"upstream_bad")],
)
def test_a_service_that_is_none_is_502(engine, publish, answer, label):
    publish("none", closes_behind(answer))
    visitor = visit(engine, "none")
    visitor.send(f"POST / HTTP/1.1\r\nHost: {engine.name('none')}\r\nContent-Length: 0\r\n\r\n".encode())
    status, head, _ = read_answer(visitor)
    assert status == 502 and b"x-weir-error: " + label in head


# ---- Floods and slow ones


def flood_of_pings(visitor):
    for _ in range(150):
        visitor.h2.ping(b"12345678")
    visitor.flush()


def flood_of_settings(visitor):
    visitor.pipe.send(bytes.fromhex("000000040000000000") * 100)


def flood_of_resets(visitor):
    for _ in range(250):
        stream = visitor.request(visitor.engine.host, "/api/openapi.json")
        visitor.h2.reset_stream(stream)
        visitor.flush()


def flood_of_continuations(visitor):
    visitor.pipe.send(bytes.fromhex("000000010000000001") + bytes.fromhex("000000090000000001") * 40)


def flood_of_empty_data(visitor):
    stream = visitor.request(visitor.engine.name("calm"), method="POST", end=False)
    visitor.pipe.send((b"\0\0\0\0\0" + stream.to_bytes(4, "big")) * 150)


@pytest.mark.parametrize(
    "flood",
    [
        flood_of_pings,
        flood_of_settings,
        flood_of_resets,
        flood_of_continuations,
        flood_of_empty_data,
    ],
)
def test_floods_are_told_to_calm_down(engine, publish, flood):
    publish("calm")
    before = engine.metrics().get("weir_engine_h2_floods_total", 0)
    visitor = Visitor(engine, engine.name("calm"))
    assert visitor.read(lambda: visitor.settings)
    try:
        flood(visitor)
    except OSError:
        pass  # it has been cut off in the middle
    visitor.read(lambda: visitor.goaway is not None)
    assert visitor.goaway == ENHANCE_YOUR_CALM
    eventually(
        lambda: engine.metrics()["weir_engine_h2_floods_total"] > before, "the flood is counted"
    )


def test_h2_head_lists_have_a_limit(engine, publish):
    publish("lists")
    host = engine.name("lists")
    visitor = Visitor(engine, host)
    fields = [(f"x-{n}", "a" * 3000) for n in range(12)]
    assert visitor.get(host, headers=fields).status == 431
    assert visitor.get(host, headers=[("x", "a" * 20000)]).status == 200


def test_visitors_that_leave_do_not_leave_streams_behind(engine, publish):
    publish("leave", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"))
    host = engine.name("leave")
    visitor = visit(engine, "leave")
    visitor.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    visitor.recv_until(b"\r\n\r\n1")
    h2 = Visitor(engine, host)
    answer = h2.answers[h2.request(host)]
    h2.read(lambda: answer.body == b"1")
    visitor.reset()
    h2.close()

    def none_active():
        return engine.metrics()['weir_engine_streams_active{kind="http"}'] == 0

    eventually(none_active, "all streams have ended")


@pytest.mark.parametrize("version", [1, 2])
def test_requests_are_in_the_books_without_their_queries(engine, publish, version):
    publish("books")
    host = engine.name("books")
    mark = engine.log.mark()
    counter = f'weir_engine_http_requests_total{{code="2xx",version="h{version}"}}'
    before = engine.metrics()[counter]
    path = f"/v{version}?rstream.token=secret-of-a-visitor"
    got = engine.curl(host, path, "--http1.1" if version == 1 else "--http2")
    assert b"secret-of-a-visitor" in got.stdout  # the service gets it
    line = engine.log.wait(
        "http_request", mark, request=f"GET {host}:{engine.port}/v{version}", status=200
    )["details"]
    assert line["httpVersion"] == version and line["visitor"] == "127.0.0.1"
    assert len(line["requestId"]) == 32 and "edgeError" not in line
    assert "secret-of-a-visitor" not in str(engine.log.lines[mark:])
    assert engine.metrics()[counter] == before + 1

    engine.curl(engine.name("nobody"), "/")
    line = engine.log.wait("http_request", mark, edgeError="unknown_host")["details"]
    assert line["status"] == 404


def test_slow_heads_are_cut_off(engine):
    slow = engine.visit(engine.host, alpn=["http/1.1"])
    slow.send(b"GET / HTTP/1.1\r\nX: ")
    silent = engine.visit(engine.host, alpn=["h2"])
    status, head, _ = read_answer(slow, LORIS_S)
    assert status == 408 and b"x-weir-error: request_timeout" in head
    silent.recv_all(LORIS_S)
    assert silent.ended is not None
