# SPDX-License-Identifier: Apache-2.0
"""What comes from the tables of commands: help, manual pages, completions, examples; and the name
rstream."""
import json
import os
import pty
import re
import select
import shlex
import subprocess

import pytest

from lib import weir
from lib.agent import Agent
from lib.cli import Cli
from lib.stub_http import StubHttp
from lib.wait import eventually

OURS = ["tunnels", "clients", "events", "doctor", "context", "completion", "help"]
GO_ON = ("events", "tunnels --watch")  # until somebody ends them


@pytest.fixture
def cli(engine, tmp_path):
    commands = Cli(tmp_path, engine)
    yield commands
    commands.close()


def section(text, title):
    """The lines below a heading of --help."""
    found = re.search(rf"^{title}:\n((?:  .*\n)+)", text, re.M)
    return found[1].splitlines() if found else []


def children(cli, *path):
    lines = section(cli.good("help", *path), "commands")
    return [line.split()[0] for line in lines if re.match(r"  [a-z]", line)]


def tree(cli, *path):
    yield path
    for word in children(cli, *path):
        yield from tree(cli, *path, word)


def examples(cli, *path):
    return [line[2:] for line in section(cli.good("help", *path), "examples") if line[2] != " "]


def something_happens(agent):
    """A tunnel that comes and goes."""
    agent.close_tunnel(agent.tunnel(name="short", publish=False, labels={"env": "prod"}).id.value)
    return True


def all_examples(cli):
    found = {}
    for word in OURS:
        for path in tree(cli, word):
            for line in examples(cli, *path):
                found[line] = path
    return list(found)


def run_lines(cli, engine, receiver, lines):
    (cli.home / "agent.jwt").write_text(cli.token)
    (cli.home / "edge.pem").write_bytes(open(engine.ca, "rb").read())
    agent = Agent(engine)
    agent.tunnel(name="web", publish=False)
    for line in lines:
        words = shlex.split(line.replace("8080", str(receiver.port)))
        assert words.pop(0) == "weir"
        # The real engine stands in for the one that examples name.
        words = [f"127.0.0.1:{engine.port}" if x == "edge.example.com" and "doctor" in line else x for x in words]
        if line.startswith(tuple(f"weir {x}" for x in GO_ON)):
            running = cli.start(*words)
            if "none" in words:
                running.wait_error("Webhook signing secret")
                known = len(receiver.requests)
                eventually(
                    lambda n=known: something_happens(agent) and len(receiver.requests) > n, line
                )
            else:
                eventually(lambda r=running: something_happens(agent) and r.out, line)
            assert running.end() == 0, line
        else:
            stdin = cli.token if "--token-stdin" in words else None
            assert cli.run(*words, stdin=stdin, cwd=cli.home).returncode == 0, line


def test_every_example_works(cli, engine):
    """In a directory that has the files they name, with a context `home`."""
    receiver = StubHttp(lambda _: (200, {}, b""))
    lines = all_examples(cli)
    assert len(lines) > 15
    # Contexts in the order of their life.
    order = ["context create", "context use", "context update", "context list", "context get", ""]
    lines.sort(key=lambda x: next(i for i, part in enumerate(order) if part in x))
    lines = [x for x in lines if "context delete" not in x] + [x for x in lines if "context delete" in x]
    run_lines(cli, engine, receiver, lines)
    receiver.stop()


def test_every_line_of_the_guide_works(cli, engine):
    """Those of docs/agent.md that are ours, in their order."""
    text = (weir.ROOT / "docs/agent.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S)
    lines = [x for block in blocks for x in block.splitlines() if x.startswith(tuple(f"weir {w}" for w in OURS))]
    assert len(lines) > 15
    receiver = StubHttp(lambda _: (200, {}, b""))
    run_lines(cli, engine, receiver, lines)
    receiver.stop()


def test_token_examples(cli, engine):
    for line in examples(cli, "token", "engine"):
        words = shlex.split(line)[1:]
        token = cli.good(*words, cwd=engine.directory).strip()
        assert token.count(".") == 2
    assert cli.good("token", "create", "-c", str(engine.config)).count(".") == 2


def test_every_command_has_help_and_a_page(cli, tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    cli.good("help", "--man-dir", str(pages))
    paths = list(tree(cli))
    assert len(paths) > 20
    for path in paths:
        text = cli.good("help", *path)
        if not {"config", "health", "relay", "engine"} & set(path):
            assert max(len(line) for line in text.splitlines()) < 200
        page = pages / ("-".join(("weir", *path)) + ".1")
        assert page.read_text() == cli.good("help", "--man", *path)
        shown = subprocess.run(
            ["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-P-cbu", str(page)], capture_output=True, text=True, check=True
        )
        assert shown.stderr == "", path
        assert all(word in shown.stdout for word in ("NAME", "SYNOPSIS", *path)), path
    assert len(list(pages.iterdir())) == len(paths)
    # Another reader of pages, which is stricter. They have no date: they are of a version.
    judged = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages.iterdir()],
                            capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in judged.stdout.splitlines() if "missing date" not in line] == []
    assert judged.stdout.count("missing date") == len(paths)
    assert cli.bad("help", "nothing")[0] == 64


# ---- Shells


def bash(cli, *words):
    script = (
        'source <("$0" completion bash); COMP_WORDS=(weir "$@"); COMP_CWORD=$#; _weir; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return ["bash", "--norc", "-euc", script, weir.binary(), *words]


def zsh(cli, *words):
    script = (
        'compdef() { :; }; compadd() { shift; print -l -- "$@"; }; _files() { print -l -- *; }; '
        'source <("$0" completion zsh); words=(weir "$@"); CURRENT=$(($# + 1)); _weir'
    )
    return ["zsh", "-fc", script, weir.binary(), *words]


def fish(cli, *words):
    line = " ".join(["weir", *words])
    return ["fish", "--no-config", "-c", f"{weir.binary()} completion fish | source; complete -C '{line}'"]


def complete(cli, shell, *words):
    done = subprocess.run(
        shell(cli, *words), env=cli.env, cwd=cli.home, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == "", done.stderr
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    last = words[-1]
    return {x for x in found if x.startswith(last)}


@pytest.mark.parametrize("shell", [bash, zsh, fish])
def test_completions(cli, shell):
    (cli.home / "file.yaml").write_text("")
    assert {"tunnels", "token"} <= complete(cli, shell, "t")
    assert complete(cli, shell, "context", "cr") == {"create"}
    assert complete(cli, shell, "context", "create", "x", "--engine-tls-c") == {"--engine-tls-ca-file"}
    assert complete(cli, shell, "tunnel", "ls", "--wat") == {"--watch"}
    assert complete(cli, shell, "tunnels", "-o", "") >= {"table", "json"}
    assert "file.yaml" in complete(cli, shell, "context", "list", "--config", "f")
    assert complete(cli, shell, "completion", "b") == {"bash"}
    assert complete(cli, shell, "events", "--no-r") == {"--no-retry"}
    assert complete(cli, shell, "config", "re") == {"reference"}
    assert complete(cli, shell, "config", "reference", "health") == {"health", "health-metrics"}
    assert complete(cli, shell, "config", "-c", "file.yaml", "check", "u") == {"up"}
    assert complete(cli, shell, "health", "registry", "v") == {"validate"}
    assert complete(cli, shell, "platform", "keys", "ro") == {"rotate"}
    assert complete(cli, shell, "token", "rel") == {"relay"}
    assert complete(cli, shell, "token", "relay", "--wor") == {"--workspace"}
    assert complete(cli, shell, "help", "con") == {"context", "config"}
    assert complete(cli, shell, "help", "context", "cr") == {"create"}
    assert complete(cli, shell, "help", "--man-") == {"--man-dir"}
    assert not complete(cli, shell, "completion", "bash", "b")


def test_every_command_is_completed(cli):
    """All of bash's answers at once: each command below its parent, with every option that it has."""
    helps, known = {}, [()]
    for path in known:
        helps[path] = cli.good("help", *path)
        known += [(*path, line.split()[0]) for line in section(helps[path], "commands") if line[2] != " "]
    assert len(helps) > 20
    lines = [[*path, last] for path in helps for last in ("", "-")]
    calls = "".join(
        f"COMP_WORDS=(weir {shlex.join(line)}); COMP_CWORD={len(line)}; COMPREPLY=(); _weir; "
        'echo "${COMPREPLY[*]}"\n' for line in lines)
    done = subprocess.run(
        ["bash", "--norc", "-euc", f'source <("$0" completion bash)\n{calls}', weir.binary()],
        env=cli.env, cwd=cli.home, capture_output=True, text=True, timeout=60, check=True)
    said = [set(line.split()) for line in done.stdout.splitlines()]
    for (path, text), words, options in zip(helps.items(), said[::2], said[1::2], strict=True):
        below = {way[-1] for way in helps if way[:-1] == path and way}
        assert below <= words, path
        assert set(re.findall(r"^  (-[^\s,\[]+)", text.replace("[no-]", ""), re.M)) <= options, path


def test_a_tab_in_a_shell(cli, tmp_path):
    """bash as somebody uses it, at a terminal, with the file where the package has it."""
    place = tmp_path / "completions"
    place.write_text(cli.good("completion", "bash"))
    (tmp_path / "weir").symlink_to(weir.binary())
    master, slave = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=slave, stdout=slave, stderr=slave, cwd=tmp_path,
        env={**cli.env, "PS1": "", "TERM": "dumb", "PATH": f"{tmp_path}:{cli.env['PATH']}",
             "INPUTRC": "/dev/null", "HISTFILE": "/dev/null"}, start_new_session=True)
    os.close(slave)
    try:
        os.write(master, f"source {place}; echo re''ady\n".encode())
        seen = read_until(master, "ready\r\n")
        # The line is carried out, so that what it had become is seen in what it says.
        os.write(master, b"weir conf\trefer\tup\n")
        seen = read_until(master, "One file for")
        assert "# weir.yml" in seen
        os.write(master, b"weir hel\tvers\t\n")
        seen = read_until(master, "Print the version")
    finally:
        os.write(master, b"exit\n")
        shell.wait(20)
        os.close(master)


def read_until(fd, text):
    seen = ""
    while text not in seen:
        assert select.select([fd], [], [], 20)[0], seen
        seen += os.read(fd, 4096).decode()
    return seen


def test_completion_is_for_the_name_it_has(cli, tmp_path):
    rstream = Cli(tmp_path, name="rstream")
    assert "complete -o filenames -F _rstream rstream" in rstream.good("completion", "bash")
    assert cli.bad("completion", "csh")[0] == 64
    assert cli.bad("completion")[0] == 64


# ---- The name rstream


def test_rstream(engine, tmp_path):
    cli = Cli(tmp_path, engine, name="rstream")
    agent = Agent(engine)
    tunnel = agent.tunnel(name="web", publish=False)
    assert cli.good("tunnel", "ls", "-q").strip() == tunnel.id.value
    assert json.loads(cli.good("client", "list", "-o", "json"))[0]["id"] == agent.client_id
    assert cli.good("--version") == cli.good("version") == weir.run("--version").stdout
    text = cli.good("help")
    for word in ("tunnels", "clients", "events", "doctor", "context", "completion", "version"):
        assert f"\n  {word} " in text
    assert "relay" not in text and "rstream COMMAND --help" in text
    for words in (["relay"], ["tunnels", "--nonsense"], ["tunnels", "--context", "x"], []):
        assert cli.run(*words).returncode == 1
    wrong = {"RSTREAM_AUTHENTICATION_TOKEN": engine.token(secret="another secret, long enough for it")}
    code, error = cli.bad("tunnel", "list", env=wrong)
    assert code == 1 and error.startswith("rstream tunnels list: the engine")
