# SPDX-License-Identifier: Apache-2.0
"""A new process beside the old one, which drains: nobody is refused (docs/operations.md)."""
import os
import signal
import socket
import threading
import time

import pytest

from lib import frames as f
from lib import forwarding, http1, tls, weir, ws
from lib.crowd import Crowd
from lib.engine import Engine
from lib.selfhosted import Platform
from lib.wait import eventually

UPGRADES = 3
WAITING = 150
WAITING_UPGRADES = 12


class Session:
    """One end of a relay session, which comes back whenever it is told 1001."""

    def __init__(self, world, join):
        self.join = join
        self.world = world
        self.failures = []
        self.returns = 0
        self.over = False
        self.peer = join()
        self.echo = None  # what was read last
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over:
            try:
                self._read()
            except Exception as failure:  # pylint: disable=broad-except
                if not self.over:
                    self.failures.append(repr(failure))
                return

    def _read(self):
        try:
            got = self.peer.recv()
        except AssertionError:
            return  # nothing came: that is no failure
        if got.opcode == ws.TEXT:
            self.echo = got.payload.decode()
            return
        assert got.opcode == ws.CLOSE and got.payload[:2] == b"\x03\xe9", got  # 1001
        old = self.peer
        self.peer = self.join()
        self.returns += 1
        old.close()

    def stop(self):
        self.over = True
        try:
            self.peer.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended
        self.thread.join(20)
        self.peer.close()


def carries(daemon, client, text):
    """A frame goes from the client to the daemon."""
    client.peer.send(text)
    return eventually(lambda: daemon.echo == text, "the frame at the daemon", 2)


def talk(daemon, client, number):
    """Over sessions that may be coming back just now."""
    text = f.text(f.e2ee(ciphertext=f"c{number}"))

    def through():
        try:
            return carries(daemon, client, text)
        except (OSError, AssertionError):
            assert not daemon.failures and not client.failures
            return False

    eventually(through, f"a frame after upgrade {number}; {daemon.failures} {client.failures}", 30)


def queue_up(process, connections):
    """Fills the queues of a process that stands still, and has it wake up to its SIGTERM."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        peers = connections()
        os.kill(process.pid, signal.SIGTERM)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    return peers


def ask(host, port, path):
    peer = ws.Peer(host, port)
    peer.send_raw(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return peer


def test_who_waits_for_a_relay_that_ends_is_served(start):
    """More than one turn accepts. Some come for an upgrade: they are let in, and then told 1001."""
    world = start()
    tokens = [world.token("client", f"ws_q{i}") for i in range(WAITING_UPGRADES)]

    def connect():
        asking = [ask(world.relay.host, world.relay.port, "/health") for _ in range(WAITING)]
        upgrading = []
        for i, token in enumerate(tokens):
            upgrading.append(world.peer())
            upgrading[-1].send_raw(ws.upgrade_request(
                world.path("client", f"ws_q{i}"), [("Authorization", f"Bearer {token}")]))
        return asking, upgrading

    asking, upgrading = queue_up(world.relay, connect)
    for peer in asking:
        assert peer.read_head()[0].split()[1] in ("200", "503")  # the signal may come second
    for peer in upgrading:
        assert peer.read_head()[0] == "HTTP/1.1 101 Switching Protocols"
        peer.expect_close(1001, "relay shutting down")
    assert world.relay.wait() == 0
    world.relay.check_sanitizers()


def test_who_waits_for_a_monitor_that_ends_is_served(lab, serve):
    lab.write({})
    monitor = serve()

    def connect():
        return [ask("127.0.0.1", monitor.port, "/api/health") for _ in range(WAITING)]

    for peer in queue_up(monitor, connect):
        assert peer.read_head()[0].startswith("HTTP/1.1 200 ")
    monitor.stop()


def test_who_waits_for_a_platform_that_ends_is_served(tmp_path):
    platform = Platform(tmp_path / "state")

    def connect():
        return [ask("127.0.0.1", platform.port, "/jwks.json") for _ in range(WAITING)]

    try:
        for peer in queue_up(platform, connect):
            assert peer.read_head()[0].startswith("HTTP/1.1 200 ")
    finally:
        platform.stop()


def drain(old):
    old.signal(signal.SIGTERM)
    assert old.wait() == 0
    old.check_sanitizers()


def test_no_upgrade_of_a_relay_refuses_anybody(start, platform):
    world = start()
    port = world.relay.port
    pairs = []
    for _ in range(3):
        place = {"workspace": f"ws_{time.monotonic_ns()}"}
        daemon = Session(world, lambda place=place: world.daemon(**place))
        pairs.append((daemon, Session(world, lambda place=place: world.client(**place))))

    def visit():
        peer = world.client(workspace="ws_visited")
        try:
            peer.finish()
        except ws.Closed:
            pass  # told 1001 before it could say goodbye

    crowd = Crowd(visit)
    try:
        for number in range(UPGRADES):
            old = world.relay
            new = weir.Relay({**old.env, "RELAY_LISTEN_PORT": str(port)}, 2)
            assert new.log.find("listen_shared")["details"]["port"] == port
            drain(old)
            world.relay = new
            eventually(crowd.more(20), f"visits after upgrade {number}", 30)
            for daemon, client in pairs:
                talk(daemon, client, number)
    finally:
        total = crowd.stop()
        for session in (session for pair in pairs for session in pair):
            session.stop()
    assert crowd.failures == []
    assert total > 20 * UPGRADES
    for session in (session for pair in pairs for session in pair):
        assert session.failures == []
        assert session.returns >= 1, "it was on the old one at first"
    ws.close_all()
    world.relay.check_books()
    world.relay.stop()


def test_no_upgrade_of_a_monitor_refuses_anybody(lab, serve):
    lab.write({})
    monitor = serve()
    port = monitor.port
    current = [monitor]

    def visit():
        assert monitor.ask("GET", "/api/health").status == 200

    crowd = Crowd(visit)
    try:
        for number in range(UPGRADES):
            old = current[-1]
            current.append(serve("--listen", f"127.0.0.1:{port}"))
            assert current[-1].log.find("listen_shared")["details"]["port"] == port
            old.stop()
            eventually(crowd.more(20), f"visits after upgrade {number}", 30)
    finally:
        crowd.stop()
    assert crowd.failures == []


@pytest.fixture
def engines(authority, tmp_path):
    running = []

    def start_engine(port=0):
        directory = tmp_path / f"engine{len(running)}"
        directory.mkdir()
        running.append(Engine(authority, directory, port=port))
        return running[-1]

    yield start_engine
    for engine in running:
        if engine in weir.live:
            engine.stop()


def onlines(agent):
    return sum(status.startswith("online") for status in agent.statuses())


def test_no_upgrade_of_an_engine_refuses_anybody(engines):
    """TCP, TLS and HTTP always answer; the agent comes back by itself, and then 200 is the answer."""
    first = engines()
    host = first.name("shop")
    service = forwarding.Service()
    agent = forwarding.Forward(first, service.port, "--host", "shop")
    agent.online()
    statuses = []

    def visit():
        visitor = first.visit(host, alpn=["http/1.1"])
        try:
            visitor.send(f"GET /x HTTP/1.1\r\nHost: {host}:{first.port}\r\n\r\n".encode())
            statuses.append(http1.read_head(visitor).status)
        finally:
            visitor.close()

    crowd = Crowd(visit)
    try:
        current = first
        for number in range(UPGRADES):
            new = engines(first.port)
            drain(current)
            current = new
            returns = number + 2
            eventually(lambda: onlines(agent) >= returns, "the agent is back", 60)
            mark = len(statuses)
            eventually(lambda: 200 in statuses[mark:], "the service answers again", 60)
    finally:
        crowd.stop()
        agent.stop()
        service.stop()
    tls.close_all()
    assert set(statuses) <= {200, 404, 503}, "404: the agent is not back yet; 503: the old one goes"
    assert crowd.failures == []
