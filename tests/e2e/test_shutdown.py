# SPDX-License-Identifier: Apache-2.0
"""Signals, draining and the end (spec 13, 14.9)."""
import json
import socket
import signal
import subprocess
import threading
import time

import pytest

from lib import frames as f
from lib import weir, ws
from lib.targets import free_port
from lib.wait import eventually


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_everybody_is_told_1001(start, number):
    world = start()
    peers = [world.daemon(), world.client(), world.events_client(), world.worker()]
    begin = time.monotonic()
    world.relay.signal(number)
    for peer in peers:
        peer.expect_close(1001, "relay shutting down")
    assert world.relay.wait() == 0
    assert time.monotonic() - begin < 4
    world.relay.check_sanitizers()
    events = [line["event"] for line in world.relay.log.lines]
    assert events[-1] == "relay_stopped"
    assert "relay_stopping" in events
    assert world.relay.log.find("daemon_disconnected")
    assert len(world.relay.log.all("client_disconnected")) == 2


def test_ends_with_nobody_connected(start):
    world = start()
    begin = time.monotonic()
    world.relay.signal(signal.SIGTERM)
    assert world.relay.wait() == 0
    assert time.monotonic() - begin < 3


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_signal_that_comes_while_it_starts(platform):
    """As soon as somebody may connect, it ends as it always does."""
    port = free_port()
    environment = {
        **weir.base_environment(), "RELAY_BACKPLANE_MODE": "single", "RELAY_TLS": "0",
        "SERVER_URL": platform.origin, "HOST": "127.0.0.1", "RELAY_LISTEN_PORT": str(port),
    }
    with subprocess.Popen([weir.binary(), "relay", "--workers", "2"], env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        end = time.monotonic() + weir.START_TIMEOUT_S
        while not listens(port):  # without a pause: the moment is short
            assert time.monotonic() < end
        process.send_signal(signal.SIGTERM)
        lines, _ = process.communicate(timeout=weir.STOP_TIMEOUT_S)
        assert process.returncode == 0
        assert json.loads(lines.splitlines()[-1])["event"] == "relay_stopped"


def test_silent_peers_do_not_hold_it(start):
    """They neither read nor answer; one has never sent its upgrade, one never ends its message."""
    world = start()
    quiet = [world.client() for _ in range(3)]
    quiet[0].send_raw(ws.frame(ws.TEXT, b"x" * 100)[:-1])
    never = world.peer()
    partial = world.peer()
    partial.send_raw(b"GET /ws HTTP/1.1\r\nHost:")
    begin = time.monotonic()
    world.relay.signal(signal.SIGTERM)
    assert world.relay.wait() == 0
    assert time.monotonic() - begin < 6.5
    world.relay.check_sanitizers()
    for peer in (*quiet, never, partial):
        peer.close()


def test_peer_that_does_not_read_does_not_hold_it(start):
    world = start(RELAY_MAX_PENDING_BYTES="100000000", RELAY_MAX_FRAME_BYTES="10000000")
    daemon = world.join("workspace-daemon", peer=world.peer(receive_buffer=4096))
    client = world.client()
    text = f.text(f.e2ee(ciphertext="x" * 5000000))
    for _ in range(4):  # more than the kernel takes
        client.send(text)
    eventually(
        lambda: world.relay.metric("relay_outbound_queue_bytes") > 0, "something waits in a queue"
    )
    begin = time.monotonic()
    world.relay.signal(signal.SIGTERM)
    assert world.relay.wait() == 0
    assert time.monotonic() - begin < 6.5
    daemon.close()


def test_upgrade_that_waits_for_admission_does_not_hold_it(start):
    world = start(RELAY_ADMISSION_TIMEOUT_MS="60000")
    gate = threading.Event()
    token = world.token("client", gate=gate)
    waiting = world.peer()
    waiting.send_raw(
        ws.upgrade_request(world.path("client"), [("Authorization", f"Bearer {token}")])
    )
    world.platform.wait_asked(token)
    begin = time.monotonic()
    world.relay.signal(signal.SIGTERM)
    assert world.relay.wait() == 0
    gate.set()
    assert time.monotonic() - begin < 6.5
    assert waiting.read_to_end() == b""
    world.relay.check_sanitizers()


def test_second_signal_ends_at_once(start):
    world = start(RELAY_DRAIN_TIME_MS="60000")
    world.client()
    world.relay.signal(signal.SIGTERM)
    world.relay.log.wait("relay_stopping")
    begin = time.monotonic()
    world.relay.signal(signal.SIGTERM)
    assert world.relay.wait() == 0
    assert time.monotonic() - begin < 2


def test_health_says_503_while_draining_and_peers_go_on(start):
    world = start(RELAY_DRAIN_TIME_MS="60000")
    daemon, client = world.pair()
    world.relay.signal(signal.SIGTERM)
    world.relay.log.wait("relay_stopping")
    answer = world.relay.request("GET", "/health")
    assert answer.status == 503
    assert answer.json()["ok"] is False
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    world.relay.signal(signal.SIGTERM)
    assert world.relay.wait() == 0


def test_drain_time_passes_before_the_closes(start):
    world = start(RELAY_DRAIN_TIME_MS="300")
    client = world.client()
    begin = time.monotonic()
    world.relay.signal(signal.SIGTERM)
    client.expect_close(1001, "relay shutting down")
    assert time.monotonic() - begin > 0.25
    assert world.relay.wait() == 0


def test_listener_is_closed_first(start):
    world = start()
    quiet = world.client()
    world.relay.signal(signal.SIGTERM)
    world.relay.log.wait("relay_stopping")

    def refused():
        try:
            world.peer().close()
        except ConnectionError:
            return True
        return False

    eventually(refused, "new connections are refused while an old one is still open")
    quiet.expect_close(1001, "relay shutting down")
    assert world.relay.wait() == 0


def test_port_is_free_again(start):
    first = start()
    port = first.relay.port
    first.client().finish()
    first.relay.stop()
    second = start(RELAY_LISTEN_PORT=str(port))
    assert second.relay.port == port
    second.client()


def test_hangup_keeps_everybody_and_says_that_there_is_nothing_to_reload(start):
    world = start()
    daemon, client = world.pair()
    world.relay.signal(signal.SIGHUP)
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())
    assert world.relay.log.wait("reload")["details"] == {"relay": "nothing to reload"}


def wait_until_it_listens(port):
    """Without a pause: what is tested comes right after."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionError:
            pass
    raise AssertionError("it does not listen")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_workers_turn_is_not_lost(number):
    """Sent as soon as anybody can connect, which is before the loops run."""
    for _ in range(10):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [weir.binary(), "relay", "--workers", "2"],
            env={**weir.base_environment(), "RELAY_LISTEN_PORT": str(port), "RELAY_TLS": "0"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            wait_until_it_listens(port)
            process.send_signal(number)
            output, errors = process.communicate(timeout=weir.STOP_TIMEOUT_S)
        finally:
            process.kill()
        assert process.returncode == 0, errors
        assert b'"relay_stopping"' in output and b'"relay_stopped"' in output


def test_the_second_on_a_port_says_that_it_shares_it(start):
    first = start()
    assert not first.relay.log.find("listen_shared")
    second = start(RELAY_LISTEN_PORT=str(first.relay.port))
    assert second.relay.log.find("listen_shared")["details"]["port"] == first.relay.port


def test_names_hold_the_port_that_the_kernel_chose(start):
    relay = start(RELAY_LISTEN_PORT="0").relay
    details = relay.log.find("relay_started")["details"]
    assert details["relayId"].startswith(f"127.0.0.1:{relay.port}:")
    assert details["publicWsBaseUrl"].endswith(f":{relay.port}/ws")


def test_start_fails_when_the_port_is_taken():
    """By somebody who does not share it; another weir may stand beside (SO_REUSEPORT)."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = weir.run("relay", env={"RELAY_LISTEN_PORT": port, "RELAY_TLS": "0"})
    assert result.returncode == 1
    assert port in result.stderr
