# SPDX-License-Identifier: Apache-2.0
"""weir doctor (engine spec, section 11.4): every check that fails says what to change."""
import datetime
import json
import pathlib
import signal
import ssl
import time

import pytest

from lib.cli import Cli
from lib.engine import Engine, free_port
from lib.stub_http import StubHttp

ORDER = [
    "config", "context", "token", "control_plane_auth", "project", "engine_address", "dns", "tls",
    "quic_transport", "tunnel_transport", "engine_clients", "engine_tunnels", "clock", "version",
]
WEEK_S = 7 * 86400
SKIPPED = "an earlier check has to pass first"


@pytest.fixture
def cli(engine, tmp_path):
    return Cli(tmp_path, engine, exp=int(time.time()) + WEEK_S)


def examine(cli, *words, env=None, failing=()):
    """The checks by name; exactly those of `failing` fail."""
    done = cli.run("doctor", "-o", "json", *words, env=env)
    report = json.loads(done.stdout)
    assert [check["name"] for check in report["checks"]] == ORDER
    checks = {check["name"]: check for check in report["checks"]}
    assert {n for n, c in checks.items() if c["status"] == "fail"} == set(failing), checks
    assert done.returncode == (1 if failing else 0)
    for status in ("pass", "warn", "fail", "skip"):
        assert report["summary"][status] == sum(c["status"] == status for c in checks.values())
    return checks


def test_all_is_well(cli, engine):
    checks = examine(cli)
    assert {n for n, c in checks.items() if c["status"] == "skip"} == {
        "context", "control_plane_auth", "project", "quic_transport",
    }
    assert {c["status"] for c in checks.values()} == {"pass", "skip"}
    assert checks["tls"]["details"]["version"] == "TLSv1.3"
    assert checks["tls"]["details"]["alpn"] == "rstrm/1"
    assert checks["dns"]["details"]["addresses"] == ["127.0.0.1"]
    assert checks["token"]["details"]["permissions"] == "all"
    assert checks["engine_tunnels"]["details"]["count"] == 0
    assert "both are weir" in checks["version"]["message"]
    report = json.loads(cli.good("doctor", "--json"))
    assert report["engine"] == f"127.0.0.1:{engine.port}" and report["contextName"] == ""
    assert report["configPath"].endswith(".rstream/config.yaml") and report["generatedAt"].endswith("Z")


def test_the_table(cli, engine):
    text = cli.good("doctor")
    head, _, table = text.partition("\n\n")
    assert [line.split(":")[0] for line in head.splitlines()] == [
        "Version", "Config", "Context", "Project", "Engine", "Summary",
    ]
    lines = table.splitlines()
    assert lines[0].split() == ["CHECK", "STATUS", "MESSAGE"]
    assert [line.split()[0] for line in lines[1:]] == ORDER


def test_nothing_is_configured(tmp_path):
    checks = examine(Cli(tmp_path), failing=("token", "engine_address"))
    assert "--engine" in checks["engine_address"]["message"]
    assert "RSTREAM_AUTHENTICATION_TOKEN" in checks["token"]["message"]
    assert checks["dns"]["message"] == SKIPPED


def test_the_file(cli):
    cli.good("context", "create", "home", "--engine", "edge.test", "--token-stdin", stdin="secret.stored")
    cli.secrets.append("secret.stored")
    cli.config.chmod(0o644)
    checks = examine(cli, failing=("config",))
    assert "chmod 600" in checks["config"]["message"]
    cli.config.chmod(0o600)
    checks = examine(cli, "--context", "nowhere", failing=("context",))
    assert 'context "nowhere" not found' in checks["context"]["message"]
    cli.config.write_text("contexts: [{name: a, enigne: b}]\n")
    cli.config.chmod(0o600)
    checks = examine(cli, failing=("config",))
    assert "config.yaml:1:22" in checks["config"]["message"] and "did you mean engine?" in checks["config"]["message"]


def test_the_token(cli, engine):
    old = engine.token(exp=1000000000)
    cli.secrets.append(old)
    checks = examine(cli, env={"RSTREAM_AUTHENTICATION_TOKEN": old}, failing=("token",))
    assert "expired at 2001-09-09T01:46:40" in checks["token"]["message"]
    assert checks["tls"]["status"] == "pass" and checks["engine_clients"]["message"] == SKIPPED
    wrong = engine.token(secret="another secret that is long enough, too")
    cli.secrets.append(wrong)
    failing = ("tunnel_transport", "engine_clients", "engine_tunnels")
    checks = examine(cli, env={"RSTREAM_AUTHENTICATION_TOKEN": wrong}, failing=failing)
    assert "refuses (1000)" in checks["tunnel_transport"]["message"]
    assert "weir token engine" in checks["engine_clients"]["message"]
    few = engine.token(permissions=["tunnels.resources.read-only"], exp=int(time.time()) + WEEK_S)
    checks = examine(cli, env={"RSTREAM_AUTHENTICATION_TOKEN": few})
    assert checks["token"]["status"] == "warn" and "create-delete" in checks["token"]["message"]
    soon = examine(cli, env={"RSTREAM_AUTHENTICATION_TOKEN": engine.token()})["token"]
    assert soon["status"] == "warn" and "within a day" in soon["message"]
    few = engine.token(permissions=["tunnels.tunnels.create-delete"])
    checks = examine(
        cli, env={"RSTREAM_AUTHENTICATION_TOKEN": few}, failing=("engine_clients", "engine_tunnels")
    )
    assert "read-only" in checks["engine_clients"]["message"]
    checks = examine(cli, env={"RSTREAM_AUTHENTICATION_TOKEN": "opaque"}, failing=failing)
    assert checks["token"]["status"] == "warn" and "no JWT" in checks["token"]["message"]


def test_the_address(cli):
    checks = examine(cli, "--engine", "https://edge.test/", failing=("engine_address",))
    assert "without a scheme" in checks["engine_address"]["message"]
    checks = examine(cli, "--engine", "no-such-host.invalid", failing=("dns",))
    assert "A or AAAA record" in checks["dns"]["message"]
    checks = examine(cli, "--engine", f"127.0.0.1:{free_port()}", failing=("tls",))
    assert "is the engine running" in checks["tls"]["message"]


def test_trust(cli, engine, tmp_path):
    checks = examine(cli, env={"WEIR_ENGINE_CA_FILE": None}, failing=("tls",))
    assert "not trusted" in checks["tls"]["message"] and "--engine-tls-ca-file" in checks["tls"]["message"]
    assert checks["tunnel_transport"]["message"] == SKIPPED, "no token to whom is not trusted"
    assert checks["engine_clients"]["message"] == SKIPPED
    checks = examine(cli, "--engine-tls-server-name", "other.test", failing=("tls",))
    assert "edge.test" in checks["tls"]["message"] and "not for other.test" in checks["tls"]["message"]
    checks = examine(
        cli, "--engine-tls-insecure-skip-verify", env={"WEIR_ENGINE_CA_FILE": None}
    )
    assert checks["tls"]["status"] == "warn" and checks["engine_tunnels"]["status"] == "pass"
    (tmp_path / "none.pem").write_text("nothing")
    checks = examine(cli, "--ca", str(tmp_path / "none.pem"), failing=("tls",))
    assert "none.pem cannot be read" in checks["tls"]["message"]


def test_an_expired_certificate(authority, tmp_path):
    (tmp_path / "engine").mkdir()
    files = {"cert_file": str(tmp_path / "engine.crt"), "key_file": str(tmp_path / "engine.key")}
    now = datetime.datetime.utcnow()

    def issue(days):
        end = now + datetime.timedelta(days=days)
        issued = authority.issue("edge.test", "doctors", hosts=["edge.test"], not_after=end)
        for source, place in zip(issued, files.values()):
            pathlib.Path(place).write_bytes(source.read_bytes())

    issue(3)
    engine = Engine(authority, tmp_path / "engine", {"certs": {"static": files}})
    cli = Cli(tmp_path / "home", engine, exp=int(time.time()) + WEEK_S)
    checks = examine(cli)
    assert checks["tls"]["status"] == "warn" and "expires at" in checks["tls"]["message"]
    issue(-1)
    mark = engine.log.mark()
    engine.signal(signal.SIGHUP)
    engine.log.wait("tls_reloaded", since=mark)
    checks = examine(cli, failing=("tls",))
    assert "expired at" in checks["tls"]["message"] and "renew it" in checks["tls"]["message"]
    engine.stop()


def test_something_else_answers(cli):
    plain = StubHttp(lambda _: (200, {}, b"hello"))
    checks = examine(cli, "--engine", f"127.0.0.1:{plain.port}", failing=("tls",))
    assert "does not speak TLS" in checks["tls"]["message"]
    plain.stop()


def test_a_tls_server_without_our_protocol(cli, engine, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("edge.test", "other", hosts=["edge.test"]))
    web = StubHttp(lambda _: (200, {}, b"hello"), context)
    checks = examine(cli, "--engine", f"127.0.0.1:{web.port}", failing=("tls",))
    assert "ALPN rstrm/1" in checks["tls"]["message"] and "is it an engine" in checks["tls"]["message"]
    web.stop()
