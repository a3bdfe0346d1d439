# SPDX-License-Identifier: Apache-2.0
"""Configuration by environment: what is refused, and with which line (spec 2)."""
import re

import pytest

from lib import weir

VARIABLES = """
RELAY_LISTEN_HOST HOST RELAY_LISTEN_PORT PORT SERVER_URL RELAY_VALIDATE_URL RELAY_JWKS_URL
RELAY_BACKPLANE_URL RELAY_BACKPLANE_MODE RELAY_INTERNAL_KEY RELAY_ADMIN_TOKEN
RELAY_ENABLE_ADMIN_HTTP RELAY_MAX_LOGS MAX_LOGS RELAY_MODE RELAY_ID RELAY_PUBLIC_WS_BASE_URL
RELAY_TLS RELAY_TLS_TERMINATION RELAY_TLS_HOST RELAY_TLS_CERT_DIR RELAY_TLS_CERT_PATH
RELAY_TLS_KEY_PATH RELAY_HEALTH_VERBOSE RELAY_STATE_INCLUDE_CLIENT_IDS
RELAY_ADMISSION_TIMEOUT_MS RELAY_ADMISSION_MAX_RESPONSE_BYTES RELAY_INTERNAL_API_TIMEOUT_MS
RELAY_INTERNAL_API_MAX_RESPONSE_BYTES RELAY_SERVER_TLS_VERIFY RELAY_SERVER_AUTH_MODE
RELAY_SERVER_CA_CERT_PATH RELAY_SERVER_MTLS RELAY_SERVER_CLIENT_CERT_PATH
RELAY_SERVER_CLIENT_KEY_PATH RELAY_SERVER_CLIENT_KEY_PASSPHRASE RELAY_MAX_TOTAL_CONNECTIONS
RELAY_MAX_CONNECTIONS_PER_IP RELAY_MAX_CLIENTS_PER_WORKSPACE RELAY_MAX_FRAME_BYTES
RELAY_MAX_PENDING_BYTES RELAY_UPGRADE_RATE_PER_MINUTE RELAY_UPGRADE_BUCKET_MAX
RELAY_KEX_INIT_RATE_PER_MINUTE RELAY_KEX_RATE_LIMITER_MAX_KEYS RELAY_PAIRING_RATE_PER_MINUTE
RELAY_PAIRING_RATE_LIMITER_MAX_KEYS RELAY_RUNTIME_RATE_PER_MINUTE
RELAY_RUNTIME_RATE_LIMITER_MAX_KEYS RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE
RELAY_RUNTIME_WORKSPACE_RATE_LIMITER_MAX_KEYS RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE
RELAY_DAEMON_RATE_LIMITER_MAX_KEYS RELAY_PAIRING_REQUEST_TRACK_MAX RELAY_SESSION_OWNER_TRACK_MAX
RELAY_PING_INTERVAL_MS RELAY_PONG_TIMEOUT_MS RELAY_IDLE_TIMEOUT_MS RELAY_EMPTY_WORKSPACE_TTL_MS
RELAY_CLEANUP_INTERVAL_MS RELAY_PRESENCE_SYNC_ENABLED RELAY_PRESENCE_SYNC_INTERVAL_MS
RELAY_PRESENCE_RESOLVE_CACHE_MAX RELAY_BUS_ENABLED RELAY_BUS_HMAC_KEY RELAY_BUS_POLL_INTERVAL_MS
RELAY_BUS_PULL_LIMIT RELAY_BUS_PULL_WAIT_MS RELAY_BUS_SIGNATURE_MAX_SKEW_MS
RELAY_BUS_FRESHNESS_TRACK_MAX RELAY_REDIS_URL RELAY_REDIS_KEY_PREFIX
RELAY_REDIS_CONNECT_TIMEOUT_MS RELAY_REDIS_PRESENCE_TTL_MS RELAY_REDIS_QUEUE_MAX
RELAY_CLIENT_REDIRECT_ENABLED RELAY_REDIRECT_ALLOWED_HOSTS RELAY_TRUSTED_PROXIES RELAY_COMPAT
RELAY_RATE_LIMIT_ACTION RELAY_PROXY_PROTOCOL
""".split()

# variable, value, a part of what the line says is allowed
WRONG = [
    ("RELAY_LISTEN_PORT", "abc", "65535"),
    ("RELAY_LISTEN_PORT", "99999", "65535"),
    ("RELAY_LISTEN_PORT", "-1", "65535"),
    ("RELAY_LISTEN_PORT", "1.5", "65535"),
    ("RELAY_LISTEN_PORT", "80 80", "65535"),
    ("PORT", "x", "65535"),
    ("RELAY_LISTEN_HOST", "not a host", "localhost"),
    ("RELAY_MODE", "production", "prod"),
    ("RELAY_TLS", "maybe", "auto"),
    ("RELAY_TLS_TERMINATION", "nginx", "platform"),
    ("RELAY_BACKPLANE_MODE", "mesh", "single"),
    ("RELAY_ID", "r" * 256, "255"),
    ("RELAY_CLIENT_REDIRECT_STYLE", "302", "http"),
    ("RELAY_REDIS_CA_CERT_PATH", "/nonexistent/redis.crt", "PEM"),
    ("RELAY_SERVER_TLS_VERIFY", "2", "auto"),
    ("RELAY_SERVER_AUTH_MODE", "none", "mtls"),
    ("RELAY_RATE_LIMIT_ACTION", "drop", "throttle"),
    ("RELAY_COMPAT", "both", "docs"),
    ("RELAY_ENABLE_ADMIN_HTTP", "maybe", "yes"),
    ("RELAY_HEALTH_VERBOSE", "2", "yes"),
    ("RELAY_BUS_ENABLED", "enabled", "yes"),
    ("SERVER_URL", "api.example.com", "http"),
    ("SERVER_URL", "ftp://api.example.com", "http"),
    ("SERVER_URL", "https://", "http"),
    ("RELAY_VALIDATE_URL", "redis://x/y", "http"),
    ("RELAY_JWKS_URL", "jwks.json", "http"),
    ("RELAY_PUBLIC_WS_BASE_URL", "https://relay.example.com/ws", "wss"),
    ("RELAY_ADMISSION_TIMEOUT_MS", "0", "1"),
    ("RELAY_ADMISSION_TIMEOUT_MS", "2s", "1"),
    ("RELAY_MAX_FRAME_BYTES", "1MiB", "1"),
    ("RELAY_MAX_FRAME_BYTES", "0", "1"),
    ("RELAY_MAX_TOTAL_CONNECTIONS", "99999999999999999999999", "1"),
    ("RELAY_PING_INTERVAL_MS", "-5", "1"),
    ("RELAY_TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/8"),
    ("RELAY_TRUSTED_PROXIES", "proxy.example.com", "10.0.0.0/8"),
    ("RELAY_SERVER_CA_CERT_PATH", "/nonexistent/ca.crt", "PEM"),
    ("WEIR_WORKERS", "many", "256"),
]


@pytest.mark.parametrize("name, value, allowed", WRONG)
def test_wrong_value_ends_the_start(name, value, allowed):
    result = weir.run("relay", env={name: value})
    assert result.returncode == 1
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if name in line]
    assert len(lines) == 1, result.stderr
    assert value in lines[0]
    assert allowed.lower() in lines[0].lower()


@pytest.mark.parametrize(
    "name, missing",
    [
        ("RELAY_TLS", ["RELAY_TLS_CERT_PATH", "RELAY_TLS_KEY_PATH"]),
        ("RELAY_SERVER_MTLS", ["RELAY_SERVER_CLIENT_CERT_PATH", "RELAY_SERVER_CLIENT_KEY_PATH"]),
    ],
)
def test_missing_files(name, missing):
    result = weir.run("relay", env={name: "1"})
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == missing
    assert all(name in line and "PEM" in line for line in lines)


def test_one_line_per_mistake():
    result = weir.run(
        "relay",
        env={
            "RELAY_LISTEN_PORT": "abc",
            "RELAY_MODE": "x\ny",
            "RELAY_MAX_LOGS": "0",
            "RELAY_PING_INTERVAL_MS": "soon",
        },
    )
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 4, lines
    named = [re.search(r"RELAY_\w+", line)[0] for line in lines]
    assert sorted(named) == [
        "RELAY_LISTEN_PORT", "RELAY_MAX_LOGS", "RELAY_MODE", "RELAY_PING_INTERVAL_MS",
    ]


def test_secrets_are_not_printed():
    secret = "redis://user:hunter2secret@"
    result = weir.run("relay", env={"RELAY_REDIS_URL": secret})
    assert result.returncode == 1
    assert "RELAY_REDIS_URL" in result.stderr
    assert "hunter2secret" not in result.stderr


def test_mode_is_inferred_from_the_bus():
    """And server wants a key to sign with."""
    result = weir.run("relay", env={"RELAY_BUS_ENABLED": "1", "RELAY_INTERNAL_KEY": "k"})
    assert result.returncode == 1
    assert "RELAY_BUS_HMAC_KEY" in result.stderr


PROD = {
    "RELAY_MODE": "prod",
    "RELAY_TLS_TERMINATION": "platform",
    "RELAY_INTERNAL_KEY": "0123456789abcdef0123456789abcdef",
    "RELAY_SERVER_AUTH_MODE": "private_network_shared_secret",
    "SERVER_URL": "https://api.internal.net",
    "RELAY_PUBLIC_WS_BASE_URL": "wss://relay.internal.net/ws",
    "RELAY_BACKPLANE_MODE": "single",
}
PROD_MISTAKES = [
    ({"RELAY_TLS_TERMINATION": "self"}, "RELAY_TLS"),
    ({"RELAY_INTERNAL_KEY": "short"}, "RELAY_INTERNAL_KEY"),
    ({"RELAY_INTERNAL_KEY": ""}, "RELAY_INTERNAL_KEY"),
    ({"RELAY_INTERNAL_KEY": "please-change-me-0123456789"}, "RELAY_INTERNAL_KEY"),
    ({"RELAY_INTERNAL_KEY": "an-example-0123456789-0123456789"}, "RELAY_INTERNAL_KEY"),
    ({"RELAY_INTERNAL_KEY": "PLACEHOLDER-0123456789-01234567"}, "RELAY_INTERNAL_KEY"),
    ({"RELAY_SERVER_AUTH_MODE": "mtls"}, "RELAY_SERVER_MTLS"),
    ({"SERVER_URL": "https://localhost"}, "SERVER_URL"),
    ({"SERVER_URL": "https://api.test"}, "SERVER_URL"),
]


@pytest.mark.parametrize("change, name", PROD_MISTAKES)
def test_prod_checks(change, name):
    result = weir.run("config", "check", "relay", env={**PROD, **change})
    assert result.returncode != 0
    assert any(line.startswith(name) for line in result.stderr.splitlines()), result.stderr
    assert weir.run("relay", env={**PROD, **change}).returncode == 1


def test_prod_that_fits():
    result = weir.run("config", "check", "relay", env=PROD)
    assert (result.returncode, result.stderr) == (0, "")


def test_local_addresses_are_not_exposed():
    for change in (
        {"SERVER_URL": "http://localhost:1"},
        {"RELAY_VALIDATE_URL": "http://127.0.0.1:1/x"},
        {"RELAY_PUBLIC_WS_BASE_URL": "ws://relay.test/ws"},
    ):
        result = weir.run("relay", env={"RELAY_LISTEN_HOST": "0.0.0.0", **change})
        assert result.returncode == 1
        assert next(iter(change)) in result.stderr


def test_plain_listener_is_not_refused_unless_prod_is_asked_for():
    env = {"RELAY_LISTEN_HOST": "0.0.0.0", "SERVER_URL": "https://api.elsewhere.net"}
    assert weir.run("config", "check", "relay", env=env).returncode == 0


# ---- Values

@pytest.mark.parametrize("value", ["1", "true", "YES", "On", " 1 "])
def test_true(start, value):
    assert start(RELAY_ENABLE_ADMIN_HTTP=value).relay.state()["ok"] is True


@pytest.mark.parametrize("value", ["0", "FALSE", "no", "Off"])
def test_false(start, value):
    health = start(RELAY_HEALTH_VERBOSE=value).relay.request("GET", "/health").json()
    assert "relayId" not in health


def test_empty_is_unset(start):
    world = start(RELAY_HEALTH_VERBOSE="", RELAY_MAX_LOGS="", RELAY_ID="  ", RELAY_MODE="")
    assert world.relay.admin("/logs?summary=1").json()["capacity"] == 1000
    assert "relayId" in world.relay.request("GET", "/health").json()


def test_documented_name_wins_with_one_warning(start):
    world = start(RELAY_MAX_LOGS="7", MAX_LOGS="9")
    assert world.relay.admin("/logs?summary=1").json()["capacity"] == 7
    warnings = [x["details"]["warning"] for x in world.relay.log.all("config_warning")]
    assert len([w for w in warnings if "RELAY_MAX_LOGS" in w and " MAX_LOGS" in w]) == 1


def test_older_name_alone_counts(start):
    world = start(MAX_LOGS="9")
    assert world.relay.admin("/logs?summary=1").json()["capacity"] == 9


def test_relay_id(start):
    world = start(RELAY_ID=" relay-a ")
    assert world.relay.request("GET", "/health").json()["relayId"] == "relay-a"


def test_reference_compatibility(start):
    world = start(RELAY_COMPAT="reference", RELAY_MODE="dev")
    assert world.relay.request("GET", "/health").json()["relayMode"] == "dev"
    assert world.relay.admin("/logs?summary=1").json()["capacity"] == 400


def test_unknown_variables_are_ignored(start):
    start(RELAY_NO_SUCH_THING="x", RELAY_="y").client()


def test_relay_started_tells_the_configuration(start):
    world = start(RELAY_MAX_TOTAL_CONNECTIONS="17")
    details = world.relay.log.find("relay_started")["details"]
    assert details["host"] == "127.0.0.1"
    assert details["serverUrl"] == world.platform.origin
    assert details["maxTotalConnections"] == 17
    assert details["backplaneMode"] == "single"
    assert details["tlsEnabled"] is False
    assert details["adminHttpEnabled"] is True
    for key in ("relayId", "publicWsBaseUrl", "clientRedirectEnabled", "idleTimeoutMs"):
        assert key in details


# ---- Commands

def test_manual_names_every_variable():
    result = weir.run("config", "reference", "relay")
    assert result.returncode == 0
    for name in VARIABLES:
        assert re.search(rf"\b{name}\b", result.stdout), name


def test_manual_is_printed_without_looking_at_the_environment():
    assert weir.run("config", "reference", "relay", env={"PORT": "x"}).returncode == 0


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help(option):
    result = weir.run("relay", option)
    assert result.returncode == 0
    assert "--workers" in result.stdout


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_version(option):
    result = weir.run("relay", option)
    assert result.returncode == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("args", [("relay", "--nothing"), ("relay", "x"), ("nothing",), ("config",)])
def test_usage_errors(args):
    result = weir.run(*args)
    assert result.returncode != 0
    assert result.stderr
