# SPDX-License-Identifier: Apache-2.0
"""weir tunnels and weir clients beside an engine (engine spec, sections 8 and 11.4)."""
import json
import os
import signal
import subprocess
import time

import pytest

from lib.agent import Agent
from lib.cli import Cli
from lib.stub_http import StubEngine
from lib.wait import eventually

READ = ["tunnels.resources.read-only"]


@pytest.fixture
def cli(engine, tmp_path):
    commands = Cli(tmp_path, engine, permissions=READ)
    yield commands
    commands.close()


@pytest.fixture
def agent(engine):
    return Agent(engine)


def rows(text):
    return [line.split() for line in text.splitlines()]


def a_moment_later():
    """Dates of creation have milliseconds."""
    start = time.time()
    eventually(lambda: time.time() > start + 0.002, "two milliseconds")


def test_tables(cli, agent):
    assert rows(cli.good("tunnels")) == [
        ["ID", "NAME", "TYPE", "PROTOCOL", "PUBLISH", "HOST", "HTTP_VERSION", "UPSTREAM_TLS"]
    ]
    old = agent.tunnel(name="old", publish=True, protocol="http", host="old")
    a_moment_later()
    new = agent.tunnel(name="new", publish=False)
    table = rows(cli.good("tunnels", "list"))
    assert [row[:2] for row in table[1:]] == [
        [new.id.value, "new"],
        [old.id.value, "old"],
    ], "the newest first"
    assert table[2][2:6] == ["bytestream", "http", "true", old.hostname.value]
    assert cli.good("tunnels", "-q").split() == [new.id.value, old.id.value]
    clients = rows(cli.good("clients", "ls"))
    assert clients[0] == ["ID", "STATUS", "USER", "AGENT", "CHANNEL", "VERSION", "OS", "ARCH"]
    assert clients[1][0] == agent.client_id
    assert clients[1][1:] == ["online", "-", "weir-tests", "sdk", "1.0", "linux", "x86_64"]


def test_filters_and_json(cli, agent):
    agent.tunnel(name="a", publish=False, labels={"env": "prod", "site": "x,y"})
    agent.tunnel(name="b", publish=False, labels={"env": "test"})
    agent.tunnel(name="c", publish=True, protocol="http", host="c")

    def names(*words):
        found = json.loads(cli.good("tunnels", "list", "--json", *words))
        assert found == json.loads(cli.good("tunnels", "-o", "json", *words))
        return sorted(item["name"] for item in found)

    assert names() == ["a", "b", "c"]
    assert names("--filter", "labels.env=prod") == ["a"]
    assert names("--filter", "labels.env=*") == ["a", "b"]
    assert names("--filter=labels.env=") == ["a", "b"]
    assert names("--filter", r"labels.site=x\,y") == ["a"]
    assert names("--filter", "publish=true") == ["c"]
    assert names("--filter", "publish=false,labels.env=test") == ["b"]
    assert names("--filter", "publish=false", "--filter", "name=a") == ["a"]
    assert json.loads(cli.good("clients", "--json", "--filter", "os=plan9")) == []


@pytest.mark.parametrize(
    "text, said",
    [
        ("nam=x", "did you mean name?"),
        ("name", "is no condition"),
        ("=x", "is no condition"),
        ("publish=yes", "allowed: true, false"),
        ("labels.=x", "there is no field"),
        ("name=" + "x" * 2000, "more than 1023"),
    ],
)
def test_bad_filters(cli, text, said):
    code, error = cli.bad("tunnels", "--filter", text)
    assert code == 64 and said in error


def test_inspect(cli, agent):
    tunnel = agent.tunnel(name="seen", publish=False, labels={"a": "1", "b": "2"})
    for word in (tunnel.id.value, "seen"):
        assert json.loads(cli.good("tunnels", "inspect", word, "--json"))["name"] == "seen"
    table = dict(line.split(None, 1) for line in cli.good("tunnels", "inspect", "seen").splitlines())
    assert table["client_id"] == agent.client_id and table["labels"] == "a=1, b=2"
    assert json.loads(cli.good("clients", "inspect", agent.client_id, "-o", "json"))["os"] == "linux"
    code, error = cli.bad("tunnels", "inspect", "nobody")
    assert code == 69 and 'no tunnel "nobody"' in error
    assert cli.bad("tunnels", "inspect")[0] == 64
    assert "inspect ID" in cli.bad("tunnels", "inspekt")[1]


def test_what_names_hold_does_not_steer_the_terminal(authority, tmp_path):
    name = "a\x1b[31mred\x1b]0;title\x07b\x9bc\u202ed\ne"
    stub = StubEngine(authority, tunnels=[{"id": "t1", "name": name, "labels": {name: name}}])
    cli = Cli(tmp_path, stub)
    for words in ([], ["inspect", "t1"]):
        table = cli.good("tunnels", *words)
        assert "aredbcd e" in table
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(table)
    assert json.loads(cli.good("tunnels", "--json"))[0]["name"] == name
    _, seen = cli.on_terminal("tunnels", "--json", until=lambda text: text.count(b"]") > 1)
    assert not {0x1B, 0x07} & set(seen) and seen.isascii()
    stub.stop()


def test_an_engine_that_answers_nonsense(authority, tmp_path):
    stub = StubEngine(authority)
    cli = Cli(tmp_path, stub)
    for status, body, code, said in (
        (200, b"{}", 65, "no list"),
        (200, b"[{", 65, "no list"),
        (500, b"\x1b[2Jboom", 69, "answers 500: boom"),
        (429, b"", 69, "try again later"),
    ):
        stub.answer = lambda _, s=status, b=body: (s, {}, b)
        found, error = cli.bad("tunnels")
        assert (found, said in error) == (code, True), error
    stub.answer = lambda _: None
    assert cli.bad("tunnels")[0] == 69
    stub.stop()


def test_refusals(cli, engine, tmp_path):
    other = Cli(tmp_path / "other", engine, permissions=["tunnels.streams.create-delete"])
    code, error = other.bad("tunnels")
    assert code == 77 and "403" in error and "tunnels.resources.read-only" in error
    wrong = engine.token(secret="another secret that is long enough, too")
    code, error = cli.bad("tunnels", env={"RSTREAM_AUTHENTICATION_TOKEN": wrong})
    assert code == 77 and "401" in error and "weir token engine" in error and wrong not in error
    code, error = cli.bad("tunnels", env={"RSTREAM_ENGINE": "127.0.0.1:1"})
    assert code == 69 and "cannot be reached" in error
    code, error = cli.bad("tunnels", env={"WEIR_ENGINE_CA_FILE": None})
    assert code == 69 and "certificate" in error and "--engine-tls-ca-file" in error
    assert cli.good("tunnels", "--engine-tls-insecure-skip-verify", env={"WEIR_ENGINE_CA_FILE": None})
    assert cli.bad("tunnels", "--watch", "-q")[0] == 64
    assert cli.bad("tunnels", "-o", "xml")[1].rstrip().endswith("allowed: table|json")


def test_watch_in_a_pipe(cli, agent, engine):
    first = agent.tunnel(name="first", publish=False, labels={"w": "1"})
    watching = cli.start("tunnels", "--watch", "--filter", "labels.w=1")
    present = watching.wait_event(lambda e: e["event"] == "present", "what was there")
    assert present["tunnel"]["id"] == first.id.value
    agent.tunnel(name="hidden", publish=False)
    second = agent.tunnel(name="second", publish=False, labels={"w": "1"})
    watching.wait_event(lambda e: e["event"] == "created", "a new one")
    agent.close_tunnel(second.id.value)
    watching.wait_event(lambda e: e["event"] == "deleted", "a closed one")
    assert watching.end(signal.SIGINT) == 0
    assert [e["tunnel"]["name"] for e in watching.events()] == ["first", "second", "second"]
    assert watching.err == []


def test_watch_ends_when_nobody_reads(cli, agent):
    agent.tunnel(name="first", publish=False)
    read_end, write_end = os.pipe()
    watching = subprocess.Popen(
        cli.words(["tunnels", "--watch"]),
        env=cli.environment(None),
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    assert os.read(read_end, 65536)
    os.close(read_end)
    agent.tunnel(name="second", publish=False)
    assert watching.wait(20) == 1


def test_watch_on_a_terminal(cli, agent):
    agent.tunnel(name="painted", publish=False)
    for count in range(30):
        agent.tunnel(name=f"more-{count}", publish=False)
    code, seen = cli.on_terminal(
        "tunnels", "--watch", until=lambda text: b"31 tunnels" in text and b"... and " in text
    )
    assert code == 0
    assert seen.startswith(b"\x1b[?1049h") and seen.rstrip().endswith(b"\x1b[?1049l")
    assert b"live" in seen


def test_watch_is_refused(cli, engine):
    wrong = engine.token(secret="another secret that is long enough, too")
    code, error = cli.bad("tunnels", "--watch", env={"RSTREAM_AUTHENTICATION_TOKEN": wrong})
    assert code == 77 and "401" in error
