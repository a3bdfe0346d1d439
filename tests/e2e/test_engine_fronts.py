# SPDX-License-Identifier: Apache-2.0
"""Load balancers that are not ours in front of the engine: HAProxy and nginx pass TCP through and say by
the PROXY protocol who the visitor is (docs/engine.md, "A real host")."""
import re
import socket
import ssl

import pytest

from lib import http1, http2, targets, tls
from lib.agent import Agent
from lib.engine import Engine
from lib.site import Site, label_of
from lib.wait import eventually

FRONT = "127.0.0.2"  # where the load balancer connects from
VISITOR = "127.0.0.9"
SETTINGS = {
    "tls": {"proxy_protocol": True, "proxy_networks": [f"{FRONT}/32"]},
    "http": {"forwarded": True},
}
HAPROXY = """
global
  maxconn 200
defaults
  mode tcp
  timeout connect 10s
  timeout client 60s
  timeout server 60s
listen front
  bind 127.0.0.1:{port}
  server engine 127.0.0.1:{engine} source {front} {header} check inter 100ms
"""
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; user root; pid {directory}/nginx.pid; error_log stderr;
events {{}}
stream {{ server {{
  listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{engine}; proxy_bind {front}; proxy_protocol on;
}} }}
"""


@pytest.fixture(scope="module")
def hidden(authority, tmp_path_factory):
    running = Engine(authority, tmp_path_factory.mktemp("hidden"), SETTINGS)
    yield running
    running.stop()


class Behind:
    """The engine as it is seen by way of a load balancer, by its agents too."""

    def __init__(self, engine, port, checks):
        self.engine = engine
        self.checks = checks
        self.address = ("127.0.0.1", port)

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def visit(self, server_name, alpn=(), **options):
        return tls.Pipe(self.address, server_name, self.ca, alpn=alpn, source=VISITOR, **options)


def program(kind, directory, values):
    config = directory / "front.conf"
    if kind == "nginx-v1":
        config.write_text(NGINX.format(directory=directory, **values))
        return ["/usr/sbin/nginx", "-c", config]
    header = {"haproxy-v1": "send-proxy", "haproxy-v2": "send-proxy-v2"}[kind]
    config.write_text(HAPROXY.format(header=header, **values))
    return ["/usr/sbin/haproxy", "-db", "-f", config]


@pytest.fixture(scope="module", params=["haproxy-v1", "haproxy-v2", "nginx-v1"])
def front(request, hidden, tmp_path_factory):
    values = {"port": targets.free_port(), "engine": hidden.port, "front": FRONT}
    directory = tmp_path_factory.mktemp("front")
    server = targets.Program(program(request.param, directory, values), values["port"])
    yield Behind(hidden, values["port"], request.param.startswith("haproxy"))
    server.stop()


@pytest.fixture
def site(front, request):
    return Site(front, label_of(request.node.name), http1.service(headers))


def headers(message, stream):
    stream.send(http1.answer(message.head))


def said(body, name):
    return re.search(rf"\r\n{name}: ([^\r]*)\r\n".encode(), body, re.IGNORECASE)[1].decode()


def check_facts(body, authority):
    assert said(body, "x-forwarded-for") == VISITOR
    assert said(body, "x-real-ip") == VISITOR
    assert said(body, "forwarded") == f'for={VISITOR};host="{authority}";proto=https'


def test_services_learn_the_visitors_address(site):
    visitor = site.visitor()
    forged = [f"{name}: for=203.0.113.1" for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP")]
    for _ in range(2):
        check_facts(site.ask(visitor, fields=forged).body, site.host)
    assert site.streams == 1


def test_also_from_h2(site):
    visitor = http2.Visitor(site)
    for stream in [visitor.ask(f"/{i}") for i in range(20)]:
        check_facts(bytes(visitor.answer(stream).body), site.host)


def test_also_from_curl(site, front):
    port = front.address[1]
    shown = front.curl(
        site.host, "/", "--http2", "--interface", VISITOR, "--write-out", "%{http_version}",
        "--connect-to", f"::127.0.0.1:{port}",
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.endswith(b"\r\n\r\n2")
    check_facts(shown.stdout, f"{site.host}:{front.port}")


def hello_for(name):
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_agents_are_told_of_a_terminated_visitor(front):
    agent = Agent(front)
    agent.tunnel(protocol="tls", hostname="ends")
    visitor = front.visit(front.name("ends"))
    request, stream = agent.bound()
    assert request.source_ip.v4 == 0x7F000009
    visitor.send(b"question")
    visitor.send_notify()
    assert stream.recv_all() == b"question"
    stream.send(b"answer")
    stream.send_notify()
    assert visitor.recv_all() == b"answer"


def test_agents_are_told_of_one_whose_tls_is_passed_on(front):
    agent = Agent(front)
    agent.tunnel(protocol="tls", hostname="passes", tls_mode="passthrough")
    hello = hello_for(front.name("passes"))
    with socket.create_connection(front.address, 10, (VISITOR, 0)) as visitor:
        visitor.sendall(hello)
        request, stream = agent.bound()
        assert request.source_ip.v4 == 0x7F000009
        assert stream.recv_exact(len(hello)) == hello
        stream.send(b"whatever the service says")
        assert visitor.recv(100) == b"whatever the service says"


HANDSHAKES = 'weir_engine_tls_handshakes_total{{result="{}",version="none"}}'


def test_checks_of_the_load_balancer_are_only_connections(hidden, front):
    """HAProxy says LOCAL or UNKNOWN and leaves; nginx checks nothing."""

    def counted(result):
        return hidden.metrics()[HANDSHAKES.format(result)]

    if front.checks:
        before = counted("closed")
        eventually(lambda: counted("closed") >= before + 3, "it checks")
    assert counted("proxy_header") == 0
