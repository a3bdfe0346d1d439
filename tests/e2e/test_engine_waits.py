# SPDX-License-Identifier: Apache-2.0
"""The engine's long waits (engine spec, sections 4.5, 4.6 and 4.10), all at once: they cannot be
configured, so each is waited for in a thread of its own and none adds to the others."""
import socket
import threading
import time

from lib.agent import Agent, Framed, dial
from lib.wait import eventually

ENGINE_SETTINGS = {"timeouts": {"stream_request_seconds": 25}}
PAUSE_S = 4.2
OUTSTANDING_MAX = 256
QUEUED = 8


class Link:
    """A connection through which bytes pass until the network pauses, and again afterwards."""

    def __init__(self, address):
        self.flowing = threading.Event()
        self.flowing.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.inner = socket.create_connection(address, 10)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        outer, _ = self.listener.accept()
        self.outer = outer
        for source, sink in ((outer, self.inner), (self.inner, outer)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source, sink):
        try:
            while data := source.recv(65536):
                self.flowing.wait()
                sink.sendall(data)
        except OSError:
            pass  # closed below

    def close(self):
        self.flowing.set()
        for sock in (self.listener, self.outer, self.inner):
            sock.close()


class Elsewhere:
    """The engine, reached at another address."""

    def __init__(self, engine, address):
        self.engine = engine
        self.address = address

    def __getattr__(self, name):
        return getattr(self.engine, name)


def beat(agent, sequence):
    """One heartbeat a second, and what the engine says to it."""
    agent.write("heartbeat", sequence=sequence)
    time.sleep(1)  # the interval that was agreed


def check_a_pause_is_survived(engine):
    """Nothing passes for longer than three heartbeats take; channel and tunnel are still there."""
    link = Link(engine.address)
    agent = Agent(Elsewhere(engine, link.address), interval_ms=1000)
    agent.tunnel(protocol="tls", hostname="pause")
    assert agent.opened.liveness.heartbeat_timeout_ms == 15000
    beat(agent, 1)
    link.flowing.clear()
    until = time.monotonic() + PAUSE_S
    sequence = 1
    while time.monotonic() < until:
        sequence += 1
        beat(agent, sequence)
    link.flowing.set()
    acknowledged = 0
    while acknowledged < sequence:
        acknowledged = agent.expect("heartbeat").acknowledgement
    visitor = engine.visit(engine.name("pause"))
    agent.engine = engine  # the stream need not take the same way
    _, stream = agent.bound()
    visitor.send(b"after the pause")
    assert stream.recv_exact(15) == b"after the pause"
    for pipe in (visitor, stream, agent):
        pipe.close()
    link.close()


def check_a_silent_channel_ends(engine):
    """Negotiated: 15 s after the last frame, whatever the interval; its kernel still answers."""
    agent = Agent(engine, interval_ms=1000)
    began = time.monotonic()
    agent.write("heartbeat", sequence=1)
    assert agent.expect("heartbeat").acknowledgement == 1
    assert agent.recv_all(timeout=40) == b"" and agent.ended == "reset"
    assert time.monotonic() - began > 14.5
    engine.log.wait("control_channel_closed", clientId=agent.client_id, reason="timeout")


def check_a_channel_without_heartbeats_stays(engine):
    """Not negotiated, and none was ever sent: silence means nothing."""
    agent = Agent(engine)
    began = time.monotonic()
    assert agent.quiet(16.5) and time.monotonic() - began >= 16
    agent.tunnel(publish=False)
    agent.close_channel()


def check_who_opens_nothing_is_cut(engine):
    """10 s from the end of the handshake to the first frame, and a part of one is none."""
    began = time.monotonic()
    silent, slow = Framed(engine), Framed(engine)
    slow.send(b"\0\0\0\x09part")
    for pipe in (silent, slow):
        assert pipe.recv_all(timeout=40) == b"" and pipe.ended == "notify"
    assert time.monotonic() - began > 9.5
    eventually(lambda: len(engine.log.all("agent_rejected")) >= 2, "a line about each of the two")


def check_asks_are_bounded(engine):
    """So many asks are at an agent at once; the others wait here until one of them is answered."""
    agent = Agent(engine)
    tunnel = agent.tunnel(publish=False).id.value
    dialers = [dial(engine, tunnel) for _ in range(OUTSTANDING_MAX + QUEUED)]
    asked = [agent.next_stream(timeout=20) for _ in range(OUTSTANDING_MAX)]
    assert agent.quiet(0.5)
    for request in asked[:QUEUED]:
        agent.refuse(request)
    asked += [agent.next_stream() for _ in range(QUEUED)]
    assert agent.quiet(0.2)
    assert len({request.stream_id for request in asked}) == OUTSTANDING_MAX + QUEUED
    agent.close_channel()  # tells everybody who still waits
    for dialer in dialers:
        assert dialer.expect("stream_rsp").error.code == 6000


CHECKS = (
    check_a_pause_is_survived,
    check_a_silent_channel_ends,
    check_a_channel_without_heartbeats_stays,
    check_who_opens_nothing_is_cut,
    check_asks_are_bounded,
)


def test_long_waits(engine):
    failures = []

    def run(check):
        try:
            check(engine)
        except BaseException as error:  # pylint: disable=broad-except
            failures.append((check.__name__, error))

    threads = [threading.Thread(target=run, args=(check,)) for check in CHECKS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
