# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in a command of the agent's command line. Whatever
N is, it does what it should or says why not, and ends; nothing leaks, and no file is left broken."""
import re

import pytest
import yaml

from lib.agent import Agent
from lib.cli import Cli
from lib.stub_http import StubHttp

STRIDE = 8
NUMBER_MAX = 400
NAMES = ("WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL")


@pytest.fixture
def cli(engine, tmp_path):
    return Cli(tmp_path, engine)


def sweep(name, run):
    """run(number) gives a finished command; its standard error tells how many calls there were."""
    whole = run(1_000_000_000)
    assert whole.returncode == 0, whole.stderr
    counted = re.search(r"(\d+) allocations, (\d+) system calls", whole.stderr)
    assert counted, "this build has no fault seams"
    last = int(counted[1 + NAMES.index(name)])
    assert last > 1, counted[0]
    for number in range(1, min(last, NUMBER_MAX) + 1, STRIDE if last > 50 else 1):
        done = run(number)
        words = re.sub(r"weir: \d+ allocations, .*\n", "", done.stderr)
        assert done.returncode >= 0, f"{name}={number}: {done.returncode} {done.stderr}"
        assert done.returncode != 99 and "assert" not in words, f"{name}={number}: {done.stderr}"
        assert done.returncode == 0 or words.strip(), f"{name}={number}: ended without a word"


@pytest.mark.parametrize("name", NAMES)
def test_lists(cli, engine, name):
    agent = Agent(engine)
    agent.tunnel(name="web", publish=False, labels={"a": "1", "b": "2"})
    sweep(name, lambda number: cli.run("tunnels", env={name: str(number)}))


@pytest.mark.parametrize("name", NAMES)
def test_doctor(cli, name):
    def run(number):
        done = cli.run("doctor", env={name: str(number)})
        assert "Summary:" in done.stdout or done.returncode, done
        if done.returncode == 1 and " fail " in done.stdout:
            done.stderr += "a check failed\n"
        return done

    sweep(name, run)


@pytest.mark.parametrize("name", NAMES)
def test_contexts(cli, name):
    """The file is the old one or the new one."""
    cli.good("context", "create", "a", "--engine", "a.test", "--token-stdin", stdin="stored.token")
    before = yaml.safe_load(cli.config.read_text())

    def run(number):
        done = cli.run("context", "update", "a", "--engine", "b.test", env={name: str(number)})
        after = yaml.safe_load(cli.config.read_text())
        changed = after != before
        assert changed == (done.returncode == 0), f"{name}={number}: {done.stderr}"
        if changed:
            assert after["contexts"][0]["auth"] == before["contexts"][0]["auth"]
            cli.good("context", "update", "a", "--engine", "a.test")
        return done

    sweep(name, run)
    assert {x.name for x in cli.config.parent.iterdir()} <= {"config.yaml", "config.yaml.lock"}


@pytest.mark.parametrize("transport", ["websocket", "sse"])
@pytest.mark.parametrize("name", NAMES)
def test_events(cli, engine, name, transport):
    """Until the first event is delivered."""
    Agent(engine).tunnel(name="web", publish=False)
    receiver = StubHttp(lambda _: (404, {}, b""))
    words = ["events", "--transport", transport, "--forward-to", f"http://127.0.0.1:{receiver.port}/", "-o", "none"]

    def run(number):
        done = cli.run(*words, env={name: str(number)})
        if done.returncode == 77 and "answers 404" in done.stderr:
            done.returncode = 0
        return done

    sweep(name, run)
    receiver.stop()
