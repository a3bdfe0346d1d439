# SPDX-License-Identifier: Apache-2.0
"""`weir forward` with the engine: what is published, what a person is told, how it ends."""
import os
import re
import shlex
import signal
import socket
import subprocess
import threading
import time

import pytest

from lib import agent, tls, weir
from lib.engine import Engine, free_port
from lib.forwarding import Forward, Service
from lib.wait import eventually


@pytest.fixture
def service():
    running = Service()
    yield running
    running.stop()


@pytest.fixture
def forward(engine):
    """Starts `weir forward`; ends it in order when the test has not."""
    running = []

    def starter(*args, at=None, **options):
        started = Forward(at or engine, *args, **options)
        running.append(started)
        return started

    yield starter
    for one in running:
        if one.process.poll() is None:
            one.stop()
        one.kill()


class Raw:
    """A local TCP service: every connection is given to a handler in a thread."""

    def __init__(self, handler, path=None):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.socket.bind(path or ("127.0.0.1", 0))
        self.socket.listen(128)
        self.port = None if path else self.socket.getsockname()[1]
        self.handler = handler
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with connection:
            try:
                self.handler(connection)
            except OSError:
                pass

    def stop(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


def take_all(connection):
    data = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece


# ---- Published


def test_a_port_is_published(engine, forward, service):
    running = forward(service.port, "--host", "demo")
    told = running.online()
    assert told["forwarding"] == f"https://demo.t.{engine.host}:{engine.port}"
    assert told["forwarded"] == f"localhost:{service.port}" or told["forwarded"] == str(service.port)
    assert told["tunnel_id"]
    status, _, body = engine.get("demo", "/one?two")
    assert (status, body) == (200, b"you asked for /one?two")
    assert running.statuses()[:3] == ["connecting", "connected", "online"]
    running.stop()
    status, _, _ = engine.get("demo")
    assert status == 404


def test_connections_are_told(engine, forward, service):
    running = forward(service.port, "--host", "told")
    running.online()
    engine.get("told")
    eventually(lambda: {"event": "connection_closed", "idx": 0} in running.told(), "closed")
    opened = [entry for entry in running.told() if entry.get("active")]
    assert opened[0]["source_ip"] == "127.0.0.1" and opened[0]["stream_id"]


def test_text_for_people(engine, forward, service):
    running = forward(service.port, "--host", "text", output="text")
    eventually(lambda: any("status      : online" in line for line in running.lines), "online")
    engine.get("text")
    eventually(lambda: any("source_ip=127.0.0.1" in line for line in running.lines), "a line")


def test_several_services(engine, forward, service):
    other = Service()
    running = forward(service.port, f"127.0.0.1:{other.port}")
    running.online(2)
    addresses = {e["forwarding"] for e in running.told() if e.get("status") == "online"}
    assert len(addresses) == 2
    for address in addresses:
        label = address.split("//")[1].split(".")[0]
        assert engine.get(label)[0] == 200
    running.stop()
    other.stop()


def test_a_unix_socket(engine, forward, tmp_path):
    path = str(tmp_path / "service.sock")

    def answer(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")

    local = Raw(answer, path)
    forward(f"unix:{path}", "--host", "unix").online()
    assert engine.get("unix")[2] == b"unix"
    local.stop()


def test_a_service_on_ipv6_only(engine, forward):
    local = socket.socket(socket.AF_INET6)
    local.bind(("::1", 0))
    local.listen()
    forward(f"localhost:{local.getsockname()[1]}", "--host", "six").online()
    visitor = tls.Pipe(engine.address, engine.name("six"), engine.ca, alpn=["http/1.1"])
    visitor.send(f"GET / HTTP/1.1\r\nHost: {engine.name('six')}\r\n\r\n".encode())
    connection, _ = local.accept()
    assert connection.recv(100).startswith(b"GET / ")
    connection.close()
    visitor.close()
    local.close()


# ---- Bytes


def test_half_close_of_the_visitor(engine, forward):
    def later(connection):
        data = take_all(connection)
        connection.sendall(b"after the end: " + data)

    local = Raw(later)
    forward(local.port, "--tls", "--host", "half").online()
    visitor = tls.Pipe(engine.address, engine.name("half"), engine.ca)
    visitor.send(b"all I have")
    visitor.send_notify()
    assert visitor.recv_all(10) == b"after the end: all I have"
    visitor.close()
    local.stop()


def test_half_close_of_the_service(engine, forward):
    heard = []
    done = threading.Event()

    def first(connection):
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        heard.append(take_all(connection))
        done.set()

    local = Raw(first)
    forward(local.port, "--tls", "--host", "first").online()
    visitor = tls.Pipe(engine.address, engine.name("first"), engine.ca)
    assert visitor.recv_all(10) == b"hello"
    visitor.send(b"and still I speak")
    visitor.send_notify()
    assert done.wait(10) and heard == [b"and still I speak"]
    visitor.close()
    local.stop()


def test_many_bytes_both_ways(engine, forward):
    block = os.urandom(3 << 20)
    local = Raw(lambda connection: connection.sendall(take_all(connection)))
    forward(local.port, "--tls", "--host", "much").online()
    visitor = tls.Pipe(engine.address, engine.name("much"), engine.ca, timeout=60)
    visitor.send(block)
    visitor.send_notify()
    assert visitor.recv_all(60) == block
    visitor.close()
    local.stop()


def test_a_visitor_that_rests_misses_nothing(engine, forward):
    """The service says more than every buffer on the way holds, and its end, before it is heard."""
    block = os.urandom(1 << 20)
    said = []
    full = threading.Event()

    def talk(connection):
        connection.settimeout(0.5)
        try:
            while sum(said) < 256 << 20:
                said.append(connection.send(block[sum(said) % len(block):]))
        except TimeoutError:
            full.set()
        connection.settimeout(30)
        rest = block[sum(said) % len(block):]
        connection.sendall(rest)
        said.append(len(rest))

    local = Raw(talk)
    forward(local.port, "--tls", "--host", "rests").online()
    visitor = tls.Pipe(engine.address, engine.name("rests"), engine.ca, timeout=60)
    assert full.wait(30)
    data = visitor.recv_all(60)
    assert visitor.ended == "notify"
    assert len(data) == sum(said)
    assert data == block * (len(data) // len(block))
    visitor.close()
    local.stop()


def test_private_tunnel_is_dialed(engine, forward):
    local = Raw(lambda connection: connection.sendall(b"<" + take_all(connection) + b">"))
    running = forward(local.port, "--no-publish", "--name", "db")
    assert running.online()["forwarding"] == "rstrm://db (unpublished)"
    dialer = agent.dial(engine, "db")
    assert dialer.expect("stream_rsp").stream_id
    dialer.send(b"query")
    dialer.send_notify()
    assert dialer.recv_all(10) == b"<query>"
    dialer.close()
    local.stop()


# ---- What goes wrong


def test_a_service_that_is_down(engine, forward):
    running = forward(free_port(), "--host", "down")
    running.online()
    assert engine.get("down")[0] == 502
    running.said("nobody listens there")


def test_a_refused_option(engine, forward, service):
    running = forward(service.port, "--token-auth")
    assert running.wait() == 1
    assert any("5000" in line and "token_auth" in line for line in running.errors)
    assert running.statuses()[-1].startswith("tunnel creation failed (")


def test_a_bad_token(engine, forward, service):
    running = forward(service.port, token=engine.token(secret="another secret of thirty-two bytes"))
    assert running.wait() == 1
    running.said("1000")


def test_an_expired_token_does_not_connect(engine, forward, service):
    running = forward(service.port, token=engine.token(exp=int(time.time()) - 3600))
    assert running.wait() != 0
    running.said("expired")


def test_an_untrusted_certificate(engine, forward, service):
    running = forward(service.port, "--engine-tls-ca-file", "/etc/ssl/certs/ca-certificates.crt", "--no-retry")
    assert running.wait() == 1
    running.said("certificate is not trusted")


def test_nobody_there(engine, forward, service):
    running = forward(service.port, "--engine", f"127.0.0.1:{free_port()}", "--no-retry")
    assert running.wait() == 1
    running.said("nobody listens there")


def test_no_engine_at_all(engine, forward, service):
    site = Service()
    running = forward(service.port, "--engine", f"127.0.0.1:{site.port}", "--no-retry")
    assert running.wait() == 1
    running.said("is it an engine?")
    site.stop()


@pytest.mark.parametrize(
    "args",
    [("no port",), ("0",), ("70000",), ("host:",), ("8080", "--label", "none"), ("1", "2", "--name", "x")],
)
def test_bad_command_lines(engine, forward, args):
    running = forward(*args)
    assert running.wait() == 64
    assert running.errors


# ---- The end, and coming back


def test_interrupt_closes_in_order(engine, forward, service):
    running = forward(service.port, "--host", "bye")
    running.online()
    mark = engine.log.mark()
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    assert engine.log.wait("control_channel_closed", mark)["details"]["reason"] == "client"


def test_a_second_interrupt_ends_at_once(engine, forward):
    stuck = threading.Event()
    local = Raw(lambda connection: stuck.wait(30))
    running = forward(local.port, "--tls", "--host", "stuck")
    running.online()
    visitor = tls.Pipe(engine.address, engine.name("stuck"), engine.ca)
    visitor.send(b"x")
    eventually(lambda: any(e.get("active") for e in running.told()), "a stream")
    running.signal(signal.SIGINT)
    running.signal(signal.SIGTERM)  # a second SIGINT could melt into the first
    assert running.wait() == 0
    stuck.set()
    visitor.close()
    local.stop()


def test_a_killed_engine_comes_back(authority, tmp_path, forward, service):
    port = free_port()
    first = Engine(authority, tmp_path, port=port)
    running = forward(service.port, at=first)
    address = running.online()["forwarding"]
    first.kill()
    running.wait_status("disconnected")
    second = Engine(authority, tmp_path, port=port)
    told = running.online(2)
    assert told["forwarding"] == address, "the name that was made up stays"
    assert second.get(address.split("//")[1].split(".")[0])[0] == 200
    running.stop()
    second.stop()


def test_a_restarted_engine(authority, tmp_path, forward, service):
    port = free_port()
    first = Engine(authority, tmp_path, port=port)
    running = forward(service.port, "--host", "again", at=first)
    running.online()
    first.stop()
    running.wait_status("disconnected")
    second = Engine(authority, tmp_path, port=port)
    running.online(2)
    assert second.get("again")[0] == 200
    running.stop()
    second.stop()


def test_a_name_that_is_taken_is_waited_for(engine, forward, service):
    holder = agent.Agent(engine)
    properties = holder.tunnel(type="bytestream", publish=True, protocol="http", hostname="wanted")
    running = forward(service.port, "--host", "wanted", token=engine.token(sub="somebody else"))
    running.wait_status("tunnel creation failed (the engine refuses the tunnel: Hostname is already")
    holder.close_tunnel(properties.id.value)
    running.online()
    holder.close()


def documented():
    text = (weir.ROOT / "docs/agent.md").read_text()
    return re.findall(r"^weir forward (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("line", documented())
def test_every_documented_line(engine, forward, line):
    assert documented()
    running = forward(*shlex.split(line))
    services = [word for word in shlex.split(line) if word[0] != "-" and re.search(r"\d|:", word)]
    running.online(len(services))
    running.stop()


# ---- The network changes



def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True)


@pytest.fixture
def namespaces():
    """Two network namespaces with a cable between them: (the engine's, the agent's)."""
    names = [f"weir-{os.getpid()}-{side}" for side in ("engine", "agent")]
    for name in names:
        ip("netns", "add", name)
    ip("link", "add", "weir0", "netns", names[0], "type", "veth", "peer", "weir0", "netns", names[1])
    for name, address in zip(names, ("10.77.0.1", "10.77.0.2")):
        ip("-n", name, "address", "add", f"{address}/24", "dev", "weir0")
        ip("-n", name, "link", "set", "weir0", "up")
        ip("-n", name, "link", "set", "lo", "up")
    yield names
    for name in names:
        ip("netns", "delete", name)


def test_an_address_that_changes(engine, namespaces, service):
    theirs, ours = (["ip", "netns", "exec", name] for name in namespaces)
    away = subprocess.Popen(
        [*theirs, weir.binary(), "engine", "-c", engine.config]
        + ["--listen", f"10.77.0.1:{engine.port}"],
        env=weir.base_environment(),
        stdout=subprocess.DEVNULL,
    )
    running = Forward(engine, service.port, address="10.77.0.1", within=ours)
    running.online()
    ip("-n", namespaces[1], "address", "delete", "10.77.0.2/24", "dev", "weir0")
    ip("-n", namespaces[1], "address", "add", "10.77.0.3/24", "dev", "weir0")
    # Nobody resets the old connection: only the question for a sign of life tells.
    running.wait_status("disconnected (the engine gives no sign of life)")
    running.online(2)
    running.stop()
    away.terminate()
    assert away.wait(20) == 0
