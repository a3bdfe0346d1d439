# SPDX-License-Identifier: Apache-2.0
"""Requests that two parties on the way may read differently: the collections that are going round.

Each row is a connection of its own. What is refused must not have reached the service; what is not
must reach it in words that have one reading (docs/spec/engine.md section 14).
"""
import re

import pytest

from lib import http1
from lib.h2_visitor import Visitor
from lib.site import Site, label_of

HOST = "smuggling.t.edge.test"
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n"
POST = f"POST / HTTP/1.1\r\nHost: {HOST}\r\n"
OURS = re.compile(rb"x-forwarded-for: 127\.0\.0\.1\r\n.*x-request-id: [0-9a-f]+\r\n", re.DOTALL)

CODINGS = [  # lines in the place of Transfer-Encoding: chunked
    "Transfer-Encoding: chunked\x0b", "Transfer-Encoding: \x0cchunked",
    "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,", 'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: 'chunked'", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: chunk",
    "Transfer-Encoding: chun ked", "Transfer-Encoding:", "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked\xff", "Transfer-Encoding: chunked\0", "Transfer-Encoding: \xa0chunked",
    "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "Transfer-Encoding\x0b: chunked",
    "Transfer-Encoding\0: chunked", "Transfer-Encoding:: chunked", "Transfer-Encoding; chunked",
    "Transfer-Encoding chunked", " Transfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked",
    "X: y\r\r\nTransfer-Encoding: chunked", "\nTransfer-Encoding: chunked",
]
LENGTHS = [
    "5, 5", "5 5", "5,", ",5", "5;", "05", "00000000000000000000000005", "+5", "-5", "5.0", "5e0",
    "5_0", "0x5", '"5"', "", "\x0b5", "5\0", "\xb25", "9223372036854775808", "18446744073709551621",
    "9" * 30, "5\r\nContent-Length: 5", "5\r\nContent-Length : 6", "\r\n 5",
]
CHUNKS = [
    "0x3\r\nabc\r\n", "+3\r\nabc\r\n", "-1\r\nabc\r\n", "1_0\r\nabc\r\n", " 3\r\nabc\r\n",
    "3\t\r\nabc\r\n", "3 ;a=b\r\nabc\r\n", "g\r\nabc\r\n", ";\r\nabc\r\n", "\r\n", "3\nabc\r\n",
    "3\rabc\r\n", "3\r\r\nabc\r\n", "3\r\nabc\n", "10000000000000003\r\nabc\r\n",
    "0" * 40 + "3\r\nabc\r\n", "3;a=b\nabc\r\n", "3;\nxx\r\nabc\r\n", "3;a\rb\r\nabc\r\n",
    '3;a="\r\nabc\r\n', "3;a=\0\r\nabc\r\n", "0;\n\r\n\r\n", "0\n\n", "0\r\n\n", "0\r\nxx\r\n",
    "0\r\nX: a\r\n b\r\n\r\n", "0\r\nX : a\r\n\r\n", "0\r\nX: a\nY: b\r\n\r\n", "0\r\nX: \0\r\n\r\n",
]
HEADS = [
    GET.replace("\r\n", "\n") + "\n", GET + "\n", "\n" + GET + "\r\n", " " + GET + "\r\n",
    GET + " \r\n\r\n", GET + "no colon\r\n\r\n", GET + "X\xff: a\r\n\r\n", GET + "X: \x01\r\n\r\n",
    GET + "X: \x7f\r\n\r\n", GET + "Host : other\r\n\r\n", GET + f"host: {HOST}\r\n\r\n",
    *(f"{line}\r\nHost: {HOST}\r\n\r\n" for line in (
        "GET /", "GET / http/1.1", "GET / HTTP/1.10", "GET / HTTP/01.1", "GET / HTTP/1.1 ", "GET / HTTP/1",
        "GET / HTTPS/1.1", "GET / RTSP/1.0", "SOURCE / ICE/1.0", "PRI * HTTP/2.0", "G(T / HTTP/1.1",
        "GET /a b HTTP/1.1", "GET /a\tb HTTP/1.1", "GET /\0 HTTP/1.1", "GET /\xff HTTP/1.1",
        "GET /\x7f HTTP/1.1", "GET https://other.t.edge.test/ HTTP/1.1", f"GET ftp://{HOST}/ HTTP/1.1",
        f"GET https://a@{HOST}/ HTTP/1.1", f"GET https://{HOST}:1/ HTTP/1.1")),
    *(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n" for host in (
        "", f"{HOST} other", f"{HOST}/x", f"{HOST}?x", f"{HOST}#x", f"{HOST}:x", f"{HOST}:99999",
        f"{HOST}:", f"{HOST}..", f"{HOST}\0", "%73muggling.t.edge.test")),
]
REFUSED = {
    "codings": [f"{POST}{line}\r\n\r\n0\r\n\r\n" for line in CODINGS],
    "codings beside a length": [f"{POST}{line}\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" for line in (
        *CODINGS, "Transfer-Encoding:\tchunked", "Transfer-Encoding: CHUNKED")],
    "lengths": [f"{POST}Content-Length: {length}\r\n\r\nabcde" for length in LENGTHS],
    "heads": HEADS,
}


@pytest.fixture
def site(engine, request):
    """site(handler): a service at HOST, which the test of before has just left."""
    assert label_of(HOST.partition(".")[0]) == "smuggling" and request.module.HOST == HOST
    return lambda handler: Site(engine, "smuggling", handler)


def heard_by(seen):
    """A service that says 200 to the first request and closes; seen gets what it was told."""

    def handle(stream):
        words = bytearray()
        seen.append(words)
        while not is_whole(bytes(words)):
            piece = stream.recv_record(30)
            if not piece:
                return
            words += piece
        stream.send(http1.answer(b"heard", fields=["Connection: close"]))

    return handle


def is_whole(words):
    head, end, body = words.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
    if b"\r\ntransfer-encoding: " in head.lower():
        return body.startswith(b"0\r\n") and body.endswith(b"\r\n\r\n") or b"\r\n0\r\n" in body
    return end and len(body) >= (int(length[1]) if length else 0)


def said(engine, words):
    visitor = engine.visit(HOST, alpn=["http/1.1"])
    visitor.send(words)
    try:
        return visitor.recv_all()
    except TimeoutError:
        return b"nothing"
    finally:
        visitor.close()


@pytest.mark.parametrize("kind", REFUSED)
def test_heads_are_refused(engine, site, kind):
    seen = []
    site(heard_by(seen))
    taken = {row: got[:60] for row in REFUSED[kind]
             if not (got := said(engine, row.encode("latin-1"))).startswith(b"HTTP/1.1 400 ")
             or got.count(b"HTTP/1.1 ") != 1}
    assert not taken
    assert not seen


def test_chunks_are_refused(engine, site):
    site(lambda stream: stream.recv_all(30))
    head = f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode()
    taken = {row: got[:60] for row in CHUNKS
             if not (got := said(engine, head + row.encode() + b"\r\n0\r\n\r\n")).startswith(
                 b"HTTP/1.1 400 ") or got.count(b"HTTP/1.1 ") != 1}
    assert not taken


ONE_READING = {  # what is sent, and what the service hears of it behind the request line and Host
    f"{POST}Transfer-Encoding:\tchunked \t\r\n\r\n0\r\n\r\n": "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    f"{POST}Transfer-Encoding: CHUNKED\r\n\r\n1\r\na\r\n00\r\n\r\n":
        "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    f"{POST}Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n": "Content-Length: 3\r\n\r\n0\r\n",
    f"{POST}Content_Length: 5\r\n\r\n": "\r\n",
    f"{POST}Content-Length:\t5\r\n\r\nabcde": "Content-Length: 5\r\n\r\nabcde",
    f"{POST}Connection: Content-Length\r\nContent-Length: 2\r\n\r\nab": "Content-Length: 2\r\n\r\nab",
    f"{POST}Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    f"{GET}Connection: Host, X-Real-IP, Cookie\r\nCookie: a\r\n\r\n": "\r\n",
    f"{GET}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n": "\r\n",
    f"{GET}X_Forwarded_For: 6.6.6.6\r\nx-FORWARDED-for: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\n\r\n": "\r\n",
    f"{POST}Transfer-Encoding: chunked\r\n\r\nA;a=b\r\n0123456789\r\n0;c\r\n\r\n":
        "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
    f"{POST}Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n"
    f"Host: other\r\nAuthorization: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Ok: 1\r\n\r\n":
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Ok: 1\r\n\r\n",
    f"\r\n{GET}\r\n": "\r\n",
    f"GET https://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n": "\r\n",
    f"GET / HTTP/1.1\r\nHost:\t{HOST}\t \r\n\r\n": "\r\n",
}


def test_what_is_taken_has_one_reading(engine, site):
    seen = []
    site(heard_by(seen))
    for row, heard in ONE_READING.items():
        got = said(engine, row.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1).encode())
        assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"heard"), (row, got)
        words = OURS.sub(b"", bytes(seen.pop()))
        line = b"%s / HTTP/1.1\r\nHost: %s\r\n" % (row.split()[0].encode(), HOST.encode())
        assert words == line + heard.encode(), row
    assert not seen


# ---- HTTP/2, of which the service hears HTTP/1.1


def h2_head(method="GET", scheme="https", authority=HOST, path="/"):
    named = ((":method", method), (":scheme", scheme), (":authority", authority), (":path", path))
    return [(name, value) for name, value in named if value is not None]


FIELDS = [
    ("a: b", "c"), (":a", "c"), ("a b", "c"), ("a ", "c"), ("", "c"), ("a\r\nb", "c"), ("a\nb", "c"),
    ("a\0", "c"), ("a\xff", "c"), ("transfer-encoding: chunked\r\nx", "c"),
    ("x", "a\r\nTransfer-Encoding: chunked"), ("x", " a"), ("x", "a "), ("x", "a\x01b"), ("x", "a\x7fb"),
    ("x", "a\r"), ("keep-alive", "1"), ("proxy-connection", "x"), ("upgrade", "websocket"),
    ("transfer-encoding", "identity"), ("te", "trailers, gzip"), ("connection", ""),
    (":authority", HOST), (":method", "POST"), (":status", "200"), (":protocol", "websocket"),
    ("cookie", "c\r\nx: y"), ("content-length", "9"), ("host", f"{HOST}/x"),
]
H2_LENGTHS = ["+3", "3, 3", "", " 3", "2", "9", "18446744073709551619", "-1", "0x3", "03", "3\r\nx: y"]
H2_HEADS = [
    *(h2_head(path=path) for path in (
        "/a b", "/ HTTP/1.1\r\nHost: x\r\n\r\nGET /admin", "/a\tb", "", "a", "*", "/#a", "https://evil/",
        "/\xe9", "?a", "/\0", None)),
    *(h2_head(method=method) for method in (
        "GET /x", "GET / HTTP/1.1\r\nX: y\r\n", "", "CONNECT", None)),
    *(h2_head(scheme=scheme) for scheme in ("https://x/", "a\r\nb", "", None)),
    *(h2_head(authority=authority) for authority in (
        f"{HOST}\r\nX: y", f"x@{HOST}", f"{HOST}/x", f"{HOST} x", f"{HOST}:99999", f"{HOST},{HOST}", "",
        None)),
    [*h2_head(), ("host", HOST), ("host", HOST)],
    [(":method", "GET"), (":scheme", "https"), ("x", "y"), (":authority", HOST), (":path", "/")],
]
H2_REFUSED = {
    "fields": [(h2_head() + [field], None) for field in FIELDS],
    "lengths": [(h2_head("POST") + [("content-length", length)], b"abc") for length in H2_LENGTHS],
    "heads": [(head, None) for head in H2_HEADS],
}


def h2_outcome(engine, fields, body=None):
    visitor = Visitor(engine, HOST)
    visitor.h2.config.header_encoding = None
    words = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    stream = visitor.raw_request(words, body=body)
    visitor.h2.config.header_encoding = "utf-8"
    got = visitor.finish(stream)
    visitor.close()
    return got


@pytest.mark.parametrize("kind", H2_REFUSED)
def test_h2_is_refused(engine, site, kind):
    """A body that is not as long as it was said to be is noticed when the head has gone on."""
    seen = []
    site(heard_by(seen))
    outcomes = [(fields, h2_outcome(engine, fields, body)) for fields, body in H2_REFUSED[kind]]
    assert not [row for row, got in outcomes if got.reset is None and got.status != 400]
    assert kind == "lengths" or not seen
    assert not [words for words in seen if is_whole(bytes(words))]


def test_h2_that_is_taken_has_one_reading(engine, site):
    seen = []
    site(heard_by(seen))
    underscored = [("content_length", "9"), ("transfer_encoding", "chunked"), ("x_real_ip", "6.6.6.6")]
    rows = [
        (h2_head(), None, "GET / HTTP/1.1", "\r\n"),
        (h2_head(authority=None) + [("host", HOST)], None, "GET / HTTP/1.1", "\r\n"),
        (h2_head() + [("x-forwarded-for", "6.6.6.6"), ("x-real-ip", "6.6.6.6")], None,
         "GET / HTTP/1.1", "\r\n"),
        (h2_head(method="POST") + underscored, b"abc", "POST / HTTP/1.1",
         "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        (h2_head(method="OPTIONS", path="*"), None, "OPTIONS * HTTP/1.1", "\r\n"),
        (h2_head(path="//other/"), None, "GET //other/ HTTP/1.1", "\r\n"),
    ]
    for fields, body, line, heard in rows:
        assert h2_outcome(engine, fields, body).body == b"heard", fields
        words = OURS.sub(b"", bytes(seen.pop()))
        assert words == f"{line}\r\nHost: {HOST}\r\n{heard}".encode(), fields
