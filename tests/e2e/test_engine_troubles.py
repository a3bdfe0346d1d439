# SPDX-License-Identifier: Apache-2.0
"""The table "When it does not work" of docs/engine.md: each of its rows is brought about here, and looks
as the row says. A row without a test fails, and so does a test without a row."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from lib import http1, weir
from lib.agent import Agent, Refused, refusal
from lib.engine import Engine, free_port
from lib.site import Site

ENGINE_SETTINGS = {"timeouts": {"stream_request_seconds": 1}}
NOBODY = 65534
told = set()


def row(text):
    """The test is about the row of the table that begins with text."""

    def note(test):
        told.add(text)
        return test

    return note


def rows():
    page = (weir.ROOT / "docs/engine.md").read_text(encoding="utf-8")
    table = page[page.index("## When it does not work") :]
    return {line[2:].split(" | ")[0] for line in table.splitlines() if line.startswith("| ")} - {
        "what you see"
    }


def test_every_row_has_a_test():
    assert rows() == told


@pytest.fixture
def stopped(authority, tmp_path):
    """An engine that has been stopped; its configuration can be changed and started again."""
    engine = Engine(authority, tmp_path)
    engine.stop()
    engine.write_config(
        tls={"listen_addr": f"127.0.0.1:{free_port()}"},
        metrics={"prometheus": {"listen_addr": f"127.0.0.1:{free_port()}"}},
    )
    return engine


def start(engine, **options):
    """Starts it by its file alone; (process, log)."""
    process = subprocess.Popen(
        [weir.binary(), "engine", "-c", str(engine.config)],
        env=weir.base_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **options,
    )
    log = weir.Log(process.stdout)
    log.wait("engine_started", timeout=weir.START_TIMEOUT_S)
    return process, log


def end(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def refused_start(engine):
    result = weir.run("engine", "-c", str(engine.config))
    assert result.returncode == 78
    return result.stderr


def static(engine):
    return engine.settings["certs"]["static"]


# ---- The start


@row("warning `listen_shared`")
def test_two_on_one_port(stopped):
    first, _ = start(stopped)
    second, log = start(stopped)
    assert log.all("listen_shared")[0]["level"] == "warn"
    end(second)
    end(first)


@row('the start names `certs.static.key_file`: "does not belong to"')
def test_a_key_of_another_pair(stopped, authority):
    _, key = authority.issue("another", hosts=["another.test"])
    stopped.write_config(certs={"static": {"key_file": str(key)}})
    assert re.search(r"certs\.static\.key_file: .*does not belong to", refused_start(stopped))


@row('"cannot be read: permission denied"')
def test_a_key_that_the_user_may_not_read(stopped):
    """As somebody who is not root; the program and the files are where he gets to."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        names = {"weir": weir.binary(), "c.yml": stopped.config, **static(stopped)}
        for name, path in names.items():
            if name != "enabled":
                shutil.copy(path, f"{directory}/{name}")
        os.chmod(f"{directory}/key_file", 0o600 if os.geteuid() == 0 else 0)
        changes = {key: f"{directory}/{key}" for key in ("cert_file", "key_file")}
        stopped.write_config(certs={"static": changes})
        shutil.copy(stopped.config, f"{directory}/c.yml")
        result = subprocess.run(
            [f"{directory}/weir", "engine", "-c", f"{directory}/c.yml"],
            env=weir.base_environment(),
            user=NOBODY if os.geteuid() == 0 else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 78
    assert re.search(r"certs\.static\.key_file: .*cannot be read: permission denied", result.stderr)


@row('warning "the certificate is not for *.t.…"')
def test_a_wildcard_one_level_up(stopped, authority):
    cert, key = authority.issue("flat", hosts=[stopped.host, f"*.{stopped.host}"])
    stopped.write_config(certs={"static": {"cert_file": str(cert), "key_file": str(key)}})
    process, log = start(stopped)
    said = [line for line in log.all("config_warning") if "the certificate is not for" in str(line)]
    assert said[0]["level"] == "warn" and f"*.t.{stopped.host}" in str(said)
    end(process)


@row('"metrics.prometheus.bearer_token: is required"')
def test_metrics_for_everybody(stopped):
    stopped.write_config(metrics={"prometheus": {"listen_addr": f"0.0.0.0:{free_port()}"}})
    assert "metrics.prometheus.bearer_token: is required" in refused_start(stopped)


# ---- Agents


@row("agents: error 1000")
@pytest.mark.parametrize(
    "token, reason",
    [
        (lambda engine: engine.token(exp=int(time.time()) - 100), "expired"),
        (lambda engine: engine.token(secret="another-secret-of-thirty-two-bytes"), "signature"),
    ],
    ids=["expired", "of another secret"],
)
def test_a_token_that_is_no_good(engine, token, reason):
    mark = engine.log.mark()
    assert refusal(Agent, engine, token(engine)) == 1000
    assert reason in engine.log.wait("agent_rejected", mark)["details"]["reason"]


@row("agents: error 1000")
def test_a_token_without_the_permission(engine):
    mark = engine.log.mark()
    agent = Agent(engine, engine.token(permissions=["tunnels.resources.read-only"]))
    assert refusal(agent.tunnel) == 1000
    assert "permission" in engine.log.wait("tunnel_refused", mark)["details"]["reason"]


@row("agents: error 5000")
def test_an_option_of_other_editions(engine):
    with pytest.raises(Refused) as refused:
        Agent(engine).tunnel(trusted_ips=["10.0.0.0/8"])
    assert refused.value.code == 5000
    assert "trusted_ips" in refused.value.text


@row("agents: error 2000 `Hostname is already in use.`")
def test_a_name_of_somebody_else(engine):
    first = Agent(engine, engine.token(sub="one"))
    first.tunnel(hostname="taken")
    with pytest.raises(Refused) as refused:
        Agent(engine, engine.token(sub="two")).tunnel(hostname="taken")
    assert (refused.value.code, refused.value.text) == (2000, "Hostname is already in use.")


@row("tunnels print a wrong port")
def test_a_port_that_is_forwarded(stopped):
    stopped.write_config(tls={"public_port": 443})
    process, _ = start(stopped)
    host, _, port = stopped.settings["tls"]["listen_addr"].rpartition(":")
    stopped.address = (host, int(port))
    assert Agent(stopped).tunnel().port.value == 443
    end(process)


# ---- Visitors


def problem(message):
    return message.status, message["x-weir-error"]


@row("visitors: 404")
def test_an_agent_that_is_offline(engine):
    demo = Site(engine, "offline")
    visitor = demo.visitor()
    demo.agent.close_channel()
    assert problem(demo.ask(visitor)) == (404, "unknown_host")


@row("visitors: 502, 504")
def test_a_service_that_is_not_there(engine):
    demo = Site(engine, "refuses")
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    demo.agent.refuse(demo.agent.next_stream())
    assert problem(http1.read_answer(visitor)) == (502, "agent_refused")


@row("visitors: 502, 504")
def test_a_service_that_does_not_answer(engine):
    demo = Site(engine, "silent")
    visitor = demo.visitor()
    visitor.send(http1.request(demo.host))
    demo.agent.next_stream()
    assert problem(http1.read_answer(visitor)) == (504, "agent_timeout")


@row("visitors: 421")
@pytest.mark.parametrize("host", ["example.com", "raw.t.edge.test"], ids=["foreign", "of a tls tunnel"])
def test_a_host_that_is_not_the_connections(engine, host):
    demo = Site(engine, "here")
    demo.agent.tunnel(protocol="tls", hostname="raw")
    visitor = demo.visitor()
    visitor.send(http1.request(host))
    assert problem(http1.read_answer(visitor)) == (421, "misdirected")
