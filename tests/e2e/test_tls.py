# SPDX-License-Identifier: Apache-2.0
"""The TLS listener: foreign client, reload by signal, a broken pair survived."""
import shutil
import signal
import ssl
import subprocess

import pytest

from lib import certs, frames, weir
from lib.platform import StubPlatform
from lib.wait import eventually
from lib.world import World


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return certs.Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def served(tmp_path_factory, authority):
    """The paths the relay is told."""
    where = tmp_path_factory.mktemp("served")
    first = authority.issue("first")
    paths = where / "relay.crt", where / "relay.key"
    for source, target in zip(first, paths):
        shutil.copy(source, target)
    return paths


@pytest.fixture(scope="module")
def relay(served, authority, platform):
    running = weir.Relay(
        {
            "SERVER_URL": platform.origin,
            "RELAY_TLS": "1",
            "RELAY_TLS_CERT_PATH": served[0],
            "RELAY_TLS_KEY_PATH": served[1],
        },
        platform_ports=[platform.port],
    )
    running.tls = weir.trusting(authority.ca_path)
    running.settle()
    yield running
    running.stop()


def serial(relay):
    pem = ssl.get_server_certificate((relay.host, relay.port))
    return ssl.PEM_cert_to_DER_cert(pem)


def test_frames_flow(world):
    daemon, client = world.pair()
    text = frames.text(frames.init_v3("k1"))
    client.send(text)
    assert daemon.recv_text() == text


def test_openssl_sees_tls_1_3_and_no_old_version(relay, authority):
    command = ["openssl", "s_client", "-connect", f"{relay.host}:{relay.port}", "-CAfile",
               str(authority.ca_path), "-servername", "localhost", "-alpn", "http/1.1"]
    seen = subprocess.run(command, input="", capture_output=True, text=True, timeout=20, check=False)
    assert "TLSv1.3" in seen.stdout and "Verify return code: 0" in seen.stdout, seen.stdout
    assert "ALPN protocol: http/1.1" in seen.stdout
    old = subprocess.run([*command, "-tls1_1"], input="", capture_output=True, text=True,
                         timeout=20, check=False)
    assert old.returncode != 0


def test_plain_text_is_counted(relay):
    name = "relay_tls_handshake_failures_total"
    before = relay.metric(name)
    mark = relay.log.mark()
    peer = __import__("socket").create_connection((relay.host, relay.port), timeout=10)
    peer.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    while peer.recv(4096):
        pass
    peer.close()
    assert relay.log.wait("handshake_failed", mark)["details"]["reason"] == "tls_handshake"
    relay.wait_metric(name, before + 1)


def test_reload_and_a_broken_pair(world, relay, served, authority):
    daemon = world.daemon()
    before = serial(relay)
    second = authority.issue("second")
    shutil.copy(second[0], served[0])
    mark = relay.log.mark()
    relay.signal(signal.SIGHUP)
    relay.log.wait("tls_reload_failed", mark)
    assert serial(relay) == before, "a pair that does not fit is not used"
    shutil.copy(second[1], served[1])
    mark = relay.log.mark()
    relay.signal(signal.SIGHUP)
    relay.log.wait("tls_reloaded", mark)
    eventually(lambda: serial(relay) != before, "the new certificate")
    client = world.client()
    text = frames.text(frames.init_v3("k2"))
    client.send(text)
    assert daemon.recv_text() == text, "the old connection lives on"
