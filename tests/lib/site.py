# SPDX-License-Identifier: Apache-2.0
"""A published service: an agent, its tunnel, and the visitors of that."""
import re

from lib import http1
from lib.agent import Agent
from lib.wait import eventually


def label_of(name):
    """A label for the tunnel of the test of that name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[-60:].strip("-")


class Site:
    """handler(stream) serves each stream; without one the test plays the agent by hand."""

    def __init__(self, engine, label, handler=None, **properties):
        self.engine = engine
        self.host = engine.name(label)
        self.streams = 0  # that were opened
        self.agent = Agent(engine)
        self.tunnel = self.agent.tunnel(
            type="bytestream", publish=True, protocol="http", hostname=label, **properties
        )
        if handler is not None:
            self.serve(handler)

    def serve(self, handler):
        def counted(stream):
            self.streams += 1
            handler(stream)

        self.agent.serve(counted)

    def visitor(self):
        return self.engine.visit(self.host, alpn=["http/1.1"])

    def ask(self, visitor, target="/", method="GET", fields=(), body=None, timeout=15):
        visitor.send(http1.request(self.host, target, method, fields, body))
        return http1.read_answer(visitor, method, timeout)

    def get(self, *args, **named):
        """On a connection of its own."""
        visitor = self.visitor()
        message = self.ask(visitor, *args, **named)
        visitor.close()
        return message


def given_up(site):
    """A service that does not answer is given up, once the agent was in time with its connection."""

    def told():
        message = site.get()
        assert message.status == 504
        return message["x-weir-error"] == "upstream_timeout"

    eventually(told, "the service is blamed", timeout=30)
