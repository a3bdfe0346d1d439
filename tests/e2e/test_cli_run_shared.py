# SPDX-License-Identifier: Apache-2.0
"""Tunnels of weir run that share a control channel: what happens to one touches no other (engine
spec, section 11.6). The engine is a scripted one, so each word to it can be seen."""
import re

import pytest

from lib.scripted import Scripted
from lib.wait import eventually
from test_cli_run import Running, tunnels, web

INVALID = 2000
FOR_LATER = "Hostname is already in use."


@pytest.fixture
def scripted(authority):
    running = Scripted(authority)
    yield running
    running.stop()


@pytest.fixture
def run(scripted, tmp_path):
    started = []

    def starter(*items, flags=()):
        path = tunnels(tmp_path / "t.yml", *items)
        running = Running(scripted, "run", "-c", str(path), "--watch", *flags)
        running.path = path
        started.append(running)
        return running

    yield starter
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait(10)


def opened(channel, count):
    """Takes that many tunnels; their ids are their names."""
    names = []
    for _ in range(count):
        request = channel.expect("open_tunnel_req")
        name = request.tunnel_properties.name.value
        channel.answer_tunnel(request, f"id-{name}")
        names.append(name)
    return sorted(names)


def test_one_channel_for_all(scripted, run):
    running = run(web("a", 80), web("b", 80), web("c", 80))
    channel = scripted.channel()
    assert opened(channel, 3) == ["a", "b", "c"]
    for name in "abc":
        running.wait_line(f"{name}: online")
    # Only what differs is closed and opened, on the same channel.
    tunnels(running.path, web("a", 80), web("b", 81), web("d", 80))
    closed = {channel.expect("close_tunnel_req", ("heartbeat", "open_tunnel_req")).tunnel_id}
    found, part = "heartbeat", None
    seen = []
    while len(closed) < 2 or len(seen) < 2:
        found, part = channel.read()
        if found == "close_tunnel_req":
            closed.add(part.tunnel_id)
        elif found == "open_tunnel_req":
            seen.append(part.tunnel_properties.name.value)
            channel.answer_tunnel(part, f"id-{seen[-1]}-again")
        if found == "close_tunnel_req" and len(closed) == 2:
            for tunnel_id in closed:
                channel.write("close_tunnel_rsp", tunnel_id=tunnel_id)
    assert closed == {"id-b", "id-c"}
    assert sorted(seen) == ["b", "d"]
    running.wait_line("d: online")
    assert running.count("a:") == 2, "connecting, online"
    assert scripted.connections.empty()


def test_a_refusal_is_one_tunnels(scripted, run):
    running = run(web("good", 80), web("bad", 80), web("taken", 80))
    channel = scripted.channel()
    requests = {}
    for _ in range(3):
        request = channel.expect("open_tunnel_req")
        requests[request.tunnel_properties.name.value] = request
    for name, message in (("bad", "no such thing"), ("taken", FOR_LATER)):
        channel.write(
            "open_tunnel_rsp",
            request_id=requests[name].request_id,
            error={"code": INVALID, "message": message},
        )
    channel.answer_tunnel(requests["good"], "id-good")
    running.wait_line("good: online")
    running.wait_line("bad: stopped")
    waits = re.search(r"again in ([\d.]+) s", running.wait_line("taken: refused"))
    assert 0.8 <= float(waits[1]) <= 1.01, "a second, less a fifth of it at most"
    request = channel.expect("open_tunnel_req")
    assert request.tunnel_properties.name.value == "taken"
    channel.answer_tunnel(request, "id-taken")
    running.wait_line("taken: online")
    assert running.count("good:") == 2 and scripted.connections.empty()


def test_the_engine_closes_one(scripted, run):
    running = run(web("stays", 80), web("goes", 80))
    channel = scripted.channel()
    opened(channel, 2)
    running.wait_line("goes: online")
    channel.write("close_tunnel_rsp", tunnel_id="id-goes")
    waits = re.search(r"again in ([\d.]+) s", running.wait_line("goes: closed"))
    assert 0.8 <= float(waits[1]) <= 1.01
    assert opened(channel, 1) == ["goes"]
    eventually(lambda: running.count("goes: online") == 2, "it is back")
    assert running.count("stays:") == 2 and scripted.connections.empty()


def test_others_need_their_own(scripted, run):
    """Another token, and more tunnels than a channel is to carry."""
    other = {"engine": f"127.0.0.1:{scripted.port}", "token": "other"}
    many = [web(f"n{i}", 80) for i in range(33)]
    running = run({**web("else", 80), "context": other}, *many)
    channels = [scripted.next() for _ in range(3)]
    tokens = [channel.open().client_details.token.value for channel in channels]
    assert tokens.count("other") == 1 and len(set(tokens)) == 2
    for channel in channels:
        count = 1 if channel is channels[tokens.index("other")] else None
        if count:
            assert opened(channel, 1) == ["else"]
    running.wait_line("else: online")


def test_a_channel_that_is_not_needed_ends(scripted, run):
    other = {"engine": f"127.0.0.1:{scripted.port}", "token": "other"}
    running = run(web("a", 80), {**web("b", 80), "context": other})
    channels = {}
    for _ in range(2):
        channel = scripted.next()
        channels[channel.open().client_details.token.value] = channel
        opened(channel, 1)
    running.wait_line("a: online")
    running.wait_line("b: online")
    tunnels(running.path, web("a", 80))
    request = channels["other"].expect("close_tunnel_req")
    channels["other"].write("close_tunnel_rsp", tunnel_id=request.tunnel_id)
    channels["other"].expect("close_control_channel_req")
    assert channels["other"].ended()
    running.wait_line("b: closed")
    assert running.count("a:") == 2


def test_nothing_is_left_but_the_file(scripted, run):
    """It is followed, so the next thing it says is tried."""
    running = run(web("a", 80))
    channel = scripted.channel()
    request = channel.expect("open_tunnel_req")
    channel.write(
        "open_tunnel_rsp",
        request_id=request.request_id,
        error={"code": INVALID, "message": "no such thing"},
    )
    running.wait_line("a: stopped")
    channel.expect("close_control_channel_req")
    channel.close()
    tunnels(running.path, web("z", 80))
    assert opened(scripted.channel(), 1) == ["z"]
    running.wait_line("z: online")
    assert running.process.poll() is None
