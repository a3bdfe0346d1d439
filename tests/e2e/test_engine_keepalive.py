# SPDX-License-Identifier: Apache-2.0
"""http.upstream_keepalive: streams that serve any visitor of their tunnel (spec section 6.1)."""
import threading

import pytest

from lib import http1, http2, tls
from lib.engine import Engine
from lib.site import Site, label_of
from lib.wait import eventually

WORKERS = 1  # a pool is its worker's, and a visitor comes to any
ENGINE_SETTINGS = {"http": {"upstream_keepalive": True}}


@pytest.fixture
def site(engine, request):
    label = label_of(request.node.name)

    def publish(app=None, **properties):
        return Site(engine, label, app and http1.service(app), **properties)

    return publish


def told(message, stream):
    stream.send(http1.answer(f"{message.method} {message.target}".encode()))


def test_visitors_share_a_stream_one_after_the_other(site):
    demo = site(told)
    for i in range(3):
        assert demo.get(f"/{i}").body == f"GET /{i}".encode()
    assert demo.streams == 1


def test_visitors_at_the_same_time_do_not(site):
    both = threading.Barrier(2, timeout=10)

    def app(message, stream):
        both.wait()
        told(message, stream)

    demo = site(app)
    visitors = [demo.visitor(), demo.visitor()]
    for _ in range(2):
        for visitor in visitors:
            visitor.send(http1.request(demo.host))
        for visitor in visitors:
            assert http1.read_answer(visitor).status == 200
    assert demo.streams == 2


def test_tunnels_do_not_share(engine):
    sites = [Site(engine, f"apart-{i}", http1.service(told)) for i in range(2)]
    for demo in sites * 2:
        assert demo.get().status == 200
    assert [demo.streams for demo in sites] == [1, 1]


@pytest.mark.parametrize("scheme", ["Negotiate YII=", "NTLM TlRM"], ids=["negotiate", "ntlm"])
def test_credentials_of_a_connection_stay_with_their_visitor(site, scheme):
    demo = site(told)
    assert demo.get().status == 200
    visitor = demo.visitor()
    for _ in range(2):
        assert demo.ask(visitor, fields=[f"Authorization: {scheme}"]).status == 200
    assert demo.streams == 2  # a fresh one, kept for its visitor
    assert demo.ask(visitor).status == 200  # whom the service knows by it
    assert demo.get("/other").status == 200  # on the first stream
    assert demo.streams == 2
    visitor.close()
    assert demo.get().status == 200
    assert demo.streams == 2


def test_other_credentials_do_not_matter(site):
    demo = site(told)
    for _ in range(2):
        assert demo.get(fields=["Authorization: Basic YTpi"]).status == 200
    assert demo.streams == 1


def test_an_upgrade_takes_no_shared_stream(site):
    def app(message, stream):
        if message["upgrade"] is None:
            return told(message, stream)
        stream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                    b"Upgrade: chat\r\n\r\n")
        stream.recv_all(10)
        return False

    demo = site(app)
    assert demo.get().status == 200
    visitor = demo.visitor()
    assert demo.ask(visitor, fields=["Connection: Upgrade", "Upgrade: chat"]).status == 101
    assert demo.streams == 2
    assert demo.get().status == 200
    assert demo.streams == 2


@pytest.fixture
def hasty(authority, tmp_path):
    """An engine that keeps streams for a second only."""
    running = Engine(authority, tmp_path, {**ENGINE_SETTINGS, "timeouts": {"http_idle_seconds": 1}})
    yield running
    tls.close_all()
    running.stop()


def test_a_stream_at_rest_ends_when_it_is_idle(hasty):
    ended = threading.Event()

    def handler(stream):
        told(http1.read_request(stream), stream)
        stream.recv_all(20)
        if stream.ended == "notify":
            ended.set()

    demo = Site(hasty, "rests", handler)
    assert demo.get().status == 200
    assert ended.wait(10)


def test_a_stream_of_a_closed_tunnel_is_not_met_again(site):
    demo = site(told)
    assert demo.get().status == 200
    demo.agent.write("close_tunnel_req", tunnel_id=demo.tunnel.id.value)
    eventually(lambda: demo.get().status == 404, "the tunnel is closed")
    again = site(lambda message, stream: stream.send(http1.answer(b"the new one")))
    assert again.get().body == b"the new one"
    assert demo.streams == 1


def test_visitors_share_h2(engine):
    def app(peer, stream_id, request):
        http2.answer(peer, stream_id, request[":path"].encode())

    demo = Site(engine, "shared-h2", http2.service(app), http_version="h2c")
    for i in range(3):
        assert demo.get(f"/{i}").body == f"/{i}".encode()
    assert demo.streams == 1
