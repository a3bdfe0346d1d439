# SPDX-License-Identifier: Apache-2.0
"""Raw streams: private dials, TLS tunnels and published ports; half-close; agents that die, hang
or leave; the end of the engine; certificates that change (spec engine, sections 2.4-4.13, 6.6)."""
import os
import pathlib
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import pytest

from lib import agent as agents
from lib import h2_visitor, inner_tls, tls
from lib.agent import Agent, dial, refusal
from lib.engine import Engine
from lib.wait import eventually

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIG = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def start(authority, tmp_path):
    """Engines of the test's own: start(settings)."""
    started = []

    def starter(settings=None, **options):
        engine = Engine(authority, tmp_path, settings, **options)
        started.append(engine)
        return engine

    yield starter
    tls.close_all()
    for engine in started:
        if engine.process.poll() is None:
            engine.stop()


def streams(engine, kind):
    """The books of one kind of stream: those that are bound, and outcomes by result."""
    page = engine.metrics()
    active = page[f'weir_engine_streams_active{{kind="{kind}"}}']
    results = ("ok", "refused", "timeout", "capacity", "gone", "error")
    name = 'weir_engine_streams_total{{kind="{}",result="{}"}}'
    return active, {r: page[name.format(kind, r)] for r in results}


def settled(engine, kind):
    eventually(lambda: streams(engine, kind)[0] == 0, "no stream is active")


# ---- Private dials (4.12)


@pytest.mark.parametrize("by", ["name", "id"])
@pytest.mark.parametrize("dialer_zero_rtt", [True, False])
@pytest.mark.parametrize("agent_zero_rtt", [True, False])
def test_dial(engine, by, dialer_zero_rtt, agent_zero_rtt):
    agent = Agent(engine)
    tunnel = agent.tunnel(publish=False, name=f"db-{by}-{dialer_zero_rtt}-{agent_zero_rtt}")
    target = tunnel.name.value if by == "name" else tunnel.id.value
    early = b"early" if dialer_zero_rtt else b""
    dialer = dial(engine, target, zero_rtt=dialer_zero_rtt, more=early)
    request = agent.next_stream()
    assert request.tunnel_id == tunnel.id.value
    assert request.source_ip.v4 == 0x7F000001
    assert not request.HasField("proxy_endpoint")
    back = agent.connect_back(request, zero_rtt=agent_zero_rtt)
    if not agent_zero_rtt:
        assert not back.expect("proxy_rsp").HasField("error")
    if not dialer_zero_rtt:
        assert dialer.expect("stream_rsp").stream_id == request.stream_id
    agent.accept(request)
    dialer.send(b"question")
    assert back.recv_exact(len(early) + 8) == early + b"question"
    back.send(BIG)
    assert dialer.recv_exact(len(BIG)) == BIG
    dialer.send(BIG)
    assert back.recv_exact(len(BIG)) == BIG


def test_dial_holds_a_whole_buffer_until_it_is_bound(engine):
    agent = Agent(engine)
    agent.tunnel(publish=False, name="buffer")
    dialer = dial(engine, "buffer", zero_rtt=True)
    sender = threading.Thread(target=dialer.send, args=(BIG,), daemon=True)
    sender.start()
    request = agent.next_stream()
    back = agent.connect_back(request)
    assert back.recv_exact(len(BIG), 20) == BIG
    sender.join(5)


def test_responses_are_records_of_their_own(engine):
    """Spec 4.11: payload in the record of a response is lost by some, so none is there."""
    agent = Agent(engine)
    agent.tunnel(publish=False, name="records")
    dialer = dial(engine, "records", zero_rtt=False)
    request = agent.next_stream()
    back = agent.connect_back(request, zero_rtt=False)
    back.send(b"from the agent")
    first = back.recv_record()
    assert first == b"\0\0\0\x02\x62\x00"  # ProxyRsp, empty, and nothing behind it
    first = dialer.recv_record()
    assert len(first) == 4 + int.from_bytes(first[:4], "big")
    assert dialer.recv_exact(14) == b"from the agent"


def test_what_the_dialer_said_waits_for_the_agents_word(engine):
    agent = Agent(engine)
    agent.tunnel(publish=False, name="hold")
    dialer = dial(engine, "hold", zero_rtt=True, more=b"payload")
    request = agent.next_stream()
    agent.accept(request)  # before ProxyReq: completes nothing, but ends the hold at once
    back = agent.connect_back(request, zero_rtt=False)
    assert not back.expect("proxy_rsp").HasField("error")
    assert back.recv_exact(7) == b"payload"
    dialer.send(b"more")
    assert back.recv_exact(4) == b"more"


def test_dial_is_refused(engine):
    agent = Agent(engine)
    agent.tunnel(publish=False, name="refusals")

    def code(*args, **fields):
        return dial(engine, *args, **fields).expect("stream_rsp").error.code

    assert code("nobody") == 3000
    assert code("refusals", token="nonsense") == 1000
    assert code("refusals", token=engine.token(permissions=[])) == 1000
    assert code("refusals", datagram_channel=True) == 5000
    dialer = dial(engine, "refusals")
    agent.refuse(agent.next_stream())
    assert dialer.expect("stream_rsp").error.code == 6000
    assert dialer.recv_all() == b""
    # zero_rtt: the end alone.
    assert dial(engine, "nobody", zero_rtt=True).recv_all() == b""
    dialer = dial(engine, "refusals", zero_rtt=True)
    agent.refuse(agent.next_stream())
    assert dialer.recv_all() == b""


def test_a_stream_id_is_good_once_and_only_with_its_secret(engine):
    agent = Agent(engine)
    agent.tunnel(publish=False, name="once")
    dialer = dial(engine, "once", zero_rtt=True, more=b"x")
    request = agent.next_stream()

    def rejected(**changes):
        back = agent.connect_back(request, zero_rtt=False, **changes)
        answer = back.expect("proxy_rsp")
        assert answer.error.code == 4000
        return answer.error.message.value

    other = "0" * 8 + request.stream_id[8:]
    texts = {
        rejected(secret="wrong"),
        rejected(secret=""),
        rejected(secret=request.secret.value[:-1] + "!"),
        rejected(stream_id=other),
        rejected(stream_id="no uuid"),
        rejected(stream_id=""),
        rejected(stream_id="ff" + request.stream_id[2:]),
    }
    back = agent.connect_back(request)
    assert back.recv_exact(1) == b"x"
    texts.add(rejected())
    assert len(texts) == 1, "the reason must not show"
    dialer.close()


def test_sixteen_dialers_at_once(engine):
    agent = Agent(engine)
    agent.tunnel(publish=False, name="many")
    agent.serve(agents.echo)
    dialers = [dial(engine, "many", zero_rtt=True, more=b"%02d" % i) for i in range(16)]
    for number, dialer in enumerate(dialers):
        assert dialer.recv_exact(2) == b"%02d" % number
        dialer.close()


def test_an_agent_is_asked_for_so_many_streams_and_no_more(start):
    engine = start(
        {
            "limits": {
                "outstanding_streams_per_channel": 2,
                "queued_streams_per_channel": 1,
            }
        }
    )
    agent = Agent(engine)
    agent.tunnel(publish=False, name="two")
    first = dial(engine, "two")
    one = agent.next_stream()
    second = dial(engine, "two")
    two = agent.next_stream()
    third = dial(engine, "two")
    assert agent.quiet(0.2)
    assert dial(engine, "two").expect("stream_rsp").error.code == 7000
    agent.refuse(one)
    assert first.expect("stream_rsp").error.code == 6000
    three = agent.next_stream()
    back = agent.connect_back(three)
    assert third.expect("stream_rsp").stream_id == three.stream_id
    back.send(b"hello")
    assert third.recv_exact(5) == b"hello"
    agent.refuse(two)
    assert second.expect("stream_rsp").error.code == 6000


def test_an_agent_that_does_not_come_is_given_up(start):
    engine = start({"timeouts": {"stream_request_seconds": 1}})
    agent = Agent(engine)
    agent.tunnel(publish=False, name="late")
    dialer = dial(engine, "late")
    request = agent.next_stream()
    agent.accept(request)  # a word without a connection completes nothing
    assert dialer.expect("stream_rsp").error.code == 6000
    late = agent.connect_back(request, zero_rtt=False)
    assert late.expect("proxy_rsp").error.code == 4000
    assert streams(engine, "dial")[1]["timeout"] == 1


# ---- TLS tunnels (6.6)


def test_terminated(engine):
    agent = Agent(engine)
    tunnel = agent.tunnel(protocol="tls", hostname="raw", tls_alpns=["foo", "bar"])
    assert tunnel.port.value == engine.port
    agent.serve(agents.echo)
    name = engine.name("raw")
    visitor = engine.visit(name, alpn=["bar", "foo"])
    assert visitor.protocol == "foo"  # the tunnel's order
    visitor.send(b"hello")
    assert visitor.recv_exact(5) == b"hello"
    assert engine.visit(name).protocol is None
    with pytest.raises(ssl.SSLError, match="NO_APPLICATION_PROTOCOL|no application protocol"):
        engine.visit(name, alpn=["h2"])


def test_versions(engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="modern", tls_min_version="tls1.3")
    agent.tunnel(protocol="tls", hostname="old")
    agent.serve(agents.echo)
    old = {"maximum": ssl.TLSVersion.TLSv1_2}
    visitor = engine.visit(engine.name("old"), **old)
    visitor.send(b"1.2")
    assert visitor.recv_exact(3) == b"1.2"
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        engine.visit(engine.name("modern"), **old)
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        Agent(engine, **old)


def test_a_name_that_nobody_has_and_no_name(engine):
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        engine.visit(engine.name("nobody"), alpn=["foo"])
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        engine.visit(None, alpn=["foo"])


class Service:
    """A TLS server behind an agent's stream."""

    def __init__(self, authority, stream, alpn=(), hosts=()):
        cert, key = authority.issue("the service", stem="service", hosts=hosts)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        self.stream = stream
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self._do(self.tls.do_handshake)

    def _do(self, act, *args):
        while True:
            try:
                result = act(*args)
                self.stream.send(self.outgoing.read())
                return result
            except ssl.SSLWantReadError:
                self.stream.send(self.outgoing.read())
                data = self.stream.recv_record(10)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def read(self, size):
        data = b""
        while len(data) < size:
            data += self._do(self.tls.read, size - len(data))
        return data

    def write(self, data):
        self._do(self.tls.write, data)

    def end(self):
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        self.stream.send(self.outgoing.read())


def serve_once(authority, agent, handler, **options):
    """Answers one stream with a TLS service in a thread; [service or what went wrong]."""
    outcome = []

    def run():
        try:
            _, stream = agent.bound()
            service = Service(authority, stream, **options)
            outcome.append(service)
            handler(service)
        except Exception as error:  # pylint: disable=broad-except
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return outcome, thread


def shout(service):
    service.write(service.read(5).upper())
    service.end()


def test_passthrough_is_ended_by_the_service(authority, engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="through", tls_mode="passthrough")
    name = engine.name("through")
    outcome, thread = serve_once(authority, agent, shout, alpn=["foo"], hosts=[name])
    visitor = engine.visit(name, alpn=["foo"])
    assert visitor.protocol == "foo"
    assert "the service" in str(visitor.tls.getpeercert())
    visitor.send(b"hello")
    assert visitor.recv_all() == b"HELLO"
    thread.join(10)
    assert isinstance(outcome[0], Service)


def test_passthrough_of_a_hello_in_pieces(authority, engine):
    """The hello is only peeked at, however it comes; not one byte of ours is in between."""
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="pieces", tls_mode="passthrough")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing, server_hostname=engine.name("pieces"))
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    sock = socket.create_connection(engine.address, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(hello), 61):
        assert agent.quiet(0.005)
        sock.sendall(hello[at : at + 61])
    _, stream = agent.bound()
    assert stream.recv_exact(len(hello)) == hello
    stream.send(b"\x15\x03\x03\x00\x02\x02\x28")
    assert sock.recv(100) == b"\x15\x03\x03\x00\x02\x02\x28"
    sock.close()


def test_upstream_tls(authority, engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="both", upstream_tls=True)
    outcome, thread = serve_once(authority, agent, shout)
    visitor = engine.visit(engine.name("both"))
    visitor.send(b"hello")
    assert visitor.recv_all() == b"HELLO"
    assert visitor.ended == "notify"
    thread.join(10)
    assert isinstance(outcome[0], Service)


def test_a_service_that_does_not_speak_tls(engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="plain-behind", upstream_tls=True)
    visitor = engine.visit(engine.name("plain-behind"))
    _, stream = agent.bound()
    stream.send(b"220 this is no TLS\r\n")
    assert visitor.recv_all() == b""
    settled(engine, "tls")


def test_a_visitor_that_nobody_answers_is_turned_away(engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="refuses")
    visitor = engine.visit(engine.name("refuses"))
    agent.refuse(agent.next_stream())
    assert visitor.recv_all() == b""
    assert visitor.ended == "notify"


# ---- Half-close and broken ends (3.3, 4.13)


@pytest.mark.parametrize("first", ["visitor", "agent"])
def test_half_close(engine, first):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname=f"half-{first}")
    visitor = engine.visit(engine.name(f"half-{first}"))
    _, stream = agent.bound()
    one, other = (visitor, stream) if first == "visitor" else (stream, visitor)
    one.send(b"all I have to say")
    one.send_notify()
    assert other.recv_all() == b"all I have to say"
    assert other.ended == "notify"
    other.send(BIG)
    assert one.recv_exact(len(BIG)) == BIG
    other.send_notify()
    assert one.recv_all() == b""
    assert one.ended == "notify"
    settled(engine, "tls")


def test_half_close_before_the_agent_is_there(engine):
    agent = Agent(engine)
    agent.tunnel(publish=False, name="early-end")
    dialer = dial(engine, "early-end", zero_rtt=True, more=b"question")
    dialer.send_notify()
    _, stream = agent.bound()
    assert stream.recv_all() == b"question"
    stream.send(b"answer")
    stream.send_notify()
    assert dialer.recv_all() == b"answer"


def test_a_fin_without_close_notify_is_an_end(engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="bare")
    visitor = engine.visit(engine.name("bare"))
    _, stream = agent.bound()
    visitor.send(b"bye")
    visitor.sock.shutdown(socket.SHUT_WR)
    assert stream.recv_all() == b"bye"
    stream.send(b"answer")
    stream.send_notify()
    assert visitor.recv_all() == b"answer"


@pytest.mark.parametrize("who", ["visitor", "agent"])
def test_a_reset_aborts_the_other_side(engine, who):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname=f"reset-{who}")
    visitor = engine.visit(engine.name(f"reset-{who}"))
    _, stream = agent.bound()
    visitor.send(b"x")
    assert stream.recv_exact(1) == b"x"
    one, other = (visitor, stream) if who == "visitor" else (stream, visitor)
    one.reset()
    assert other.recv_all() == b""
    assert other.ended == "reset"
    settled(engine, "tls")


def test_a_reset_is_no_end_in_order_around_a_services_own_tls(authority, engine):
    """Neither TLS of the stream says that all has been said."""
    cert, key = authority.issue("resets-inside", hosts=["inside"])
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="reset-inside", upstream_tls=True)
    visitor = engine.visit(engine.name("reset-inside"))
    request = agent.next_stream()
    stream = agent.connect_back(request)
    session = inner_tls.Server(stream, cert, key)
    visitor.send(b"x")
    assert session.recv_exact(1) == b"x"
    visitor.reset()
    assert session.recv_record() == b""
    assert stream.ended == "reset"
    settled(engine, "tls")


def test_a_reader_that_is_slow_slows_the_writer(engine):
    """What is sent before the writer has to stop fits into the kernel's buffers and ours."""
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="slow")
    visitor = engine.visit(engine.name("slow"))
    _, stream = agent.bound()
    stream.sock.settimeout(0.5)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 256 << 20:
            stream.send(BIG)
            sent += len(BIG)
    assert sent < 32 << 20
    assert visitor.recv_exact(len(BIG)) == BIG


# ---- Agents that die, hang, or leave (4.6, 4.9, 5.6)


AGENT_PROCESS = """
import sys, time
sys.path.insert(0, {root!r})
from types import SimpleNamespace
from lib.agent import Agent
engine = SimpleNamespace(
    address=("127.0.0.1", {port}), host={host!r}, ca={ca!r}, token=lambda: {token!r})
agent = Agent(engine, interval_ms={interval_ms})
agent.tunnel(protocol="tls", hostname={label!r})
print("open", flush=True)
sequence = 0
while True:
    sequence += 1
    agent.write("heartbeat", sequence=sequence)
    time.sleep({interval_ms} / 1000)
"""


class AgentProcess:
    """An agent that can be killed or stopped; it sends heartbeats and accepts nothing."""

    def __init__(self, engine, label, token, interval_ms=200):
        program = AGENT_PROCESS.format(
            root=str(ROOT),
            port=engine.port,
            host=engine.host,
            ca=engine.ca,
            token=token,
            label=label,
            interval_ms=interval_ms,
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "open\n"

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        self.process.kill()
        self.process.wait(5)
        self.process.stdout.close()


@pytest.fixture
def other_agent(engine):
    running = []

    def starter(label, **options):
        token = options.pop("token", None) or engine.token(sub="the same")
        running.append(AgentProcess(engine, label, token, **options))
        return running[-1]

    yield starter
    for process in running:
        process.end()


def test_a_killed_agent_frees_its_names_at_once(engine, other_agent):
    killed = other_agent("killed", token=engine.token(sub="somebody"))
    newcomer = Agent(engine, token=engine.token(sub="somebody else"))
    assert refusal(newcomer.tunnel, protocol="tls", hostname="killed") == 2000
    killed.signal(signal.SIGKILL)
    eventually(lambda: try_tunnel(newcomer, "killed"), "the name is free, and not by a deadline")


def try_tunnel(agent, label):
    try:
        return agent.tunnel(protocol="tls", hostname=label)
    except agents.Refused as refused:
        assert refused.text == "Hostname is already in use."
        return None


def test_a_stopped_agent_loses_its_name_to_the_same_identity(engine, other_agent):
    stopped = other_agent("stopped")
    same = Agent(engine, token=engine.token(sub="the same"))
    other = Agent(engine, token=engine.token(sub="another"))
    assert refusal(same.tunnel, protocol="tls", hostname="stopped") == 2000
    stopped.signal(signal.SIGSTOP)
    assert refusal(other.tunnel, protocol="tls", hostname="stopped") == 2000
    eventually(lambda: try_tunnel(same, "stopped"), "two heartbeats of 0.2 s are missed")
    assert refusal(other.tunnel, protocol="tls", hostname="stopped") == 2000
    visitor = engine.visit(engine.name("stopped"))
    _, stream = same.bound()
    visitor.send(b"mine")
    assert stream.recv_exact(4) == b"mine"


def test_takeover_never(start):
    engine = start({"takeover": "never"})
    token = engine.token(sub="the same")
    holder = AgentProcess(engine, "kept", token)
    holder.signal(signal.SIGSTOP)
    same = Agent(engine, token=token)
    deadline = time.monotonic() + 0.6  # three heartbeats
    while time.monotonic() < deadline:
        assert refusal(same.tunnel, protocol="tls", hostname="kept") == 2000
    holder.end()


@pytest.mark.parametrize("how", ["close", "eof", "reset"])
def test_streams_outlive_their_channel(engine, how):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname=f"outlive-{how}")
    visitor = engine.visit(engine.name(f"outlive-{how}"))
    _, stream = agent.bound()
    visitor.send(b"before")
    assert stream.recv_exact(6) == b"before"
    waiting = engine.visit(engine.name(f"outlive-{how}"))
    agent.next_stream()
    if how == "close":
        agent.close_channel()
        assert agent.recv_all() == b""
        assert agent.ended == "notify"
    elif how == "eof":
        agent.close()
    else:
        agent.reset()
    assert waiting.recv_all() == b""  # nobody will come for it
    visitor.send(b"after")
    assert stream.recv_exact(5) == b"after"
    stream.send(BIG)
    assert visitor.recv_exact(len(BIG)) == BIG
    again = Agent(engine)
    assert try_tunnel(again, f"outlive-{how}"), "the name is free"


def test_closing_a_tunnel_keeps_its_streams(engine):
    agent = Agent(engine)
    tunnel = agent.tunnel(protocol="tls", hostname="closing")
    visitor = engine.visit(engine.name("closing"))
    _, stream = agent.bound()
    agent.close_tunnel(tunnel.id.value)
    agent.close_tunnel(tunnel.id.value)  # answered, though it is gone
    agent.close_tunnel("no such thing")
    visitor.send(b"still")
    assert stream.recv_exact(5) == b"still"
    with pytest.raises(ssl.SSLError):
        engine.visit(engine.name("closing"), alpn=["foo"])


def test_a_tunnel_of_another_channel_is_not_closed(engine):
    agent = Agent(engine)
    tunnel = agent.tunnel(protocol="tls", hostname="not-yours")
    Agent(engine).close_tunnel(tunnel.id.value)
    engine.visit(engine.name("not-yours"), alpn=[])
    agent.next_stream()


def test_256_streams_are_asked_for_at_once_and_no_more(start):
    """Of a channel, as long as the agent does not answer; the others wait their turn."""
    engine = start({})
    agent = Agent(engine)
    agent.tunnel(protocol="http", hostname="many-at-once")
    host = engine.name("many-at-once")
    visitors = [h2_visitor.Visitor(engine, host) for _ in range(3)]
    for visitor in visitors:
        for _ in range(100):
            visitor.request(host)
    asked = [agent.next_stream() for _ in range(256)]
    assert agent.quiet(0.3)
    for request in asked[:44]:
        agent.refuse(request)
    asked += [agent.next_stream() for _ in range(44)]
    assert agent.quiet(0.3)
    assert len({request.stream_id for request in asked}) == 300
    for visitor in visitors:
        visitor.close()


# ---- Published TCP ports (5.9)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_tcp_port(start):
    port = free_port()
    engine = start(
        {"extensions": {"enabled": True, "trusted_ips": True, "tcp_ports": f"{port}"}}
    )
    agent = Agent(engine)
    tunnel = agent.tunnel(protocol="tcp")
    assert tunnel.port.value == port
    visitor = socket.create_connection(("127.0.0.1", port), 10)
    request, stream = agent.bound()
    assert request.source_ip.v4 == 0x7F000001
    visitor.sendall(b"hello")
    assert stream.recv_exact(5) == b"hello"
    visitor.shutdown(socket.SHUT_WR)
    assert stream.recv_all() == b""
    stream.send(BIG)
    stream.send_notify()
    got = b""
    while data := visitor.recv(65536):
        got += data
    assert got == BIG
    assert refusal(Agent(engine).tunnel, protocol="tcp", port=port) == 2000
    agent.close_tunnel(tunnel.id.value)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)
    again = Agent(engine).tunnel(protocol="tcp", port=port, trusted_ips=["192.0.2.0/24"])
    assert again.port.value == port
    visitor = socket.create_connection(("127.0.0.1", port), 10)
    assert visitor.recv(1) == b""


# ---- The end of the engine (2.4)


def test_drain(start):
    engine = start()
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="drain")
    visitor = engine.visit(engine.name("drain"))
    _, stream = agent.bound()
    visitor.send(b"before")
    assert stream.recv_exact(6) == b"before"
    engine.signal(signal.SIGTERM)
    eventually(lambda: refused(engine.address), "nobody listens")
    stream.send(b"in its grace")
    assert visitor.recv_exact(12) == b"in its grace"
    assert agent.quiet(0.1), "agents are told when the streams have gone"
    stream.send_notify()
    visitor.send_notify()
    # No CloseTunnelRsp: that would be for good.
    assert agent.recv_all() == b""
    assert agent.ended == "notify"
    assert engine.wait() == 0


def refused(address):
    try:
        socket.create_connection(address, 10).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it came in while the door was closing
        pass
    return False


def test_drain_ends_what_does_not_end(start):
    engine = start()
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="endless")
    visitor = engine.visit(engine.name("endless"))
    _, stream = agent.bound()
    visitor.send(b"x")
    assert stream.recv_exact(1) == b"x"
    began = time.monotonic()
    engine.signal(signal.SIGTERM)
    assert engine.wait() == 0
    assert time.monotonic() - began > 3
    assert visitor.recv_all() == b""
    assert agent.ended is None and agent.recv_all() == b""


# ---- Certificates that change (3.4)


def fingerprint(engine):
    visitor = engine.visit(engine.host, alpn=["http/1.1"])
    found = visitor.tls.getpeercert(binary_form=True)
    visitor.close()
    return found


def replace(authority, engine, stem):
    """The procedure of the operations page: install beside it, then two renames."""
    paths = engine.settings["certs"]["static"]
    cert, key = authority.issue(
        engine.host, stem=stem, hosts=[engine.host, f"*.t.{engine.host}"]
    )
    for new, path in ((cert, paths["cert_file"]), (key, paths["key_file"])):
        pathlib.Path(path + ".new").write_bytes(pathlib.Path(new).read_bytes())
    return paths["cert_file"], paths["key_file"]


def test_a_rotated_certificate_is_served_without_a_restart(authority, start):
    engine = start()
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="kept")
    agent.serve(agents.echo)
    visitor = engine.visit(engine.name("kept"))
    old = fingerprint(engine)
    cert, key = replace(authority, engine, "rotated")
    os.replace(cert + ".new", cert)
    # The pair does not match: the old one is served, and one line says so.
    failed = "tls_reload_failed"
    eventually(lambda: fingerprint(engine) == old and engine.log.find(failed), "a look")
    for _ in range(5):
        assert fingerprint(engine) == old
    os.replace(key + ".new", key)
    eventually(lambda: fingerprint(engine) != old, "the new certificate")
    visitor.send(b"still here")
    assert visitor.recv_exact(10) == b"still here"
    engine.log.wait("tls_reloaded")
    lines = [line for line in engine.log.lines if line["event"].startswith("tls_reload")]
    assert [line["event"] for line in lines] == ["tls_reload_failed", "tls_reloaded"]


def test_sighup_takes_a_certificate_at_once(authority, start):
    engine = start()
    old = fingerprint(engine)
    cert, key = replace(authority, engine, "hup")
    os.replace(cert + ".new", cert)
    os.replace(key + ".new", key)
    engine.signal(signal.SIGHUP)
    engine.log.wait("tls_reloaded")
    eventually(lambda: fingerprint(engine) != old, "the new certificate")


def test_the_server_name_chooses_among_certificates(authority, start):
    """extensions.certs: written out, wildcard, the main pair; changed, one by one; reloaded."""
    pairs = {
        "own": authority.issue("own", stem="own", hosts=["own.t.edge.test"]),
        "zone": authority.issue("zone", stem="zone", hosts=["*.t.edge.test", "*.other.test"]),
        "host": authority.issue("host", stem="host", hosts=["edge.test", "a.edge.test"]),
    }

    def listed(*names):
        files = [(str(cert), str(key)) for cert, key in map(pairs.get, names)]
        return [{"cert_file": cert, "key_file": key} for cert, key in files]

    # The main pair has edge.test and *.t.edge.test, too, and comes first.
    engine = start({"extensions": {"enabled": True, "certs": listed("own", "zone", "host")}})

    def served(name):
        context = ssl.create_default_context(cafile=engine.ca)
        context.check_hostname = False
        with socket.create_connection(engine.address, 10) as sock:
            with context.wrap_socket(sock, server_hostname=name) as visitor:
                subject = dict(pair[0] for pair in visitor.getpeercert()["subject"])
                return subject["commonName"]

    rows = [
        ("own.t.edge.test", "own"),
        ("OWN.t.edge.test", "own"),
        ("x.t.edge.test", engine.host),
        ("edge.test", engine.host),
        ("a.edge.test", "host"),
        ("x.other.test", "zone"),
        ("other.test", engine.host),
        ("x.y.other.test", engine.host),
        ("nowhere.test", engine.host),
        (None, engine.host),
    ]
    for name, expected in rows:
        assert served(name) == expected, name
    agent = Agent(engine)
    assert refusal(agent.tunnel, hostname="x.other.test") == 2000
    agent.tunnel(protocol="tls", hostname="own")
    agent.serve(agents.echo)
    visitor = engine.visit("own.t.edge.test")  # verified, by the certificate of that one name
    family = "weir_engine_further_cert_not_after_timestamp_seconds"
    page = engine.metrics()
    for cert, _ in pairs.values():
        assert page[f'{family}{{cert_file="{cert}"}}'] > time.time()

    # One file after the other, and another name in it.
    cert, key = pairs["own"]
    new_cert, new_key = authority.issue("new", stem="new", hosts=["new.t.edge.test"])
    os.replace(new_cert, cert)
    eventually(
        lambda: served("own.t.edge.test") == "own" and engine.log.find("tls_reload_failed"), "a look"
    )
    os.replace(new_key, key)
    eventually(lambda: served("new.t.edge.test") == "new", "the new pair")
    eventually(lambda: served("own.t.edge.test") == engine.host, "nobody has it any more")
    engine.log.wait("tls_reloaded", certificate=str(cert))
    lines = [line for line in engine.log.lines if line["event"].startswith("tls_reload")]
    assert [line["event"] for line in lines] == ["tls_reload_failed", "tls_reloaded"]
    visitor.send(b"still here")
    assert visitor.recv_exact(10) == b"still here"

    # Another list.
    mark = engine.log.mark()
    engine.write_config(extensions={"certs": listed("zone")})
    engine.signal(signal.SIGHUP)
    assert engine.log.wait("config_changed", mark)["details"] == {"keys": "extensions.certs"}
    eventually(lambda: served("a.edge.test") == engine.host, "it is not listed any more")
    assert served("x.other.test") == "zone"


def test_a_session_resumes_on_any_worker(engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="tickets")
    agent.serve(agents.echo)
    context = ssl.create_default_context(cafile=engine.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    reused = []
    for _ in range(8):
        with socket.create_connection(engine.address, 10) as sock:
            with context.wrap_socket(
                sock, server_hostname=engine.name("tickets"), session=session
            ) as visitor:
                visitor.sendall(b"x")
                assert visitor.recv(1) == b"x"
                session = visitor.session
                reused.append(visitor.session_reused)
    assert reused == [False] + [True] * 7


# ---- Limits


def test_one_address_has_so_many_connections(start):
    engine = start({"limits": {"connections_per_address": 3}})

    def enter():
        return engine.visit(engine.host, alpn=["http/1.1"])

    for _ in range(5):
        Agent(engine)  # has shown a token: does not count any more
    visitors = [enter() for _ in range(3)]
    with pytest.raises(OSError):
        enter()
    visitors.pop().close()

    def enters():
        try:
            return enter()
        except OSError:
            return None

    eventually(enters, "there is a place again")
    assert engine.metrics()['weir_engine_connections_refused_total{reason="address"}'] >= 1


# ---- PROXY protocol

PROXIES = {"tls": {"proxy_protocol": True, "proxy_networks": ["127.0.0.2/32"]}}
HEADERS = {
    "v1": b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 443\r\n",
    "v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + bytes([192, 0, 2, 7, 127, 0, 0, 1, 4, 210, 1, 187]),
}


def connect_as_proxy(engine):
    return socket.create_connection(engine.address, 10, source_address=("127.0.0.2", 0))


def greet(sock, engine, name):
    context = ssl.create_default_context(cafile=engine.ca)
    return context.wrap_socket(sock, server_hostname=name)


def test_a_named_proxy_says_who_the_visitor_is(start):
    engine = start(PROXIES)
    agent = Agent(engine)  # from an address that is no proxy: no header
    agent.tunnel(protocol="tls", hostname="behind")
    name = engine.name("behind")
    for header in HEADERS.values():
        sock = connect_as_proxy(engine)
        for byte in header[:-1]:
            sock.sendall(bytes([byte]))
        sock.sendall(header[-1:])
        visitor = greet(sock, engine, name)
        request, stream = agent.bound()
        assert request.source_ip.v4 == 0xC0000207
        visitor.sendall(b"hello")
        assert stream.recv_exact(5) == b"hello"
        visitor.close()
    with pytest.raises(OSError):
        greet(connect_as_proxy(engine), engine, name)
    half = connect_as_proxy(engine)
    half.sendall(b"PROXY TCP4")
    half.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        half.recv(1)
    key = 'weir_engine_tls_handshakes_total{result="proxy_header",version="none"}'
    assert engine.metrics()[key] == 2


def test_why_a_raw_stream_ended_is_logged(start):
    engine = start()
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="told")
    visitor = engine.visit(engine.name("told"))
    _, stream = agent.bound()
    visitor.send(b"six by")
    assert stream.recv_exact(6) == b"six by"
    stream.reset()
    line = engine.log.wait("raw_stream_ended", hostname=engine.name("told"))["details"]
    assert line["reason"] == "reading from the agent failed"
    assert (line["bytesToAgent"], line["bytesFromAgent"]) == (6, 0)


# ---- Visitors who do not wait


def hello_for(name):
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def gone(engine):
    return engine.metrics()['weir_engine_streams_total{kind="tls",result="gone"}']


def leave_by_fin(sock):
    sock.close()


def leave_by_reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("leave", [leave_by_fin, leave_by_reset])
def test_a_passthrough_visitor_who_leaves_is_not_asked_for(engine, leave):
    agent = Agent(engine)
    label = leave.__name__.replace("_", "-")
    tunnel = agent.tunnel(protocol="tls", hostname=label, tls_mode="passthrough")
    before, mark = gone(engine), engine.log.mark()
    sock = socket.create_connection(engine.address, 10)
    sock.sendall(hello_for(engine.name(label)))
    request = agent.next_stream()
    leave(sock)
    assert engine.log.wait("raw_visitor_left", mark)["details"]["tunnelId"] == tunnel.id.value
    eventually(lambda: gone(engine) == before + 1, "it is counted")
    late = agent.connect_back(request)
    assert late.recv_all() == b""


def test_a_terminated_visitor_who_resets_is_not_asked_for(engine):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="resets")
    before, mark = gone(engine), engine.log.mark()
    visitor = engine.visit(engine.name("resets"))
    visitor.send(b"never mind")
    agent.next_stream()
    visitor.reset()
    engine.log.wait("raw_visitor_left", mark)
    eventually(lambda: gone(engine) == before + 1, "it is counted")


def test_a_terminated_visitor_who_has_said_all_gets_the_answer(engine):
    """His end comes before the agent does."""
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="early")
    visitor = engine.visit(engine.name("early"))
    visitor.send(b"all I have to say")
    visitor.send_notify()
    visitor.sock.shutdown(socket.SHUT_WR)
    request = agent.next_stream()
    assert agent.quiet(0.2)
    stream = agent.connect_back(request)
    agent.accept(request)
    assert stream.recv_all() == b"all I have to say"
    stream.send(b"the answer")
    stream.send_notify()
    assert visitor.recv_all() == b"the answer"


def test_visitors_who_left_keep_no_place(start):
    """One may be asked for at a time; the second is asked for when the first has left."""
    engine = start({"limits": {"outstanding_streams_per_channel": 1}}, workers=1)
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname="one", tls_mode="passthrough")
    socks = [socket.create_connection(engine.address, 10) for _ in range(2)]
    for sock in socks:
        sock.sendall(hello_for(engine.name("one")))
    first = agent.next_stream()
    assert agent.quiet(0.2)
    leave_by_fin(socks[0])
    second = agent.next_stream()
    assert second.stream_id != first.stream_id
    leave_by_fin(socks[1])
    agent.close()
