# SPDX-License-Identifier: Apache-2.0
"""The engine's configuration: file, variables, mistakes, reload, and the commands around it
(spec 2, 3.4, 7.2)."""
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import time

import pytest

from lib import engine as engines
from lib import weir
from lib.wait import eventually

SECRET = "a-secret-of-more-than-thirty-two-bytes"
HOST = "edge.example.com"

# The sample of the reference's documentation: nothing of ours in it.
SAMPLE = """\
engine:
  host: {host}
  log_level: info
http:
  enabled: true
  listen_addr: "[::]:8080"
tls:
  enabled: true
  listen_addr: "[::]:8443"
certs:
  static:
    enabled: true
    cert_file: {cert}
    key_file: {key}
auth:
  jwt:
    enabled: true
    token_jwt_secret: {secret}
metrics:
  prometheus:
    enabled: true
    listen_addr: 127.0.0.1:9090
    path: metrics
timeouts:
  stream_request_seconds: 30
  http_idle_seconds: 90
"""


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue(HOST, stem="config", hosts=[HOST, f"*.t.{HOST}"])


class File:
    def __init__(self, path, pair):
        self.path = path
        self.text = SAMPLE.format(host=HOST, cert=pair[0], key=pair[1], secret=SECRET)
        self.write()

    def write(self):
        self.path.write_text(self.text)
        self.path.chmod(0o600)

    def replace(self, old, new):
        assert self.text.count(old) == 1, old
        self.text = self.text.replace(old, new)
        self.write()

    def check(self, **env):
        """Exit code and the lines of `weir config check engine`, without the file's name."""
        result = weir.run("config", "check", "engine", "-c", str(self.path), env=env)
        lines = [line.replace(f"{self.path}", "F") for line in result.stderr.splitlines()]
        assert result.stdout == ("engine: fine\n" if result.returncode == 0 else "")
        return result.returncode, lines

    def values(self, **env):
        """What is in effect, {path: text}, of `weir config print engine`."""
        result = weir.run("config", "print", "engine", "-c", str(self.path), env=env)
        values, sections = {}, []
        for line in result.stdout.splitlines():
            depth = (len(line) - len(line.lstrip())) // 2
            key, _, value = line.strip().partition(":")
            sections = [*sections[:depth], key]
            if value:
                values[".".join(sections)] = value.strip().removesuffix(" # default")
        return values


@pytest.fixture
def file(tmp_path, pair):
    return File(tmp_path / "engine.yml", pair)


def test_the_references_file_is_taken_as_it_is(file):
    assert file.check() == (0, [])
    values = file.values()
    assert values["engine.host"] == f'"{HOST}"'
    assert values["http.enabled"] == "true"
    assert values["tls.listen_addr"] == '"[::]:8443"'
    assert values["metrics.prometheus.path"] == '"/metrics"'
    assert values["auth.jwt.token_jwt_secret"] == '"(hidden)"'


def test_defaults(tmp_path, pair):
    variables = {
        "ENGINE__HOST": HOST,
        "TLS__ENABLED": "TRUE",
        "CERTS__STATIC__ENABLED": "1",
        "CERTS__STATIC__CERT_FILE": str(pair[0]),
        "CERTS__STATIC__KEY_FILE": str(pair[1]),
        "AUTH__JWT__ENABLED": "true",
        "AUTH__JWT__TOKEN_JWT_SECRET": SECRET,
    }
    env = {f"RSTREAM_ENGINE_{name}": value for name, value in variables.items()}
    result = weir.run("config", "check", "engine", env=env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "engine: fine\n", "")
    empty = tmp_path / "empty.yml"
    empty.write_text("# nothing\n")
    values = File.values(type("Empty", (), {"path": empty})(), **env)
    for key, value in {
        "engine.log_level": "info",
        "http.enabled": "false",
        "http.listen_addr": '"[::]:80"',
        "http.upstream_keepalive": "false",
        "tls.listen_addr": '"[::]:443"',
        "tls.public_port": "0",
        "metrics.prometheus.enabled": "false",
        "metrics.prometheus.listen_addr": "null",
        "metrics.prometheus.path": '"/metrics"',
        "metrics.prometheus.bearer_token": "null",
        "metrics.tunnel_labels": "0",
        "timeouts.stream_request_seconds": "30",
        "timeouts.http_idle_seconds": "90",
        "takeover": "same-identity",
        "workers": "0",
        "limits.tunnels_per_channel": "100",
        "limits.outstanding_streams_per_channel": "256",
        "extensions.enabled": "false",
        "extensions.tcp_ports": "null",
    }.items():
        assert values[key] == value, key


# What is written instead of what, and how the lines about it begin. F is the file.
REFUSED = [
    # Missing or empty.
    (f"host: {HOST}", "host: ''", ["F:2:9: engine.host: is empty"]),
    (f"  host: {HOST}\n", "", ["F: engine.host: is required"]),
    (f"token_jwt_secret: {SECRET}", "token_jwt_secret:", ["F: auth.jwt.token_jwt_secret: is required"]),
    ("tls:\n  enabled: true\n", "tls:\n", ["F: tls.enabled: is required"]),
    # Must be true.
    ("tls:\n  enabled: true", "tls:\n  enabled: false", ["F:8:12: tls.enabled: must be true"]),
    ("static:\n    enabled: true", "static:\n    enabled: no",
     ["F:12:14: certs.static.enabled: must be true"]),
    ("jwt:\n    enabled: true", "jwt:\n    enabled: 0",
     ["F:17:14: auth.jwt.enabled: must be true"]),
    # The host.
    *[(f"host: {HOST}", f'host: "{host}"', ["F:2:9: engine.host: "])
      for host in (f"https://{HOST}", f"{HOST}:443", f"{HOST}/x", "a b", "192.0.2.1", "[::1]",
                   "a..b", "-a.example", "a_b.example", f"{'a' * 64}.example")],
    # Words, numbers, addresses, ports.
    ("log_level: info", "log_level: loud",
     ['F:3:14: engine.log_level: "loud" is not usable; allowed: debug, info, warn, error']),
    ("log_level: info", "log_level: [info]", ["F:3:14: engine.log_level: a list is not usable"]),
    *[('"[::]:8443"', f'"{address}"', ["F:9:16: tls.listen_addr: "])
      for address in ("8443", "[::]:0", "[::]:65536", "[::]:70000", "[::]:x", "::1:443",
                      "example.com:443", "https://[::]:443", "[::]")],
    ("127.0.0.1:9090", "'127.0.0.1:0'", ["F:22:18: metrics.prometheus.listen_addr: "]),
    ("http_idle_seconds: 90", "http_idle_seconds: 1.5", ["F:26:22: timeouts.http_idle_seconds: "]),
    ("http_idle_seconds: 90", "http_idle_seconds: -1", ["F:26:22: timeouts.http_idle_seconds: "]),
    ("http_idle_seconds: 90", "http_idle_seconds: 0", ["F:26:22: timeouts.http_idle_seconds: "]),
    # Metrics.
    ("    listen_addr: 127.0.0.1:9090\n", "",
     ["F: metrics.prometheus.listen_addr: is required while metrics.prometheus.enabled is true"]),
    *[("listen_addr: 127.0.0.1:9090", f'listen_addr: "{address}"',
       ["F: metrics.prometheus.bearer_token: is required while"])
      for address in (":9090", "0.0.0.0:9090", "[::]:9090", "192.0.2.1:9090", "[2001:db8::1]:9090")],
    ("path: metrics", "path: 'a b'", ["F:23:11: metrics.prometheus.path: "]),
    ("127.0.0.1:9090", "'[::]:8443'",
     ["F: metrics.prometheus.bearer_token: ",
      "F:22:18: metrics.prometheus.listen_addr: is the address of another"]),
    # What is not known.
    ("log_level: info", "log_levle: info",
     ['F:3:3: engine.log_levle: there is no such key; is "log_level" meant?']),
    ("timeouts:", "timeout:", ['F:24:1: timeout: there is no such key; is "timeouts" meant?']),
    ("timeouts:", "nonsense: 1\ntimeouts:", ["F:24:1: nonsense: there is no such key"]),
    ("timeouts:\n  stream_request_seconds: 30\n  http_idle_seconds: 90", "timeouts: 30",
     ["F:24:11: timeouts: a number is not usable; allowed: a map"]),
    # Our own keys.
    ("timeouts:", "pages: {not_found: /nowhere/404.html}\ntimeouts:",
     ['F:24:20: pages.not_found: "/nowhere/404.html" does not exist']),
    ("timeouts:", "takeover: always\ntimeouts:", ["F:24:11: takeover: "]),
    ("timeouts:", "limits: {tunnels_per_channel: 0}\ntimeouts:",
     ["F:24:31: limits.tunnels_per_channel: "]),
    ("timeouts:", "extensions: {enabled: true, tcp_ports: 9-8}\ntimeouts:",
     ["F:24:40: extensions.tcp_ports: "]),
    ("timeouts:", "extensions: {enabled: true, certs: x}\ntimeouts:",
     ["F:24:36: extensions.certs: allowed: a list"]),
    ("timeouts:", "extensions: {enabled: true, certs: [{cert_file: /nowhere.crt, keyfile: k}]}\ntimeouts:",
     ['F:24:63: extensions.certs[0].keyfile: there is no such key; is "key_file" meant?',
      "F: extensions.certs[0].key_file: is required"]),
    ("  listen_addr: \"[::]:8443\"", "  listen_addr: \"[::]:8443\"\n  proxy_protocol: true",
     ["F: tls.proxy_networks: is required while tls.proxy_protocol is true"]),
    # YAML.
    ("engine:", "engine: {}\nengine:", ["F:2:1: engine: the key is there twice; the first is in line 1",
                                        "F: engine.host: is required"]),
    ("  log_level", "\tlog_level", ["F:3:1: a tab stands here"]),
    ("timeouts:", "---\ntimeouts:", ["F:24:1: a second document"]),
    ("log_level: info", "log_level: !level info", ['F:3:14: the tag "!level" is not known']),
]


@pytest.mark.parametrize("old, new, expected", REFUSED, ids=[f"{i}-{row[1][:40]}" for i, row in enumerate(REFUSED)])
def test_a_mistake_is_named_with_its_place(file, old, new, expected):
    file.replace(old, new)
    code, lines = file.check()
    assert code == 78
    assert len(lines) == len(expected), lines
    for line, start in zip(lines, expected):
        assert line.startswith(start), line


def test_all_mistakes_at_once_and_the_engine_does_not_start(file):
    file.replace(f"host: {HOST}", "host: https://x")
    file.replace("log_level: info", "log_level: loud")
    file.replace("http_idle_seconds: 90", "http_idle_secs: 90")
    file.replace(SECRET, "''")
    result = weir.run("engine", "-c", str(file.path), env={"RSTREAM_ENGINE_TLS__LISTN_ADDR": "x"})
    assert result.returncode == 78
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 5, lines
    for word in ("engine.host", "engine.log_level", "timeouts.http_idle_secs", "token_jwt_secret",
                 "RSTREAM_ENGINE_TLS__LISTN_ADDR: there is no such variable; is "
                 "RSTREAM_ENGINE_TLS__LISTEN_ADDR meant?"):
        assert sum(word in line for line in lines) == 1, (word, lines)


@pytest.mark.parametrize("address", ["127.0.0.1:9090", "127.9.9.9:9090", "[::1]:9090", "localhost:9090"])
def test_metrics_on_loopback_need_no_token(file, address):
    file.replace("listen_addr: 127.0.0.1:9090", f'listen_addr: "{address}"')
    assert file.check() == (0, [])


def test_metrics_elsewhere_with_a_token(file):
    file.replace("127.0.0.1:9090", "0.0.0.0:9090")
    assert file.check(RSTREAM_ENGINE_METRICS__PROMETHEUS__BEARER_TOKEN="t") == (0, [])
    # An empty variable sets it to nothing.
    file.replace("    path: metrics", "    bearer_token: t")
    assert file.check() == (0, [])
    code, lines = file.check(RSTREAM_ENGINE_METRICS__PROMETHEUS__BEARER_TOKEN="")
    assert code == 78 and "BEARER_TOKEN: is required" in lines[0]


# ---- Certificates


def test_certificates_that_cannot_be_used(file, pair, authority, tmp_path):
    other_cert, other_key = authority.issue("other", stem="other", hosts=[HOST, f"*.t.{HOST}"])
    text = file.text
    rows = [
        (str(pair[0]), "/nowhere/x.crt", "certs.static.cert_file: \"/nowhere/x.crt\" cannot be read"),
        (str(pair[1]), "/nowhere/x.key", "certs.static.key_file: \"/nowhere/x.key\" cannot be read"),
        (str(pair[1]), str(other_key), "certs.static.key_file: the key in"),
        (str(pair[0]), str(other_cert), "certs.static.key_file: the key in"),
        (str(pair[0]), str(pair[1]), "holds no certificate in PEM form"),
        (str(pair[1]), str(pair[0]), "holds no private key in PEM form"),
        (str(pair[0]), str(tmp_path), "cannot be read"),
    ]
    for old, new, expected in rows:
        file.text = text
        file.replace(old, new)
        code, lines = file.check()
        assert code == 78 and len(lines) == 1 and expected in lines[0], lines
        assert re.match(r"F:1[34]:\d+: certs\.static\.", lines[0])


def test_a_key_with_a_passphrase_asks_nothing(file, pair, tmp_path):
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", str(pair[1]), "-aes256", "-passout", "pass:x", "-out", str(locked)],
        check=True,
    )
    file.replace(str(pair[1]), str(locked))
    code, lines = file.check()
    assert code == 78 and "one with a passphrase" in lines[0]


def test_a_certificate_for_other_names_is_a_warning(file, authority):
    rows = [([HOST], ["not for *.t."]), ([f"*.t.{HOST}"], [f"not for {HOST}"]),
            ([HOST, f"*.{HOST}"], ["not for *.t."]),
            ([HOST, f"x.t.{HOST}"], ["not for *.t."]),
            (["elsewhere.example"], [f"not for {HOST}", "not for *.t."])]
    text = file.text
    for number, (hosts, expected) in enumerate(rows):
        cert, key = authority.issue("x", stem=f"warn{number}", hosts=hosts)
        file.text = re.sub(r"cert_file: .*", f"cert_file: {cert}", text)
        file.text = re.sub(r"key_file: .*", f"key_file: {key}", file.text)
        file.write()
        code, lines = file.check()
        assert code == 0 and len(lines) == len(expected), lines
        for line, part in zip(lines, expected):
            assert part in line


def test_further_certificates_may_have_the_names(file, authority):
    cert, key = authority.issue("x", stem="only-host", hosts=[HOST])
    zone_cert, zone_key = authority.issue("x", stem="only-zone", hosts=[f"*.t.{HOST}"])
    file.text = re.sub(r"cert_file: .*", f"cert_file: {cert}", file.text)
    file.text = re.sub(r"key_file: .*", f"key_file: {key}", file.text)
    certs = f"certs: [{{cert_file: {zone_cert}, key_file: {zone_key}}}]"
    file.replace("timeouts:", f"extensions: {{enabled: true, {certs}}}\ntimeouts:")
    assert file.check() == (0, [])
    file.replace("enabled: true, certs", "enabled: false, certs")
    code, lines = file.check()
    assert code == 0 and any("not for *.t." in line for line in lines)


def test_warnings(file, pair):
    rows = [
        (SECRET, "short", "the secret has 5 bytes"),
        ("timeouts:", "extensions: {trusted_ips: true}\ntimeouts:", "does nothing while extensions.enabled"),
        ("timeouts:", f"extensions: {{certs: [{{cert_file: {pair[0]}, key_file: {pair[1]}}}]}}\ntimeouts:",
         "does nothing while extensions.enabled"),
        ('"[::]:8443"', '"[::]:8443"\n  proxy_networks: [10.0.0.0/8]', "does nothing while tls.proxy_protocol"),
        ("http:\n  enabled: true", f"http:\n  acme_challenge_dir: {file.path.parent}\n  enabled: false",
         "does nothing while http.enabled"),
    ]
    text = file.text
    for old, new, expected in rows:
        file.text = text
        file.replace(old, new)
        code, lines = file.check()
        assert code == 0 and len(lines) == 1 and expected in lines[0], lines
    file.text = text
    file.write()
    file.path.chmod(0o644)
    code, lines = file.check()
    assert code == 0 and "every user of this machine can read" in lines[0]
    # With the secret elsewhere the file may be public.
    file.replace(f"    token_jwt_secret: {SECRET}\n", "")
    file.path.chmod(0o644)
    assert file.check(RSTREAM_ENGINE_AUTH__JWT__TOKEN_JWT_SECRET=SECRET) == (0, [])


# ---- Where values come from


def test_variables_win_over_the_file(file):
    values = file.values(
        RSTREAM_ENGINE_ENGINE__HOST="Other.Example.",
        RSTREAM_ENGINE_TLS__LISTEN_ADDR="127.0.0.1:1",
        RSTREAM_ENGINE_HTTP__ENABLED="0",
        RSTREAM_ENGINE_TIMEOUTS__HTTP_IDLE_SECONDS="7",
        RSTREAM_ENGINE_METRICS__PROMETHEUS__PATH="/m",
        RSTREAM_ENGINE_HTTP__TRUSTED_PROXIES="10.0.0.0/8, ::1",
        RSTREAM_ENGINE_TAKEOVER="never",
        WEIR_WORKERS="3",
    )
    assert values["engine.host"] == '"other.example"'
    assert values["tls.listen_addr"] == '"127.0.0.1:1"'
    assert values["http.enabled"] == "false"
    assert values["timeouts.http_idle_seconds"] == "7"
    assert values["metrics.prometheus.path"] == '"/m"'
    assert values["http.trusted_proxies"] == '["10.0.0.0/8", "::1/128"]'
    assert values["takeover"] == "never"
    assert values["workers"] == "3"
    assert file.values(RSTREAM_ENGINE_WORKERS="2", WEIR_WORKERS="3")["workers"] == "2"


def test_a_wrong_variable_is_named_by_itself(file):
    code, lines = file.check(RSTREAM_ENGINE_TIMEOUTS__HTTP_IDLE_SECONDS="soon")
    assert code == 78
    assert lines[0].startswith('RSTREAM_ENGINE_TIMEOUTS__HTTP_IDLE_SECONDS: "soon" is not usable')


def test_variables_of_others_are_ignored(file):
    assert file.check(RSTREAM_ENGINE="edge.other:443", RSTREAM_ENGINE_ADDRESS="x",
                      RSTREAM_ENGINE_TIMEOUTS__HTTP_IDLE_SECONDS="") == (0, [])


def test_the_variable_that_names_the_file(file, tmp_path):
    env = {"RSTREAM_ENGINE_CONFIG": str(file.path)}
    assert weir.run("config", "check", "engine", env=env).returncode == 0
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("nonsense: 1\n")
    env = {"RSTREAM_ENGINE_CONFIG": str(wrong)}
    assert weir.run("config", "check", "engine", env=env).returncode == 78
    # The flag wins.
    assert weir.run("config", "check", "engine", "--config", str(file.path), env=env).returncode == 0


def test_a_file_that_is_not_there(tmp_path):
    result = weir.run("engine", "-c", str(tmp_path / "none.yml"))
    assert result.returncode == 78
    assert result.stderr == f"{tmp_path}/none.yml: cannot be read: not found\n"


def test_secrets_are_not_printed(file):
    file.replace(SECRET, '"tell\\tnobody-of-this-secret-please-32"')
    for command in ("check", "print"):
        result = weir.run("config", command, "engine", "-c", str(file.path))
        assert "nobody" not in result.stdout + result.stderr
    assert "(not shown)" in result.stderr


def test_the_manual_names_every_key_that_is_printed(file):
    manual = weir.run("config", "reference", "engine").stdout
    committed = (weir.ROOT / "docs/reference/engine-configuration.md").read_text()
    assert manual == committed
    usage = weir.run("engine", "--help").stdout
    for key in file.values():
        assert f"\n  {key} " in usage, key
        assert f"| `{key}` | `RSTREAM_ENGINE_{key.upper().replace('.', '__')}`" in manual, key


# ---- A running engine


def test_it_runs_from_variables_over_a_file_and_reloads(authority, tmp_path):
    running = engines.Engine(
        authority, tmp_path, env={"RSTREAM_ENGINE_ENGINE__LOG_LEVEL": "info"}
    )
    try:
        answer = running.curl(running.host, "/api/openapi.json")
        assert json.loads(answer.stdout)["info"]["title"]

        mark = running.log.mark()
        running.write_config(workers=7, timeouts={"http_idle_seconds": 80})
        running.signal(signal.SIGHUP)
        line = running.log.wait("config_changed", mark)
        assert line["details"] == {"keys": "timeouts.http_idle_seconds"}
        assert running.log.wait("config_wants_restart", mark)["details"] == {"keys": "workers"}

        # What is wrong changes nothing, not even what is right beside it.
        mark = running.log.mark()
        running.write_config(timeouts={"http_idle_seconds": 70}, limits={"tunels": 5})
        running.signal(signal.SIGHUP)
        refused = running.log.wait("config_refused", mark)["details"]["problem"]
        assert 'limits.tunels: there is no such key; is "tunnels" meant?' in refused
        running.log.wait("reload", mark)
        assert not running.log.all("config_changed", mark)

        # And again right: against what is in effect, not against the file before.
        mark = running.log.mark()
        running.settings["limits"] = {"tunnels": 5}
        running.write_config()
        running.signal(signal.SIGHUP)
        line = running.log.wait("config_changed", mark)
        assert line["details"] == {"keys": "timeouts.http_idle_seconds, limits.tunnels"}
    finally:
        running.stop()


def test_a_reload_of_the_secret_makes_old_tokens_worthless(authority, tmp_path):
    running = engines.Engine(authority, tmp_path)
    try:
        token = running.token()
        fields = ("-H", f"Authorization: Bearer {token}", "-o", "/dev/null", "-w", "%{http_code}")
        assert running.curl(running.host, "/api/tunnels", *fields).stdout == b"200"
        running.write_config(auth={"jwt": {"token_jwt_secret": SECRET}})
        running.signal(signal.SIGHUP)
        running.log.wait("config_changed", keys="auth.jwt.token_jwt_secret")
        eventually(
            lambda: running.curl(running.host, "/api/tunnels", *fields).stdout == b"401",
            "the old token is refused",
        )
    finally:
        running.stop()


def test_log_level_error_is_quiet_after_the_start(authority, tmp_path):
    running = engines.Engine(authority, tmp_path, {"engine": {"log_level": "error"}})
    running.signal(signal.SIGHUP)
    assert running.curl(running.host, "/").returncode == 0
    running.stop()
    assert [line["event"] for line in running.log.lines][-1] == "engine_started"


# ---- The program's other name, and tokens


@pytest.fixture
def program(tmp_path):
    link = tmp_path / "rstream-engine-ce"
    link.symlink_to(weir.binary())

    def run(*args, env=None):
        return subprocess.run(
            [str(link), *args],
            env={**weir.base_environment(), **(env or {})},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    return run


def claims_of(token, secret=SECRET):
    head, body, mac = token.strip().split(".")
    expected = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(mac + "=" * (-len(mac) % 4)) == expected
    assert json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))) == {
        "alg": "HS256",
        "typ": "JWT",
    }
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def test_the_reference_programs_command_line(program, file):
    assert program("--version").stdout.strip() == weir.run("--version").stdout.strip()
    assert program("version").returncode == 0
    result = program("check", "--config", str(file.path))
    assert (result.returncode, result.stdout) == (0, "engine: fine\n")
    assert program("check", "-c", str(file.path)).returncode == 0
    assert program("check", env={"RSTREAM_ENGINE_CONFIG": str(file.path)}).returncode == 0
    assert program("check", "extra").returncode == 64
    assert program("nonsense").returncode == 64
    assert program("--nonsense").returncode == 64
    file.replace("log_level: info", "log_level: loud")
    for args in (("check", "-c", str(file.path)), ("--config", str(file.path)), ("-c", str(file.path))):
        result = program(*args)
        assert result.returncode == 78 and "engine.log_level" in result.stderr
    text = program("--help").stdout
    assert "-c, --config FILE" in text


def test_tokens(program, file):
    now = int(time.time())
    claims = claims_of(program("token", "create", "-c", str(file.path)).stdout)
    assert set(claims) == {"iat", "exp"}
    assert abs(claims["iat"] - now) <= 5 and claims["exp"] - claims["iat"] == 720 * 3600

    scope = {"tunnels": {"scopes": {"tunnels": {"create": {"filters": {"name": "x"}}}}}}
    result = weir.run(
        "token", "engine", "-c", str(file.path), "--ttl", "1h30m", "--subject", "ann",
        "--permissions", "tunnels.resources.read-only,tunnels.streams.create-delete",
        "--resource", json.dumps(scope),
    )
    claims = claims_of(result.stdout)
    assert claims["exp"] - claims["iat"] == 5400
    assert claims["sub"] == "ann"
    assert claims["permissions"] == ["tunnels.resources.read-only", "tunnels.streams.create-delete"]
    assert claims["resources"] == scope

    result = program("token", "create", "--ttl", "never",
                     env={"RSTREAM_ENGINE_AUTH__JWT__TOKEN_JWT_SECRET": "another"})
    assert set(claims_of(result.stdout, "another")) == {"iat"}


@pytest.mark.parametrize("args, code, word", [
    (["--ttl", "soon"], 64, "--ttl"),
    (["--ttl", "0"], 64, "--ttl"),
    (["--ttl", "10ms"], 64, "--ttl"),
    (["--permissions", "all"], 65, "--permissions"),
    (["--resource", "{"], 65, "--resource"),
    (["x"], 64, "options only"),
    (["--nonsense"], 64, "--nonsense"),
])
def test_tokens_that_are_not_minted(file, args, code, word):
    result = weir.run("token", "engine", "-c", str(file.path), *args)
    assert (result.returncode, result.stdout) == (code, "")
    assert word in result.stderr


def test_no_token_without_a_secret():
    result = weir.run("token", "engine")
    assert result.returncode == 78 and "auth.jwt.token_jwt_secret" in result.stderr


@pytest.mark.parametrize("args, word", [(["--workers", "x"], "--workers"), (["--workers", "257"], "--workers"),
                                        (["--listen", "443"], "--listen"), (["extra"], "extra")])
def test_words_that_are_not_understood(file, args, word):
    result = weir.run("engine", "-c", str(file.path), *args)
    assert result.returncode == 64 and word in result.stderr


def test_an_address_that_is_taken_ends_the_start(file):
    """The second engine's metrics listener: listeners of the TLS port may stand side by side."""
    file.replace("127.0.0.1:9090", f"192.0.2.1:{engines.free_port()}")
    file.replace("    path: metrics", "    bearer_token: t")
    result = weir.run("engine", "-c", str(file.path), "--listen", "127.0.0.1:0",
                      env={"RSTREAM_ENGINE_HTTP__ENABLED": "false"})
    assert result.returncode not in (0, 99)
    assert "192.0.2.1" in result.stderr
    assert os.path.exists(file.path)


def test_the_example_file(tmp_path, pair):
    """As it is shipped, but for the certificate's place and the secret in its variable."""
    example = (weir.ROOT / "packaging/examples/engine.yml").read_text()
    copy = tmp_path / "engine.yml"
    copy.write_text(
        example.replace("/etc/weir/engine.crt", str(pair[0])).replace(
            "/etc/weir/engine.key", str(pair[1])
        )
    )
    env = {"RSTREAM_ENGINE_AUTH__JWT__TOKEN_JWT_SECRET": SECRET}
    result = weir.run("config", "check", "engine", "-c", str(copy), env=env)
    assert (result.returncode, result.stderr) == (0, "")
    # What it shows commented out is right, too: keys, in comments that hold nothing else.
    shown = re.sub(r"^(\s*)# (\s*[a-z_]+:( [^ ].*)?)$", r"\1\2", copy.read_text(), flags=re.M)
    shown = shown.replace("token_jwt_secret:\n", f"token_jwt_secret: {SECRET}\n")
    shown = shown.replace("/var/lib/acme/challenges", str(tmp_path))
    copy.write_text(shown)
    copy.chmod(0o600)
    result = weir.run("config", "print", "engine", "-c", str(copy))
    assert (result.returncode, result.stderr) == (0, "")
    for line in ("proxy_protocol: true", "public_port: 443", 'tcp_ports: "20000-20100"',
                 "control_channels: 10000\n", "trusted_ips: true"):
        assert line in result.stdout, line
