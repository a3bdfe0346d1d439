# SPDX-License-Identifier: Apache-2.0
"""The agent with an engine that misbehaves (spec engine, sections 4 and 12)."""
import signal
import socket
import struct
import time

import pytest

from lib import rstrm
from lib.engine import free_port
from lib.forwarding import Forward
from lib.scripted import INTERVAL_MS, Scripted
from lib.wait import eventually


@pytest.fixture
def scripted(authority):
    running = Scripted(authority)
    yield running
    running.stop()


@pytest.fixture
def local():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    listener.settimeout(20)
    yield listener
    listener.close()


@pytest.fixture
def forward(scripted):
    running = []

    def starter(*args, **options):
        running.append(Forward(scripted, *args, **options))
        return running[-1]

    yield starter
    for one in running:
        if one.process.poll() is None:
            one.signal(signal.SIGINT)
            one.signal(signal.SIGTERM)  # a second one, which cannot melt into the first
        assert one.wait() in (0, 1)


def online(scripted, forward, local, *args):
    """(channel, running) with one tunnel."""
    running = forward(local.getsockname()[1], *args)
    channel = scripted.channel()
    channel.open_tunnel()
    running.online()
    return channel, running


# ---- What the agent says


def test_what_it_says_about_itself(scripted, forward, local):
    running = forward(local.getsockname()[1], "--name", "mine", "--label", "a=b", "--upstream-tls")
    channel = scripted.next()
    request = channel.open()
    details = request.client_details
    assert details.protocol_version.value == "1.4.5"
    assert (details.agent.value, details.channel.value, details.os.value) == ("weir", "cli", "linux")
    assert details.version.value and details.arch.value and details.token.value == scripted.token()
    assert request.liveness.heartbeat_interval_ms == INTERVAL_MS
    assert request.liveness.heartbeat_timeout_ms == 0
    member, beat = channel.read()
    assert (member, beat.sequence) == ("heartbeat", 1)
    asked = channel.open_tunnel().tunnel_properties
    assert (asked.name.value, dict(asked.labels), asked.publish.value) == ("mine", {"a": "b"}, True)
    assert asked.upstream_tls.value is True and not asked.HasField("token_auth")
    assert not asked.HasField("hostname") and not asked.HasField("port")
    running.online()


def test_a_stream_is_bound_with_its_secret(scripted, forward, local):
    channel, running = online(scripted, forward, local)
    channel.ask(source_ip={"v4": 0xC0000201})
    connection, _ = local.accept()
    stream = scripted.next()
    request = stream.expect("proxy_req")
    assert request.stream_id == "stream-1" and request.zero_rtt.value is True
    assert request.client_details.token.value == "secret of stream-1"
    answer = channel.expect("proxy_conn_rsp")
    assert answer.stream_id == "stream-1" and not answer.HasField("error")
    stream.send(b"to the service")
    assert connection.recv(100) == b"to the service"
    connection.sendall(b"and back")
    assert stream.recv_exact(8) == b"and back"
    eventually(lambda: any(e.get("source_ip") == "192.0.2.1" for e in running.told()), "the source")
    connection.close()
    stream.close()


def test_order_of_the_end(scripted, forward, local):
    channel, running = online(scripted, forward, local)
    running.signal(signal.SIGINT)
    assert channel.expect("close_tunnel_req").tunnel_id == "tunnel-1"
    channel.write("close_tunnel_rsp", tunnel_id="tunnel-1")
    channel.expect("close_control_channel_req")
    channel.write("close_control_channel_rsp")
    assert channel.ended() and running.wait() == 0


# ---- Slow, out of order, newer


def test_a_slow_engine(scripted, forward, local):
    running = forward(local.getsockname()[1])
    channel = scripted.channel()
    request = channel.expect("open_tunnel_req")
    envelope = rstrm.message(
        "open_tunnel_rsp", request_id=request.request_id, tunnel_properties={"id": "tunnel-1"}
    )
    for byte in rstrm.frame(envelope):
        channel.send(bytes([byte]))
    running.online()


def test_answers_in_the_wrong_order(scripted, forward, local):
    port = local.getsockname()[1]
    running = forward(port, f"127.0.0.1:{port}")
    channel = scripted.channel()
    first = channel.expect("open_tunnel_req")
    second = channel.expect("open_tunnel_req")
    channel.answer_tunnel(second, "second")
    channel.answer_tunnel(first, "first")
    running.online(2)
    told = {e["tunnel_id"]: e["forwarded"] for e in running.told() if e["status"] == "online"}
    assert told == {"first": str(port), "second": f"127.0.0.1:{port}"}


def test_what_is_newer_is_passed_over(scripted, forward, local):
    running = forward(local.getsockname()[1])
    channel = scripted.next()
    channel.expect("open_control_channel_req")
    unknown_member = b"\xfa\x07\x03abc"  # field 127, bytes
    answer = rstrm.message("open_control_channel_rsp", ok={"client_id": "c"})
    channel.send(rstrm.frame(b"") + rstrm.frame(unknown_member))
    channel.send(rstrm.frame(answer.SerializeToString() + unknown_member))
    channel.open_tunnel()
    running.online()
    channel.write("datagram_channel_close", stream_id="x")
    channel.write("open_tunnel_rsp", request_id="of nobody", error={"code": 1000})
    channel.write("close_tunnel_rsp", tunnel_id="of nobody")
    channel.write("server_message", message="all \x1b[31mred\x07")
    running.said("all  [31mred ")


def test_an_answer_nobody_waits_for_is_closed(scripted, forward, local):
    channel, _ = online(scripted, forward, local)
    channel.write(
        "open_tunnel_rsp", request_id="of nobody", tunnel_properties={"id": "stray"}
    )
    assert channel.expect("close_tunnel_req").tunnel_id == "stray"


# ---- Breaches


def breach_before_answer(channel):
    channel.expect("open_control_channel_req")
    channel.write("server_message", message="hello")


def breach_empty_answer(channel):
    channel.expect("open_control_channel_req")
    channel.write("open_control_channel_rsp")


def breach_no_client_id(channel):
    channel.expect("open_control_channel_req")
    channel.write("open_control_channel_rsp", ok={"client_id": ""})


def breach_length(channel):
    channel.open()
    channel.send(struct.pack(">I", 65536))


def breach_garbage(channel):
    channel.open()
    channel.send(rstrm.frame(b"\x07\xff\xff"))


def breach_no_tunnel_id(channel):
    channel.open()
    request = channel.expect("open_tunnel_req")
    channel.answer_tunnel(request, "")


def breach_no_stream_id(channel):
    channel.open()
    channel.open_tunnel()
    channel.ask(stream_id="")


def breach_interval(channel):
    channel.open(liveness=(INTERVAL_MS + 1, 15000))


def breach_short_timeout(channel):
    channel.open(liveness=(INTERVAL_MS, INTERVAL_MS - 1))


def breach_long_timeout(channel):
    channel.open(liveness=(INTERVAL_MS, 900001))


def breach_repeated_acknowledgement(channel):
    channel.open()
    channel.expect("heartbeat")
    channel.write("heartbeat", acknowledgement=1)
    channel.write("heartbeat", acknowledgement=1)


def breach_future_acknowledgement(channel):
    channel.open()
    channel.write("heartbeat", acknowledgement=2)


def breach_no_acknowledgement(channel):
    channel.open()
    channel.write("heartbeat")


def breach_own_sequence(channel):
    channel.open()
    channel.expect("heartbeat")
    channel.write("heartbeat", acknowledgement=1, sequence=1)


BREACHES = [value for name, value in sorted(globals().items()) if name.startswith("breach_")]


@pytest.mark.parametrize("breach", BREACHES, ids=lambda f: f.__name__[7:])
def test_breaches_end_the_channel_and_it_comes_back(scripted, forward, local, breach):
    running = forward(local.getsockname()[1])
    bad = scripted.next()
    breach(bad)
    assert bad.ended()
    eventually(
        lambda: any("the engine broke the protocol: " in s for s in running.statuses()), "a reason"
    )
    good = scripted.channel()  # the next attempt comes at once
    good.open_tunnel()
    running.online()


@pytest.mark.parametrize("how", ["close", "reset", "mid-frame"])
def test_losses(scripted, forward, local, how):
    channel, running = online(scripted, forward, local)
    if how == "mid-frame":
        channel.send(struct.pack(">I", 500) + b"half of it")
    (channel.reset if how == "reset" else channel.close)()
    running.wait_status("disconnected")
    again = scripted.channel()
    asked = again.open_tunnel().tunnel_properties
    assert asked.hostname.value == f"tunnel-1.t.{scripted.host}", "the name it had"
    running.online(2)


def test_silence_is_noticed(scripted, forward, local):
    running = forward(local.getsockname()[1])
    channel = scripted.channel(liveness=(INTERVAL_MS, INTERVAL_MS))
    channel.open_tunnel()
    running.online()
    running.wait_status("disconnected (the engine fell silent)")


def test_legacy_heartbeats(scripted, forward, local):
    running = forward(local.getsockname()[1])
    channel = scripted.channel(liveness=None)
    channel.open_tunnel()
    running.online()
    member, beat = channel.read()
    assert member == "heartbeat" and not beat.sequence and not beat.acknowledgement
    channel.write("heartbeat")
    channel.ask(tunnel_id="unknown")
    assert channel.expect("proxy_conn_rsp").error.code == 4000


# ---- Refusals


def refuse(connection, code):
    connection.expect("open_control_channel_req")
    connection.write("open_control_channel_rsp", error={"code": code, "message": "no"})
    connection.close()


def test_attempts_stay_bounded(scripted, forward, local):
    running = forward(local.getsockname()[1])
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            refuse(scripted.next(timeout=0.2), 7000)
        except Exception:  # pylint: disable=broad-except
            pass  # nobody came
    # The first two at once, then waits of at most 0.5, 1, 2, ... s, half of that in the mean.
    assert 2 <= scripted.attempts <= 40
    assert running.process.poll() is None


def test_final_refusals(scripted, forward, local):
    running = forward(local.getsockname()[1])
    refuse(scripted.next(), 2030)
    assert running.wait() == 1
    running.said("the engine refuses the control channel: no (error 2030)")


def test_no_retry(scripted, forward, local):
    running = forward(local.getsockname()[1], "--no-retry")
    scripted.channel().close()
    assert running.wait() == 1 and scripted.attempts == 1


def test_hangup_ends_a_wait(scripted, forward, local):
    running = forward(local.getsockname()[1])
    for _ in range(8):  # by now the waits are long
        refuse(scripted.next(), 7000)
        running.signal(signal.SIGHUP)
    channel = scripted.channel()
    channel.open_tunnel()
    running.online()


def test_a_tunnel_the_engine_closes(scripted, forward, local):
    channel, running = online(scripted, forward, local)
    channel.write("close_tunnel_rsp", tunnel_id="tunnel-1")
    channel.expect("close_control_channel_req")
    channel.write("close_control_channel_rsp")
    assert running.wait() == 1
    running.said("the engine closed the tunnel")


# ---- Streams


def test_streams_that_are_refused(scripted, forward, local):
    channel, _ = online(scripted, forward, local, "--spare-connections", "0")
    before = scripted.attempts
    channel.ask("one", tunnel_id="unknown")
    assert channel.expect("proxy_conn_rsp").error.code == 4000
    channel.ask("two", proxy_endpoint="evil.example.com:443")
    assert channel.expect("proxy_conn_rsp").error.code == 4000
    channel.ask("three", secret="s" * 2000)
    assert channel.expect("proxy_conn_rsp").error.code == 4000
    assert scripted.attempts == before


def test_a_spare_connection_is_used(scripted, forward, local):
    channel, _ = online(scripted, forward, local, "--spare-connections", "1")
    eventually(lambda: len(scripted.opened) == 4, "a spare one, after its handshake")
    scripted.deaf.set()  # a handshake would not succeed any more
    channel.ask()
    connection, _ = local.accept()
    stream = scripted.next()
    assert stream.expect("proxy_req").stream_id == "stream-1"
    stream.send(b"quick")
    assert connection.recv(100) == b"quick"
    eventually(lambda: scripted.attempts == 3, "the next one")
    connection.close()
    stream.close()


def test_a_service_that_is_down(scripted, forward):
    running = forward(free_port())
    channel = scripted.channel()
    channel.open_tunnel()
    channel.ask()
    answer = channel.expect("proxy_conn_rsp")
    assert answer.error.code == 6000 and "nobody listens there" in answer.error.message.value
    running.said("nobody listens there")


def test_an_engine_that_takes_no_streams(scripted, forward, local):
    channel, running = online(scripted, forward, local, "--spare-connections", "0")
    scripted.deaf.set()
    for number in range(128 + 1024 + 5):
        channel.ask(f"stream-{number}")
    refused = [channel.expect("proxy_conn_rsp") for _ in range(5)]
    assert {answer.error.code for answer in refused} == {6000}
    assert {answer.stream_id for answer in refused} == {f"stream-{n}" for n in range(1152, 1157)}
    channel.write("server_message", message="still here")
    running.said("still here")


def test_streams_survive_the_channel(scripted, forward, local):
    channel, running = online(scripted, forward, local)
    channel.ask()
    connection, _ = local.accept()
    stream = scripted.next()
    stream.expect("proxy_req")
    channel.reset()
    running.wait_status("disconnected")
    stream.send(b"are you there?")
    assert connection.recv(100) == b"are you there?"
    connection.sendall(b"yes")
    assert stream.recv_exact(3) == b"yes"
    again = scripted.channel()
    again.open_tunnel()
    running.online(2)
    connection.close()
    stream.close()
