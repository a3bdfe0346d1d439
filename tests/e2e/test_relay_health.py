# SPDX-License-Identifier: Apache-2.0
"""weir relay health: what a container's HEALTHCHECK runs."""
import signal

import pytest

from lib import certs, weir
from lib.targets import free_port


def ask(platform, *words, **env):
    return weir.run("relay", "health", *words, env={"SERVER_URL": platform.origin, **env})


def test_of_one_that_is_well(relay, platform):
    fine = f"http://127.0.0.1:{relay.port}/health: fine\n"
    said = ask(platform, RELAY_TLS="0", RELAY_LISTEN_PORT=str(relay.port))
    assert (said.returncode, said.stdout) == (0, fine)
    # As in a container: it listens everywhere, and is asked on loopback.
    everywhere = {"RELAY_LISTEN_HOST": "0.0.0.0", "SERVER_URL": "https://platform.example"}
    said = ask(platform, RELAY_TLS="0", RELAY_LISTEN_PORT=str(relay.port), **everywhere)
    assert (said.returncode, said.stdout) == (0, fine)
    said = ask(platform, "--listen", f"127.0.0.1:{relay.port}", RELAY_TLS="0")
    assert (said.returncode, said.stdout) == (0, fine)


def test_of_one_with_tls(platform, tmp_path):
    certificate, key = certs.Authority(tmp_path).issue("relay")
    env = {"RELAY_TLS": "1", "RELAY_TLS_CERT_PATH": str(certificate), "RELAY_TLS_KEY_PATH": str(key)}
    with weir.Relay({"SERVER_URL": platform.origin, **env}, platform_ports=[platform.port]) as running:
        said = ask(platform, RELAY_LISTEN_PORT=str(running.port), **env)
    assert (said.returncode, said.stdout) == (0, f"https://127.0.0.1:{running.port}/health: fine\n")


def test_of_none(platform):
    said = ask(platform, RELAY_TLS="0", RELAY_LISTEN_PORT=str(free_port()))
    assert said.returncode == 1
    assert "/health: " in said.stderr


@pytest.mark.parametrize("words, code", [(["nonsense"], 64), (["--listen", "nowhere"], 64)])
def test_of_a_mistake(platform, words, code):
    said = ask(platform, *words)
    assert said.returncode == code
    assert said.stderr


def test_of_one_that_drains(start, platform):
    world = start(RELAY_DRAIN_TIME_MS="10000")
    world.client()
    world.relay.signal(signal.SIGTERM)
    world.relay.log.wait("relay_stopping")
    said = ask(platform, RELAY_TLS="0", RELAY_LISTEN_PORT=str(world.relay.port))
    assert said.returncode == 1
    assert "answers 503: it drains" in said.stderr
    world.relay.signal(signal.SIGTERM)
    assert world.relay.wait() == 0
