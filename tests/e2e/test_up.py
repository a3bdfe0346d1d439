# SPDX-License-Identifier: Apache-2.0
"""`weir up`, what it prints, and the demo: the first thing a stranger sees."""
import os
import re
import ssl
import stat
import subprocess
import urllib.request

import pytest

from lib import frames as f
from lib import weir, ws
from lib.wait import eventually
from lib.world import World


class Up(weir.Relay):
    """Its listener has TLS with a certificate of its own making."""

    def __init__(self, state_dir):
        self.state_dir = state_dir
        env = {
            name: None
            for name in ("RELAY_TLS", "RELAY_ADMIN_TOKEN", "RELAY_ENABLE_ADMIN_HTTP",
                         "RELAY_LISTEN_PORT", "RELAY_BACKPLANE_MODE")
        }
        super().__init__(
            env, args=("up", "--state-dir", str(state_dir), "--listen", "127.0.0.1:0")
        )
        weir.live.remove(self)  # its books need the token below
        self.tls = ssl.create_default_context()
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE

    def page(self):
        return eventually(
            lambda: self.stderr() if "weir token relay" in self.stderr() else None, "the page"
        )


@pytest.fixture(scope="module", name="up")
def up_fixture(tmp_path_factory):
    running = Up(tmp_path_factory.mktemp("state") / "weir")
    yield running
    running.stop()


def token(up, role, *more):
    result = weir.run(
        "token", "relay", "--state-dir", str(up.state_dir), "--role", role, "--workspace", "demo",
        "--target", "laptop", *more,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def demo(up, *args, stdin):
    return subprocess.run(
        [weir.binary(), "relay", "demo", "--state-dir", str(up.state_dir), "--port", str(up.port),
         *args],
        env=weir.base_environment(),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_page_names_urls_and_commands(up):
    page = up.page()
    for part in (
        f"wss://localhost:{up.port}/ws",
        f"https://localhost:{up.port}/health",
        f"weir relay demo --state-dir {up.state_dir} --port {up.port}",
        f"weir relay demo --as daemon --state-dir {up.state_dir} --port {up.port}",
        f"weir relay demo --as client --state-dir {up.state_dir} --port {up.port}",
        "role=workspace-daemon&workspaceId=demo&runtimeTargetId=laptop",
        "role=client&workspaceId=demo&runtimeTargetId=laptop",
        f"weir token relay --state-dir {up.state_dir} --role client --workspace demo",
    ):
        assert part in page, part


def test_health_over_tls(up):
    health = up.request("GET", "/health").json()
    assert health["ok"] is True and health["tlsEnabled"] is True


def test_secrets_are_for_the_owner_only(up):
    for entry in os.scandir(up.state_dir):
        mode = stat.S_IMODE(entry.stat().st_mode)
        if not entry.name.endswith((".crt", ".pub")) and "public" not in entry.name:
            assert mode & 0o077 == 0 or "cert" in entry.name, (entry.name, oct(mode))


def test_admin_token_is_in_the_state_directory(up):
    secret = (up.state_dir / "admin-token").read_text().strip()
    headers = {"Authorization": f"Bearer {secret}"}
    assert up.request("GET", "/state", headers).status == 200
    assert up.request("GET", "/state", {"Authorization": "Bearer wrong"}).status == 401


def test_demo_echoes(up):
    result = demo(up, stdin="first line\nsecond line ä\n")
    assert result.returncode == 0, result.stderr
    assert "first line" in result.stdout and "second line ä" in result.stdout


def test_relay_never_saw_the_plain_text(up):
    demo(up, stdin="plain-text-of-the-demo\n")
    assert "plain-text-of-the-demo" not in str(up.log.lines) + up.stderr()


def test_own_peers_with_minted_tokens(up):
    world = World(up, None)
    daemon, client = world.peer(), world.peer()
    daemon.upgrade(ws.path_of("workspace-daemon", "demo", "laptop"), token(up, "workspace-daemon"))
    client.upgrade(
        ws.path_of("client", "demo", "laptop"), token(up, "client", "--scope", "runtime")
    )
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    daemon.finish()


@pytest.mark.parametrize(
    "bad", ["not-a-token-at-all", "e30.e30.AAAA", "eyJhbGciOiJub25lIn0.e30.", "x" * 4096]
)
def test_other_tokens_are_refused(up, bad):
    assert World(up, None).refused(ws.path_of("client", "demo", "laptop"), bad).status == 401


def test_token_for_another_cell_is_refused(up):
    client = World(up, None).peer()
    try:
        client.upgrade(
            ws.path_of("client", "other", "laptop"), token(up, "client", "--scope", "runtime")
        )
    except ws.Refused as refusal:
        assert refusal.status == 401
    else:
        client.expect_close(4008, "workspace claim mismatch")


def test_platform_serves_the_public_keys_only(up):
    url = re.search(r"platform\s+(http://127\.0\.0\.1:\d+)", up.page())[1]
    with urllib.request.urlopen(url + "/jwks.json", timeout=10) as answer:
        keys = answer.read().decode()
    assert '"n"' in keys or '"x"' in keys
    assert not re.search(r'"(d|p|q|dp|dq|qi|k)"', keys)


def test_second_start_uses_the_same_state(up, tmp_path):
    first = Up(tmp_path / "again")
    admin = (first.state_dir / "admin-token").read_text()
    old = token(first, "client", "--scope", "runtime")
    first.stop()
    second = Up(tmp_path / "again")
    try:
        assert (second.state_dir / "admin-token").read_text() == admin
        client = World(second, None).peer()
        client.upgrade(ws.path_of("client", "demo", "laptop"), old)
        client.finish()
    finally:
        second.stop()


def test_demo_without_a_relay_fails_with_a_line(tmp_path):
    result = weir.run("relay", "demo", "--state-dir", str(tmp_path / "none"), "--port", "1")
    assert result.returncode != 0
    assert result.stderr
