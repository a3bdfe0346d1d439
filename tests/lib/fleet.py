# SPDX-License-Identifier: Apache-2.0
"""Many agents in one process of their own, which can be killed or stopped, and a proxy in front of
the engine that stops passing bytes on.

Each agent opens its channel and its tunnels, keeps what it has, and comes back when it has lost it:
at the end of its connection, or when three heartbeats in a row were not acknowledged. Run as a
program it reads what to do as JSON from its first line of input, and prints "open" whenever all
have all they want.
"""
import asyncio
import contextlib
import json
import pathlib
import random
import resource
import signal
import ssl
import struct
import subprocess
import sys
import threading
from types import SimpleNamespace

ROOT = pathlib.Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
# pylint: disable=wrong-import-position
from lib import rstrm  # noqa: E402
from lib.agent import details  # noqa: E402
from lib.engine import jwt  # noqa: E402

HEARTBEATS_LOST = 3
COME_BACK_S = 0.2  # at most
ASK_AGAIN_S = 0.1


def frame(member, **fields):
    return rstrm.frame(rstrm.message(member, **fields))


class Lost(Exception):
    """The engine has said no, or nothing."""


class Agent:
    def __init__(self, fleet, number):
        self.fleet = fleet
        self.stem = f"{fleet.stem}{number}"
        self.token = jwt({"sub": self.stem})
        self.open = False
        self.reader = None
        self.writer = None

    async def read(self, timeout=None):
        """(member, message) of the next frame that says something."""
        while True:
            head = await asyncio.wait_for(self.reader.readexactly(4), timeout)
            payload = await self.reader.readexactly(struct.unpack(">I", head)[0])
            member, part = rstrm.parse(payload)
            if member:
                return member, part

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(
            *self.fleet.address, ssl=self.fleet.context, server_hostname=self.fleet.host
        )
        request = {"client_details": details(self.token)}
        if self.fleet.interval_s:
            interval_ms = int(self.fleet.interval_s * 1000)
            request["liveness"] = {"heartbeat_interval_ms": interval_ms}
        self.writer.write(frame("open_control_channel_req", **request))
        member, part = await self.read()
        if member != "open_control_channel_rsp" or part.HasField("error"):
            raise Lost

    def ask(self, label):
        properties = {"protocol": "http", "publish": True, "hostname": label}
        self.writer.write(
            frame("open_tunnel_req", request_id=label, tunnel_properties=properties)
        )

    async def open_tunnels(self):
        """All names at once; those that are taken, again and again."""
        wanted = {f"{self.stem}-{i}" for i in range(self.fleet.tunnels)}
        for label in wanted:
            self.ask(label)
        while wanted:
            member, part = await self.read()
            if member != "open_tunnel_rsp":
                continue
            if part.HasField("error"):
                await asyncio.sleep(ASK_AGAIN_S)
                self.ask(part.request_id)
            else:
                wanted.remove(part.request_id)

    async def beat(self):
        sequence = 0
        while True:
            sequence += 1
            self.writer.write(frame("heartbeat", sequence=sequence))
            await asyncio.sleep(self.fleet.interval_s)

    async def stay(self):
        silence_s = self.fleet.interval_s and HEARTBEATS_LOST * self.fleet.interval_s
        while True:
            await self.read(silence_s)

    async def live_once(self):
        beats = None
        try:
            await self.connect()
            if self.fleet.interval_s:
                beats = asyncio.ensure_future(self.beat())
            await self.open_tunnels()
            self.open = True
            self.fleet.look()
            await self.stay()
        finally:
            self.open = False
            if beats:
                beats.cancel()
            if self.writer:
                self.writer.transport.abort()

    async def live(self):
        while True:
            with contextlib.suppress(
                OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, Lost
            ):
                await self.live_once()
            await asyncio.sleep(random.random() * COME_BACK_S)


class Fleet(SimpleNamespace):
    """What the JSON says: address, host, ca, stem, agents, tunnels, interval_s."""

    async def sail(self):
        self.context = ssl.create_default_context(cafile=self.ca)
        self.context.set_alpn_protocols([rstrm.ALPN])
        self.all = [Agent(self, i) for i in range(self.agents)]
        await asyncio.gather(*(agent.live() for agent in self.all))

    def look(self):
        if all(agent.open for agent in self.all):
            print("open", flush=True)


# ---- For tests


class FleetProcess:
    def __init__(self, engine, agents, tunnels, interval_s=None, stem="a", address=None):
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.lines = 0
        self.more = threading.Condition()
        what = {
            "address": address or engine.address, "host": engine.host, "ca": engine.ca,
            "stem": stem, "agents": agents, "tunnels": tunnels, "interval_s": interval_s,
        }
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for _ in self.process.stdout:
            with self.more:
                self.lines += 1
                self.more.notify_all()

    def wait_open(self, times=1, timeout=20):
        """All have been open so many times."""
        with self.more:
            assert self.more.wait_for(lambda: self.lines >= times, timeout), "not all are open"

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)
        self.thread.join(5)
        self.process.stdin.close()
        self.process.stdout.close()


class Dropper:
    """A proxy to an address. After drop() nothing passes on the connections there are, and none of
    them ends; new ones work."""

    def __init__(self, target):
        self.target = target
        self.loop = asyncio.new_event_loop()
        self.pumps = set()
        self.kept = []  # writers, lest they be closed
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self._call(self._listen())
        self.address = self.server.sockets[0].getsockname()

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _listen(self):
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _accept(self, reader, writer):
        back_reader, back_writer = await asyncio.open_connection(*self.target)
        self.kept += [writer, back_writer]
        for source, sink in ((reader, back_writer), (back_reader, writer)):
            self.pumps.add(self.loop.create_task(self._pump(source, sink)))

    async def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

    async def _drop(self):
        for pump in self.pumps:
            pump.cancel()
        self.pumps.clear()

    def drop(self):
        self._call(self._drop())

    async def _end(self):
        await self._drop()
        self.server.close()
        for writer in self.kept:
            writer.transport.abort()

    def end(self):
        self._call(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


def raise_descriptor_limit():
    """What a process may have open at most."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


if __name__ == "__main__":
    raise_descriptor_limit()
    asyncio.run(Fleet(**json.loads(sys.stdin.readline())).sail())
