# SPDX-License-Identifier: Apache-2.0
"""The edge beside the requests it carries: the plain port, own pages, and the end of the engine."""
import signal
import socket
import subprocess

import pytest

from lib.agent import Agent, http_echo
from lib.engine import Engine, free_port
from lib.h2_visitor import Visitor

HOST = "edge.test"
NO_ERROR = 0


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pages")
    (directory / "404.html").write_text("<p>nobody here</p>")
    (directory / "503.html").write_text("<p>come back later</p>")
    challenges = directory / "challenges"
    challenges.mkdir()
    (challenges / "token_A-1").write_text("token_A-1.thumb")
    (directory / "secret").write_text("not for anybody")
    return directory


@pytest.fixture(scope="module")
def edge(authority, tmp_path_factory, pages):
    engine = Engine(
        authority,
        tmp_path_factory.mktemp("edge"),
        {
            "http": {
                "enabled": True,
                "listen_addr": f"127.0.0.1:{free_port()}",
                "acme_challenge_dir": str(pages / "challenges"),
                "forwarded": True,
                "trusted_proxies": "127.0.0.1",
            },
            "pages": {
                "not_found": str(pages / "404.html"),
                "unavailable": str(pages / "503.html"),
            },
        },
    )
    yield engine
    engine.stop()


def plain(engine, request):
    """What the plain port says to these bytes."""
    with socket.create_connection(("127.0.0.1", engine.http_port), 10) as visitor:
        visitor.sendall(request.encode("latin-1"))
        data = b""
        while True:
            piece = visitor.recv(65536)
            if not piece:
                return data.decode("latin-1")
            data += piece


def ask_plain(engine, target, host, method="GET"):
    return plain(engine, f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "target,host,location",
    [
        ("/", "edge.test", "https://edge.test:{port}/"),
        ("/a%0d%0ab?c=d", "demo.t.edge.test", "https://demo.t.edge.test:{port}/a%0d%0ab?c=d"),
        ("/", "Demo.T.EDGE.test.:80", "https://demo.t.edge.test:{port}/"),
        ("//evil.test/", "edge.test", "https://edge.test:{port}//evil.test/"),
        ("http://edge.test/x", "edge.test", "https://edge.test:{port}/x"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_our_names_are_sent_to_https(edge, method, target, host, location):
    got = ask_plain(edge, target, host, method)
    assert got.startswith("HTTP/1.1 308 "), got
    assert f"\r\nLocation: {location.format(port=edge.port)}\r\n" in got


@pytest.mark.parametrize(
    "request_text,status",
    [
        ("GET / HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: edge.test.evil.test\r\nConnection: close\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: a@edge.test\r\nConnection: close\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET /\rX: y HTTP/1.1\r\nHost: edge.test\r\n\r\n", 400),
        ("CONNECT edge.test:80 HTTP/1.1\r\nHost: edge.test:80\r\nConnection: close\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\nHost: edge.test\r\nX: {'a' * 20000}\r\n\r\n", 431),
    ],
)
def test_nobody_else_is_sent_anywhere(edge, request_text, status):
    got = plain(edge, request_text)
    assert got.startswith(f"HTTP/1.1 {status} "), got
    assert "Location" not in got


def test_challenges_are_served_and_nothing_beside_them(edge):
    path = "/.well-known/acme-challenge/"
    got = ask_plain(edge, path + "token_A-1", HOST)
    assert got.startswith("HTTP/1.1 200 ") and got.endswith("\r\n\r\ntoken_A-1.thumb")
    for name in ("", "none", "../secret", "..%2fsecret", "token_A-1/", ".", "a" * 129):
        got = ask_plain(edge, path + name, HOST)
        assert got.startswith("HTTP/1.1 404 "), (name, got)
    assert ask_plain(edge, path + "token_A-1", HOST, "POST").startswith("HTTP/1.1 405 ")
    assert ask_plain(edge, path + "token_A-1", "evil.test").startswith("HTTP/1.1 421 ")


def test_the_operators_pages(edge):
    got = edge.curl(edge.name("nobody"), "/", "-i").stdout
    assert b" 404" in got and b"<p>nobody here</p>" in got
    assert b"content-type: text/html" in got.lower() and b"x-weir-error: unknown_host" in got
    agent = Agent(edge)
    agent.tunnel(hostname="away")
    visitor = edge.visit(edge.name("away"), alpn=["http/1.1"])
    visitor.send(f"GET / HTTP/1.1\r\nHost: {edge.name('away')}\r\n\r\n".encode())
    agent.refuse(agent.next_stream())
    visitor.recv_until(b"\r\n\r\n")
    assert visitor.recv_exact(22) == b"<p>come back later</p>"
    agent.close()


def test_a_trusted_proxy_is_believed(edge):
    agent = Agent(edge)
    agent.tunnel(hostname="proxied")
    agent.serve(http_echo)
    headers = ("-H", "X-Forwarded-For: 192.0.2.1, 192.0.2.2", "-H", "Forwarded: for=6.6.6.6")
    got = edge.curl(edge.name("proxied"), "/", *headers).stdout.decode()
    host = f"{edge.name('proxied')}:{edge.port}"
    assert "x-forwarded-for: 192.0.2.1, 192.0.2.2, 127.0.0.1\r\n" in got
    assert f'forwarded: for=127.0.0.1;host="{host}";proto=https\r\n' in got
    assert "6.6.6.6" not in got


def test_the_end_lets_answers_finish(authority, tmp_path):
    engine = Engine(authority, tmp_path)
    agent = Agent(engine)
    agent.tunnel(hostname="last")
    host = engine.name("last")
    h1 = engine.visit(host, alpn=["http/1.1"])
    h1.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    _, first = agent.bound()
    first.recv_until(b"\r\n\r\n")
    h2 = subprocess.Popen(
        ["curl", "-sS", "--http2", "--noproxy", "*", "--cacert", engine.ca]
        + ["--resolve", f"{host}:{engine.port}:127.0.0.1", "-w", " %{http_version}"]
        + [f"https://{host}:{engine.port}/"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _, second = agent.bound()
    second.recv_until(b"\r\n\r\n")
    idle = engine.visit(host, alpn=["http/1.1"])
    idle_h2 = Visitor(engine, host)
    assert idle_h2.read(lambda: idle_h2.settings)
    engine.signal(signal.SIGTERM)
    assert idle.recv_all() == b"" and idle.ended == "notify"
    assert idle_h2.read(lambda: idle_h2.goaway is not None) and idle_h2.goaway == NO_ERROR
    for stream in (first, second):
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
    got = h1.recv_all()
    assert got.endswith(b"\r\n\r\nlast") and h1.ended == "notify"
    assert b"Connection: close" in got
    assert h2.communicate(timeout=10) == (b"last 2", b"")
    engine.stop()
