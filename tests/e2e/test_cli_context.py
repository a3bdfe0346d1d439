# SPDX-License-Identifier: Apache-2.0
"""weir context: the file of engines and tokens (engine spec, sections 11.1-11.3)."""
import fcntl
import json
import os
import stat
import subprocess
import threading

import pytest
import yaml

from lib.cli import Cli

STORED = "stored.token.of-these-tests"


@pytest.fixture
def cli(tmp_path):
    commands = Cli(tmp_path)
    commands.secrets.append(STORED)
    return commands


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def kept(cli):
    return yaml.safe_load(cli.config.read_text())


def test_a_life(cli, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text("an authority")
    out = cli.good(
        "context", "create", "home", "--engine", "edge.example.com", "--token-stdin", "--no-api-url",
        stdin=STORED + "\n",
    )
    assert out == 'context "home" is made\n'
    assert mode(cli.config) == 0o600 and mode(cli.config.parent) == 0o700
    assert kept(cli) == {
        "version": 1,
        "contexts": [
            {
                "name": "home",
                "engine": "edge.example.com",
                "auth": {"token": {"storage": {"kind": "inline", "value": STORED}}},
            }
        ],
        "defaults": {"context": {"name": "home"}},
    }
    (tmp_path / "token").write_text(STORED + "\n")
    out = cli.good(
        "context", "create", "trial", "--engine", "127.0.0.1:18443", "--token-file", "token",
        "--ca", "ca.pem", "--engine-tls-server-name", "edge.test",
        "--engine-tls-insecure-skip-verify", "-o", "json", cwd=tmp_path,
    )
    trial = json.loads(out)
    assert trial["auth"]["token"]["storage"] == {"kind": "inline", "value": "[hidden]"}
    assert trial["transport"]["tls"] == {
        "caFile": str(ca), "serverName": "edge.test", "insecureSkipVerify": True,
    }
    rows = [line.split() for line in cli.good("context", "list").splitlines()]
    assert rows[1] == ["*", "home", "edge.example.com", "stored", "the", "system's"]
    assert rows[2][:3] == ["trial", "127.0.0.1:18443", "stored"]
    assert "trusts anybody" in cli.good("context", "list")
    cli.good("context", "use", "trial")
    assert json.loads(cli.good("context", "get", "-o", "json"))["name"] == "trial"
    assert yaml.safe_load(cli.good("context", "get", "home", "-o", "yaml"))["engine"] == "edge.example.com"
    assert [c.get("default") for c in json.loads(cli.good("context", "ls", "-o", "json"))] == [None, True]
    shown = cli.good(
        "context", "update", "trial", "--engine", "other.test", "--no-engine-tls-insecure-skip-verify",
        "-o", "yaml",
    )
    assert yaml.safe_load(shown)["transport"]["tls"]["insecureSkipVerify"] is False
    changed = kept(cli)["contexts"][1]
    assert changed["engine"] == "other.test" and changed["auth"]["token"]["storage"]["value"] == STORED
    assert cli.good("context", "update", "home", "--default", "-o", "none") == ""
    assert kept(cli)["defaults"]["context"]["name"] == "home"
    cli.good("context", "delete", "home")
    assert "defaults" not in kept(cli) and len(kept(cli)["contexts"]) == 1
    assert "no context is the default" in cli.bad("context", "get")[1]
    assert mode(cli.config) == 0o600


def test_what_we_do_not_know_of_is_kept(cli):
    cli.config.parent.mkdir()
    cli.config.write_text(
        "version: 1\nenvironments: [{apiUrl: https://api, auth: {token: {storage: {kind: keychain}}}}]\n"
        "contexts:\n- name: a\n  turnPort: 3478\n  transport: {dns: {override: 1.1.1.1}}\n"
    )
    cli.config.chmod(0o600)
    before = kept(cli)
    cli.good("context", "create", "b", "--engine", "b.test")
    after = kept(cli)
    assert after["environments"] == before["environments"]
    assert after["contexts"][0] == before["contexts"][0]


def test_others_can_read_it(cli):
    cli.good("context", "create", "a", "--engine", "a.test", "--token-stdin", stdin=STORED)
    for bits in (0o644, 0o640, 0o604, 0o660):
        cli.config.chmod(bits)
        for words in (["context", "list"], ["context", "use", "a"], ["tunnels"], ["events"]):
            code, error = cli.bad(*words)
            assert code == 78 and f"mode {bits:04o}" in error and f"chmod 600 {cli.config}" in error
    assert mode(cli.config) == 0o660, "it is not changed behind anybody's back"
    cli.config.write_text("contexts: [{name: a, engine: a.test}]\n")
    cli.config.chmod(0o644)
    assert cli.good("context", "list"), "there is no secret in it"


def test_a_file_with_mistakes_stays(cli):
    cli.config.parent.mkdir()
    cli.config.write_text("contexts: [{name: a, engin: b}]\n")
    cli.config.chmod(0o600)
    for words in (["list"], ["use", "a"], ["create", "b", "--engine", "b.test"], ["delete", "a"]):
        code, error = cli.bad("context", *words)
        assert code == 78 and "config.yaml:1:22: contexts[0].engin" in error and "did you mean engine?" in error
    assert cli.config.read_text() == "contexts: [{name: a, engin: b}]\n"


@pytest.mark.parametrize(
    "words, stdin, code, said",
    [
        (["create", "x"], None, 78, "--engine HOST[:PORT] is missing"),
        (["create"], None, 64, "one NAME"),
        (["create", "a", "b"], None, 64, "one NAME"),
        (["create", "a", "--engine", "a.test"], None, 78, "weir context update a"),
        (["create", "x", "--engine", "https://x"], None, 78, "without a scheme"),
        (["create", "x", "--engine", "x.test", "--token", "a", "--token-stdin"], "b", 78, "exclude"),
        (["create", "x", "--engine", "x.test", "--token-stdin"], "", 78, "it is empty"),
        (["create", "x", "--engine", "x.test", "--token-stdin"], "a\nb", 78, "without blanks"),
        (["create", "x", "--engine", "x.test", "--token-file", "/nowhere"], None, 78, "not found"),
        (["create", "x", "--engine", "x.test", "--token-storage", "keychain"], None, 64, "inline"),
        (["create", "x", "--engine", "x.test", "--ca", "/nowhere"], None, 78, "no such file"),
        (["update", "x", "--engine", "x.test"], None, 78, 'context "x" not found'),
        (["use", "x"], None, 78, 'context "x" not found'),
        (["delete", "x"], None, 78, 'context "x" not found'),
        (["get", "x"], None, 78, 'context "x" not found'),
        (["lst"], None, 64, "did you mean list?"),
        (["use"], None, 64, "one NAME"),
        (["list", "x"], None, 64, "not understood"),
    ],
)
def test_refusals(cli, words, stdin, code, said):
    cli.good("context", "create", "a", "--engine", "a.test")
    before = cli.config.read_text()
    found, error = cli.bad("context", *words, stdin=stdin)
    assert found == code and said in error
    assert cli.config.read_text() == before


def test_an_expired_token_is_not_kept(cli, engine):
    old = engine.token(exp=1)
    cli.secrets.append(old)
    error = cli.bad("context", "create", "a", "--engine", "a.test", "--token-stdin", stdin=old)[1]
    assert "expired at 1970" in error and not cli.config.exists()


def test_many_at_once(cli):
    """Each change takes the lock: none is lost."""
    names = [f"c{i}" for i in range(12)]
    threads = [
        threading.Thread(target=cli.good, args=("context", "create", name, "--engine", "a.test"))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(c["name"] for c in kept(cli)["contexts"]) == sorted(names)


def test_the_lock_is_waited_for(cli):
    cli.good("context", "create", "a", "--engine", "a.test")
    with open(f"{cli.config}.lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = cli.start("context", "create", "b", "--engine", "b.test")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.process.wait(0.3)
        fcntl.flock(lock, fcntl.LOCK_UN)
    assert waiting.wait() == 0 and len(kept(cli)["contexts"]) == 2


def test_a_context_is_used(cli, engine):
    token = engine.token()
    cli.secrets.append(token)
    cli.good(
        "context", "create", "real", "--engine", f"127.0.0.1:{engine.port}", "--token-stdin",
        "--ca", engine.ca, "--engine-tls-server-name", engine.host, stdin=token,
    )
    cli.good("context", "create", "other", "--engine", "other.test", "--default")
    assert json.loads(cli.good("clients", "--context", "real", "--json")) == []
    assert json.loads(cli.good("clients", "--json", env={"RSTREAM_CONTEXT": "real"})) == []
    assert "authentication is required" in cli.bad("clients")[1]
    error = cli.bad("clients", "--context", "real", "--engine", "evil.test")[1]
    assert "is not sent to the engine of --engine" in error and "RSTREAM_AUTHENTICATION_TOKEN" in error
    elsewhere = cli.home / "elsewhere.yaml"
    cli.config.rename(elsewhere)
    assert "engine is required" in cli.bad("clients")[1]
    assert cli.good("clients", "--config", str(elsewhere), "--context", "real")
    assert cli.good("clients", "--context", "real", env={"RSTREAM_CONFIG": str(elsewhere)})
