# SPDX-License-Identifier: Apache-2.0
"""The TLS listener, and certificates that change while it runs (spec 2.2, issue text)."""
import os
import shutil
import signal
import socket
import ssl
import subprocess

import pytest

from lib import frames as f
from lib import weir, ws
from lib.wait import eventually
from lib.world import World


@pytest.fixture(scope="module", name="files")
def files_fixture(authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("listener")
    first = authority.issue("first")
    second = authority.issue("second")
    paths = directory / "relay.crt", directory / "relay.key"
    return first, second, paths


def install(pair, paths):
    for source, target in zip(pair, paths):
        shutil.copy(source, str(target) + ".new")
        os.replace(str(target) + ".new", target)


@pytest.fixture(name="world")
def world_fixture(authority, files, platform):
    first, _, paths = files
    install(first, paths)
    running = weir.Relay(
        {
            "SERVER_URL": platform.origin,
            "RELAY_TLS": "1",
            "RELAY_TLS_CERT_PATH": paths[0],
            "RELAY_TLS_KEY_PATH": paths[1],
        },
        platform_ports=[platform.port],
    )
    running.tls = ssl.create_default_context(cafile=str(authority.path))
    running.settle()
    yield World(running, platform)
    ws.close_all()
    if running in weir.live:
        running.check_books()
        running.stop()


def s_client(world, *args, stdin=""):
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{world.relay.port}", *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def served_name(world):
    with socket.create_connection((world.relay.host, world.relay.port), 10) as plain:
        with world.relay.tls.wrap_socket(plain, server_hostname="localhost") as secure:
            subject = secure.getpeercert()["subject"]
            return dict(pair for group in subject for pair in group)["commonName"]


def test_conversation(world):
    daemon, client = world.pair()
    text = f.text(f.e2ee(ciphertext="ä" * 100000))
    client.send(text)
    assert daemon.recv_text() == text
    assert world.relay.request("GET", "/health").json()["tlsEnabled"] is True


def test_upgrade_and_frames_byte_by_byte(world):
    daemon = world.daemon()
    peer = world.peer()
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    headers = [("Authorization", "Bearer " + world.token("client"))]
    peer.send_split(ws.upgrade_request(world.path("client"), headers, key=key))
    peer.read_switch(key)
    peer.send_split(ws.frame(ws.TEXT, f.text(f.e2ee())))
    assert daemon.recv_text() == f.text(f.e2ee())


def test_frame_sent_with_the_request_is_not_lost(world):
    daemon = world.daemon()
    peer = world.peer()
    peer.upgrade(
        world.path("client"), world.token("client"), early=ws.frame(ws.TEXT, f.text(f.e2ee()))
    )
    assert daemon.recv_text() == f.text(f.e2ee())


@pytest.mark.parametrize("version, works", [("-tls1_3", True), ("-tls1_2", True), ("-tls1_1", False)])
def test_versions(world, version, works):
    result = s_client(world, version, "-cipher", "DEFAULT:@SECLEVEL=0", "-brief")
    assert ("CONNECTION ESTABLISHED" in result.stderr) == works


def test_openssl_verifies_the_chain(world, authority):
    result = s_client(
        world, "-CAfile", str(authority.path), "-verify_return_error", "-servername", "localhost"
    )
    assert result.returncode == 0
    assert "Verify return code: 0 (ok)" in result.stdout


def test_openssl_speaks_http(world):
    request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    result = s_client(world, "-quiet", "-ign_eof", stdin=request)
    assert '"ok":true' in result.stdout


def test_plain_request_on_the_tls_port(world):
    before = world.relay.metric("relay_tls_handshake_failures_total")
    failures = world.relay.failures()
    mark = world.relay.log.mark()
    peer = ws.Peer(world.relay.host, world.relay.port)
    peer.send_raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" not in peer.read_to_end()
    assert world.relay.metric("relay_tls_handshake_failures_total") == before + 1
    world.relay.log.wait("handshake_failed", mark, reason="tls_handshake")
    assert world.relay.failures() == failures, "it is no upgrade yet"


def test_hangup_reloads_the_certificate(world, files):
    _, second, paths = files
    assert served_name(world) == "first"
    daemon, client = world.pair()
    install(second, paths)
    world.relay.signal(signal.SIGHUP)
    assert world.relay.log.wait("reload")["details"] == {"relay": "certificate"}
    world.relay.log.wait("tls_reloaded")
    eventually(lambda: served_name(world) == "second", "the new certificate is served")
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())


def test_changed_files_are_noticed_without_a_signal(world, files):
    _, second, paths = files
    client = world.client()
    install(second, paths)
    eventually(lambda: served_name(world) == "second", "the new certificate is served", 20)
    client.finish()


def test_certificate_and_key_that_do_not_fit_keep_the_old_ones(world, files):
    first, second, paths = files
    install((second[0], first[1]), paths)
    world.relay.signal(signal.SIGHUP)
    world.relay.log.wait("tls_reload_failed")
    assert served_name(world) == "first"
    install(second, paths)
    world.relay.signal(signal.SIGHUP)
    eventually(lambda: served_name(world) == "second", "a later reload works")


def test_expiry_is_a_metric(world):
    assert world.relay.metric("relay_tls_certificate_expiry_seconds") > 1_700_000_000


def test_shutdown_over_tls(world):
    peer = world.client()
    world.relay.signal(signal.SIGTERM)
    peer.expect_close(1001, "relay shutting down")
    assert world.relay.wait() == 0


def test_resets_during_the_tls_handshake(world):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = world.relay.tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        hello.do_handshake()
    except ssl.SSLWantReadError:
        pass
    data = outgoing.read()
    for end in range(0, len(data) + 1, 16):
        peer = ws.Peer(world.relay.host, world.relay.port)
        peer.send_raw(data[:end])
        peer.reset()
    world.client()


def test_plain_auto_without_files(start):
    world = start(RELAY_TLS=None, RELAY_TLS_CERT_DIR="/nonexistent")
    assert world.relay.request("GET", "/health").json()["tlsEnabled"] is False
