# SPDX-License-Identifier: Apache-2.0
"""Visitors who leave while nobody reads them, because what they send is not taken: noticed at once, and
not by a deadline of minutes (docs/lifecycle.md)."""
import socket
import threading

import pytest

from lib import http1
from lib.agent import Agent, dial
from lib.site import Site, label_of
from lib.wait import eventually

BLOCK = b"u" * 16384
HELD = "weir_engine_buffered_bytes"
ACTIVE = "weir_engine_streams_active"


def active(engine):
    return sum(value for name, value in engine.metrics().items() if name.startswith(ACTIVE))


class Deaf:
    """Serves streams that it does not read, until `listen`; then says how each of them ended."""

    def __init__(self, first=None):
        self.first = first
        self.arrived = threading.Event()
        self.go_on = threading.Event()
        self.ends = []

    def __call__(self, stream):
        if self.first is not None:
            self.first(stream)
        self.arrived.set()
        assert self.go_on.wait(60)
        stream.recv_all(20)
        self.ends.append(stream.ended)

    def listen(self):
        self.go_on.set()
        return eventually(lambda: self.ends, "the service met the end")


def stuff(pipe):
    """Sends until nothing more is taken on the way."""
    pipe.sock.settimeout(0.5)
    with pytest.raises(socket.timeout):
        while True:
            pipe.tls.write(BLOCK)
            pipe.sock.sendall(pipe.outgoing.read())


def stuff_the_engine(engine, pipe):
    """Sends until the engine reads no more; what is on its way then still fits into its socket."""
    while engine.metrics()[HELD] <= 64 * 1024:
        pipe.send(BLOCK * 4)


def uploads(engine, label, fields):
    service = Deaf(http1.read_head)
    demo = Site(engine, label, service)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", "POST", fields))
    assert service.arrived.wait(20)
    return service, visitor


def is_forgotten(engine):
    return active(engine) == 0 and engine.metrics()[HELD] == 0


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_in_the_middle_of_an_upload(engine, request, leave):
    label = label_of(request.node.name)
    service, visitor = uploads(engine, label, ["Content-Length: 1000000000"])
    stuff_the_engine(engine, visitor)
    assert active(engine) == 1
    getattr(visitor, leave)()
    eventually(lambda: is_forgotten(engine), "everything is given back")
    assert service.listen() == ["reset"]


def test_in_the_middle_of_an_upload_that_is_stuck_on_every_hop(engine):
    service, visitor = uploads(engine, "every-hop", ["Content-Length: 1000000000"])
    stuff(visitor)
    visitor.reset()
    eventually(lambda: is_forgotten(engine), "everything is given back")
    assert service.listen() == ["reset"]


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_with_an_upload_that_waits_for_its_stream(engine, request, leave):
    demo = Site(engine, label_of(request.node.name))
    gone = 'weir_engine_streams_total{kind="http",result="gone"}'
    before = engine.metrics()[gone]
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", "POST", ["Content-Length: 1000000000"]))
    asked = demo.agent.next_stream()
    stuff_the_engine(engine, visitor)
    getattr(visitor, leave)()
    eventually(lambda: engine.metrics()[gone] == before + 1, "it is not asked for any more")
    assert engine.metrics()[HELD] == 0
    assert demo.agent.connect_back(asked).recv_all() == b""


def test_with_an_upgraded_stream(engine):
    def switch(stream):
        http1.read_head(stream)
        stream.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")

    service = Deaf(switch)
    demo = Site(engine, "chat", service)
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host, "/", "GET", ["Connection: Upgrade", "Upgrade: chat"]))
    assert http1.read_answer(visitor).status == 101
    stuff(visitor)
    visitor.reset()
    eventually(lambda: is_forgotten(engine), "everything is given back")
    assert service.listen() == ["reset"]


def raw(engine, label, service):
    agent = Agent(engine)
    agent.tunnel(protocol="tls", hostname=label)
    agent.serve(service)
    return engine.visit(engine.name(label))


def test_with_raw_bytes(engine):
    service = Deaf()
    visitor = raw(engine, "raw-bytes", service)
    assert service.arrived.wait(20)
    stuff(visitor)
    visitor.reset()
    eventually(lambda: active(engine) == 0, "the stream has ended")
    assert service.listen() == ["reset"]


def test_after_the_last_word(engine):
    """His end has been passed on, and nothing is written to him before the service answers."""
    service = Deaf(lambda stream: stream.recv_all(20))
    visitor = raw(engine, "last-word", service)
    visitor.send(b"question")
    visitor.send_notify()
    assert service.arrived.wait(20)
    assert active(engine) == 1
    visitor.reset()
    eventually(lambda: active(engine) == 0, "the stream has ended")
    service.listen()


def test_with_a_dial_that_nobody_has_taken_yet(engine):
    agent = Agent(engine)
    private = agent.tunnel(publish=False)
    gone = 'weir_engine_streams_total{kind="dial",result="gone"}'
    before = engine.metrics()[gone]
    dialer = dial(engine, private.id.value, zero_rtt=True)
    agent.next_stream()
    stuff(dialer)
    dialer.reset()
    eventually(lambda: engine.metrics()[gone] == before + 1, "it is not asked for any more")
