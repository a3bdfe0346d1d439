# SPDX-License-Identifier: Apache-2.0
"""Who is who on the one port, and published TLS (docs/spec/engine.md, sections 1.4, 3 and 6.6)."""
import itertools
import socket
import ssl

import pytest

from lib import tls
from lib.agent import Agent, Framed, echo
from lib.engine import HOST
from lib.wait import eventually

numbers = itertools.count(1)


@pytest.fixture
def agent(engine):
    return Agent(engine)


def unique():
    return f"tls{next(numbers)}"


def alert_of(call, *args, **options):
    """The alert a handshake is refused with, as OpenSSL names it."""
    with pytest.raises(ssl.SSLError) as refused:
        call(*args, **options)
    return refused.value.reason


def client_hello(server_name, alpn=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = server_name is not None
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(hello, size):
    """The same hello, cut into records of so many bytes."""
    payload = hello[5:]
    pieces = [payload[i : i + size] for i in range(0, len(payload), size)]
    return b"".join(hello[:3] + len(p).to_bytes(2, "big") + p for p in pieces)


def raw(engine, data):
    sock = socket.create_connection(engine.address, 10)
    sock.sendall(data)
    return sock


def read_exact(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"ended after {data!r}"
        data += piece
    return data


def read_all(sock):
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


# ---- Who is who (1.4)


@pytest.mark.parametrize(
    "server_name", [HOST, HOST.upper(), f"nobody.t.{HOST}"], ids=["host", "case", "unknown"]
)
def test_agents_are_known_by_their_protocol(engine, server_name):
    assert Agent(engine, server_name=server_name).client_id


def test_an_agent_without_a_server_name(engine):
    class Nameless(Framed):
        def __init__(self, engine):
            tls.Pipe.__init__(self, engine.address, None, engine.ca, alpn=["rstrm/1"])

    pipe = Nameless(engine)
    pipe.write("open_control_channel_req", client_details={"token": engine.token()})
    assert pipe.expect("open_control_channel_rsp").error.code == 2010


def test_agents_need_the_newest_tls(engine):
    reason = alert_of(Agent, engine, maximum=ssl.TLSVersion.TLSv1_2)
    assert reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_visitors_may_be_older(engine, version):
    visitor = engine.visit(HOST, alpn=["h2", "http/1.1"], minimum=version, maximum=version)
    assert visitor.protocol == "h2"
    assert engine.visit(HOST, alpn=["http/1.1"]).protocol == "http/1.1"
    assert engine.visit(HOST).protocol is None


def test_http_visitors_are_offered_both(engine, agent):
    host = agent.tunnel(hostname=unique()).hostname.value
    assert engine.visit(host, alpn=["http/1.1", "h2"]).protocol == "h2"
    assert engine.visit(host, alpn=["http/1.1"]).protocol == "http/1.1"
    assert engine.visit(host).protocol is None


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x00", b"\0"])
def test_what_is_no_tls_is_cut(engine, garbage):
    assert read_all(raw(engine, garbage)) in (b"", b"\x15\x03\x01\x00\x02\x02\x16")


# ---- Terminated (6.6)


def test_the_tunnels_order_of_protocols_counts(engine, agent):
    host = agent.tunnel(
        protocol="tls", hostname=unique(), tls_alpns=["rstream-runtime-stream", "h2"]
    ).hostname.value
    assert engine.visit(host, alpn=["h2", "rstream-runtime-stream"]).protocol == (
        "rstream-runtime-stream"
    )
    assert engine.visit(host, alpn=["x", "h2"]).protocol == "h2"
    assert engine.visit(host).protocol is None
    foreign = raw(engine, client_hello(host, ["x"]))
    assert read_all(foreign) == b"\x15\x03\x03\x00\x02\x02\x78"  # no_application_protocol
    foreign.close()


def test_a_tunnel_without_protocols_selects_none(engine, agent):
    host = agent.tunnel(protocol="tls", hostname=unique()).hostname.value
    assert engine.visit(host, alpn=["h2", "x"]).protocol is None


def test_the_least_version_of_a_tunnel(engine, agent):
    host = agent.tunnel(
        protocol="tls", hostname=unique(), tls_min_version="tls1.3"
    ).hostname.value
    assert engine.visit(host).tls.version() == "TLSv1.3"
    reason = alert_of(engine.visit, host, maximum=ssl.TLSVersion.TLSv1_2)
    assert reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bytes_of_a_terminated_tunnel(engine, agent, version):
    host = agent.tunnel(protocol="tls", hostname=unique()).hostname.value
    agent.serve(echo)
    visitor = engine.visit(host, minimum=version, maximum=version)
    data = bytes(range(256)) * 2000
    visitor.send(data)
    visitor.send_notify()
    assert visitor.recv_all() == data
    assert visitor.ended == "notify"


def test_a_hello_in_small_records_is_routed(engine, agent):
    host = agent.tunnel(protocol="tls", hostname=unique(), tls_mode="passthrough").hostname.value
    hello = in_records(client_hello(host), 7)
    sock = raw(engine, hello)
    _, stream = agent.bound()
    assert stream.recv_exact(len(hello)) == hello
    sock.close()


# ---- Passthrough (6.6)


@pytest.fixture
def passed(agent):
    return agent.tunnel(protocol="tls", hostname=unique(), tls_mode="passthrough").hostname.value


def test_passthrough_changes_no_byte(engine, agent, passed):
    hello = client_hello(passed, ["h2", "x"])
    sock = raw(engine, b"")
    for byte in hello:
        sock.sendall(bytes([byte]))
    sock.sendall(b"\x17\x03\x03early")
    _, stream = agent.bound()
    assert stream.recv_exact(len(hello) + 8) == hello + b"\x17\x03\x03early"
    answer = bytes(range(256)) * 300
    stream.send(answer)
    assert read_exact(sock, len(answer)) == answer
    sock.shutdown(socket.SHUT_WR)
    assert stream.recv_all() == b""
    stream.send(b"after the end")
    stream.send_notify()
    assert read_all(sock) == b"after the end"
    sock.close()


def test_passthrough_tls_of_the_service(engine, agent, passed, authority):
    """The certificate a visitor sees is the service's, not the engine's."""
    cert, key = authority.issue("the service", stem="service", hosts=[passed])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)

    def service(stream):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = server.wrap_bio(incoming, outgoing, server_side=True)

        def step(call):
            while True:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    stream.send(outgoing.read())
                    incoming.write(stream.recv_record(30))

        step(session.do_handshake)
        session.write(step(lambda: session.read(100)).upper())
        stream.send(outgoing.read())
        stream.recv_all(30)

    agent.serve(service)
    visitor = engine.visit(passed)
    der = visitor.tls.getpeercert()
    assert (("commonName", "the service"),) in der["subject"]
    visitor.send(b"hello")
    assert visitor.recv_exact(5) == b"HELLO"


def test_passthrough_of_an_agent_that_does_not_come(engine, agent, passed):
    sock = raw(engine, client_hello(passed))
    agent.refuse(agent.next_stream())
    assert read_all(sock) == b""  # nothing of our own is ever sent
    sock.close()


@pytest.mark.parametrize("name", [f"nobody.t.{HOST}", None])
def test_names_nobody_publishes_are_answered_by_the_edge(engine, name):
    visitor = engine.visit(name, alpn=["http/1.1"])
    host = name or HOST
    visitor.send(f"GET /nowhere HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert visitor.recv_all().startswith(b"HTTP/1.1 404")


# ---- Certificates (3.4)


def fingerprint(engine):
    return engine.visit(HOST).tls.getpeercert(binary_form=True)


def test_a_new_certificate_is_used_without_a_restart(engine, authority):
    files = engine.settings["certs"]["static"]
    before = fingerprint(engine)
    kept = engine.visit(HOST, alpn=["http/1.1"])
    cert, key = authority.issue(HOST, stem="newer", hosts=[HOST, f"*.t.{HOST}"])
    # Between the two renames the pair does not match.
    cert.rename(files["cert_file"])
    assert fingerprint(engine) == before
    key.rename(files["key_file"])
    eventually(lambda: fingerprint(engine) != before, "the new certificate")
    kept.send(f"GET /nowhere HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    assert kept.recv_all().startswith(b"HTTP/1.1 404")
