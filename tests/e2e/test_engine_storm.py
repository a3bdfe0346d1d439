# SPDX-License-Identifier: Apache-2.0
"""Many agents at once: they come back after a restart, die, hang, and are cut off; certificates
change under load; who is slow stalls nobody else, and memory stays bounded."""
import itertools
import os
import pathlib
import resource
import signal
import socket
import threading
import time

import pytest
from cryptography import x509

from lib import agent as agents, tls
from lib.agent import Agent, http_echo
from lib.engine import Engine
from lib.fleet import Dropper, FleetProcess
from lib.wait import eventually

# Each agent costs a descriptor on either side, and the processes of a test share no limit.
AGENTS = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 4)
TUNNELS = 10
HERD = 100  # of those that die and hang
INTERVAL_S = 0.5
BACK_S = 60
ROTATIONS = 2
BUSY_VISITORS = 4
CHUNK = b"0123456789abcdef" * 1024
SLOW_VISITORS = 16
BODY = 64 << 20
PROMPT_S = 15  # a visitor of a quick agent; behind the slow ones he would wait 30 s and more
GROWTH_MAX = 32 << 20
LEAN = {"ASAN_OPTIONS": "exitcode=99:detect_leaks=1:quarantine_size_mb=1"}


@pytest.fixture
def start(authority, tmp_path_factory):
    started = []

    def starter(settings=None, **options):
        directory = tmp_path_factory.mktemp("storm")
        started.append(Engine(authority, directory, settings, **options))
        return started[-1]

    yield starter
    tls.close_all()
    for engine in started:
        if engine.process.poll() is None:
            engine.stop()


@pytest.fixture
def fleet():
    fleets = []

    def starter(*args, **options):
        fleets.append(FleetProcess(*args, **options))
        return fleets[-1]

    yield starter
    for one in fleets:
        one.end()


@pytest.fixture
def dropper():
    droppers = []

    def starter(address):
        droppers.append(Dropper(address))
        return droppers[-1]

    yield starter
    for one in droppers:
        one.end()


def tunnels(engine):
    return engine.metrics()['weir_engine_tunnels{publish="public",protocol="http"}']


def channels(engine):
    return engine.metrics()["weir_engine_control_channels"]


def resident(engine):
    """Bytes of memory the engine has."""
    status = pathlib.Path(f"/proc/{engine.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


# ---- Agents


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_all_come_back_at_once_after_a_restart(start, fleet, how):
    engine = start()
    herd = fleet(engine, AGENTS, TUNNELS)
    herd.wait_open(timeout=BACK_S)
    assert tunnels(engine) == AGENTS * TUNNELS
    if how == signal.SIGKILL:
        engine.kill()
    else:
        engine.stop()
    again = start(port=engine.port)
    herd.wait_open(times=2, timeout=BACK_S)
    assert tunnels(again) == AGENTS * TUNNELS
    assert channels(again) == AGENTS


def test_killed_agents_leave_nothing(start, fleet):
    engine = start()
    herd = fleet(engine, HERD, TUNNELS)
    herd.wait_open()
    herd.signal(signal.SIGKILL)
    eventually(lambda: channels(engine) == 0, "nobody is left")
    assert tunnels(engine) == 0
    fleet(engine, HERD, TUNNELS).wait_open()


def test_stopped_agents_lose_their_names_to_their_equals(start, fleet):
    engine = start()
    herd = fleet(engine, HERD, TUNNELS, interval_s=INTERVAL_S)
    herd.wait_open()
    herd.signal(signal.SIGSTOP)
    fleet(engine, HERD, TUNNELS, interval_s=INTERVAL_S).wait_open()
    assert tunnels(engine) == HERD * TUNNELS
    assert channels(engine) == HERD


def test_agents_that_are_cut_off_come_back_and_take_over(start, fleet, dropper):
    engine = start()
    proxy = dropper(engine.address)
    herd = fleet(engine, HERD, TUNNELS, interval_s=INTERVAL_S, address=proxy.address)
    herd.wait_open()
    proxy.drop()
    herd.wait_open(times=2)
    assert tunnels(engine) == HERD * TUNNELS
    assert channels(engine) == HERD
    assert engine.metrics()["weir_engine_takeovers_total"] == HERD


# ---- Certificates


def serial(visitor):
    return int(visitor.tls.getpeercert()["serialNumber"], 16)


def certificate_of(engine):
    visitor = engine.visit(engine.host, alpn=["http/1.1"])
    found = serial(visitor)
    visitor.close()
    return found


def rotate(authority, engine, stem):
    """Two renames, with a look of the engine at the pair that is none in between."""
    paths = engine.settings["certs"]["static"]
    names = [engine.host, f"*.t.{engine.host}"]
    pair = authority.issue(engine.host, stem=stem, hosts=names)
    wanted = x509.load_pem_x509_certificate(pathlib.Path(pair[0]).read_bytes()).serial_number
    for new, path in zip(pair, (paths["cert_file"], paths["key_file"])):
        pathlib.Path(path + ".new").write_bytes(pathlib.Path(new).read_bytes())
    mark = len(engine.log.lines)
    os.replace(paths["cert_file"] + ".new", paths["cert_file"])
    eventually(
        lambda: any(line["event"] == "tls_reload_failed" for line in engine.log.lines[mark:]),
        "a look at half of the pair",
    )
    os.replace(paths["key_file"] + ".new", paths["key_file"])
    # Not any other than before: a worker looks once a second, so two may serve two.
    eventually(lambda: certificate_of(engine) == wanted, "the new certificate")


class Load(threading.Thread):
    """Calls until it is told to stop; what went wrong is kept."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.call = call
        self.stopping = threading.Event()
        self.count = 0
        self.failure = None
        self.start()

    def run(self):
        while not self.stopping.is_set() and self.failure is None:
            try:
                self.call()
                self.count += 1
            except Exception as error:  # pylint: disable=broad-except
                self.failure = error

    def finish(self):
        self.stopping.set()
        self.join(20)
        assert self.failure is None, repr(self.failure)
        assert self.count > 0


def test_a_rotation_under_load_loses_no_connection(authority, start):
    engine = start()
    agent = Agent(engine)
    agent.tunnel(hostname="web")
    agent.tunnel(hostname="raw", protocol="tls")

    def serve(stream):
        first = stream.recv_exact(1)
        if first == b"G":
            http_echo(stream)
        else:
            stream.send(first)
            agents.echo(stream)

    agent.serve(serve)

    def talk(visitor):
        visitor.send(CHUNK)
        assert visitor.recv_exact(len(CHUNK)) == CHUNK

    def come_anew():
        assert engine.get("web")[0] == 200

    def open_channel():
        newcomer = Agent(engine)
        newcomer.close_channel()
        newcomer.close()

    loads = [Load(come_anew), Load(open_channel)]
    for _ in range(BUSY_VISITORS):
        visitor = engine.visit(engine.name("raw"))
        loads.append(Load(lambda visitor=visitor: talk(visitor)))
    for i in range(ROTATIONS):
        rotate(authority, engine, f"rotation-{i}")
    for load in loads:
        load.finish()
    # The worker that has loaded a pair serves it before it counts it.
    ok = 'weir_engine_cert_reloads_total{result="ok"}'
    eventually(lambda: engine.metrics()[ok] >= ROTATIONS, "both rotations are counted")


def test_reloads_without_end_disturb_nobody(start):
    """Good files, bad files and none, as fast as signals go, between visitors who are served and others
    who only knock."""
    engine = start()
    agent = Agent(engine)
    agent.tunnel(hostname="web")
    agent.serve(http_echo)
    ticks = itertools.count()

    def reload():
        tick = next(ticks)
        engine.write_config(timeouts={"http_idle_seconds": 60 + tick % 20})
        if tick % 5 == 3:
            engine.config.write_text("engine: [")
        elif tick % 5 == 4:
            engine.config.unlink()
        engine.signal(signal.SIGHUP)

    def knock():
        with socket.create_connection(engine.address, 20) as sock:
            sock.sendall(b"\x16\x03\x01"[: next(ticks) % 4])

    def come_anew():
        assert engine.get("web")[0] == 200

    reloading, knocking, coming = (Load(act) for act in (reload, knock, come_anew))
    eventually(lambda: coming.count >= 20 and reloading.count >= 200, "all have had their turns", 60)
    for load in (reloading, knocking, coming):
        load.finish()

    def is_told():  # so many lines of one kind a second, and the storm may have used them up
        mark = engine.log.mark()
        engine.write_config(timeouts={"http_idle_seconds": 100 + next(ticks) % 50})
        engine.signal(signal.SIGHUP)
        try:
            return engine.log.wait("config_changed", mark, timeout=2)
        except AssertionError:
            return None

    eventually(is_told, "a reload is told again", timeout=30)
    come_anew()


# ---- Slow ones


def is_prompt(engine, label):
    began = time.monotonic()
    assert engine.get(label)[0] == 200
    assert time.monotonic() - began < PROMPT_S


def stands_still(counts):
    """Nothing was added for a while."""
    before = sum(counts)
    time.sleep(0.2)
    return sum(counts) == before


def test_slow_visitors_stall_only_themselves(start):
    engine = start(env=LEAN)
    agent = Agent(engine)
    agent.tunnel(hostname="web")
    sent = []

    def serve(stream):
        if b"GET /large" not in stream.recv_until(b"\r\n\r\n"):
            stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            stream.recv_all(60)
            return
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY)
        for _ in range(BODY // len(CHUNK)):
            stream.send(CHUNK)
            sent.append(len(CHUNK))

    agent.serve(serve)
    is_prompt(engine, "web")
    before = resident(engine)
    host = engine.name("web")
    slow = [engine.visit(host, alpn=["http/1.1"]) for _ in range(SLOW_VISITORS)]
    for visitor in slow:
        visitor.send(f"GET /large HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    for _ in range(10):
        is_prompt(engine, "web")
    eventually(lambda: sent and stands_still(sent), "the streams are full")
    assert sum(sent) < SLOW_VISITORS * BODY // 2
    assert resident(engine) - before < GROWTH_MAX
    is_prompt(engine, "web")
    for visitor in slow:
        visitor.recv_until(b"\r\n\r\n")
        assert visitor.recv_exact(64 * len(CHUNK)) == 64 * CHUNK


def test_slow_agents_stall_only_themselves(start):
    """One never answers, the other never reads what visitors send."""
    engine = start({"timeouts": {"stream_request_seconds": 30}}, env=LEAN)
    silent = Agent(engine)
    silent.tunnel(hostname="silent")
    deaf = Agent(engine)
    deaf.tunnel(hostname="deaf", protocol="tls")
    quick = Agent(engine)
    quick.tunnel(hostname="quick")
    quick.serve(http_echo)
    is_prompt(engine, "quick")
    before = resident(engine)
    host = engine.name("silent")
    for _ in range(SLOW_VISITORS):
        waiting = engine.visit(host, alpn=["http/1.1"])
        waiting.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    for _ in range(SLOW_VISITORS):
        sender = engine.visit(engine.name("deaf"))
        deaf.bound()
        sender.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            for _ in range(BODY // len(CHUNK)):
                sender.send(CHUNK)
    for _ in range(10):
        is_prompt(engine, "quick")
    assert resident(engine) - before < GROWTH_MAX
