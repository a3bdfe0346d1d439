# SPDX-License-Identifier: Apache-2.0
"""Resets at every byte of an upgrade and of a frame, and while the platform is asked (14.4)."""
import threading

from lib import frames as f
from lib import ws
from lib.wait import eventually

RELAY_ENV = {"RELAY_ADMISSION_TIMEOUT_MS": "10000"}
PATH = "/ws?role=client&workspaceId=resets&runtimeTargetId=rt_1"


def request_of(token, protocol=True):
    headers = [("Authorization", f"Bearer {token}")]
    if protocol:
        headers.append(("Sec-WebSocket-Protocol", "viewport-relay-v1"))
    return ws.upgrade_request(PATH, headers, key="dGhlIHNhbXBsZSBub25jZQ==")


def nobody(world):
    return eventually(
        lambda: world.relay.metric("relay_connections_total") == 0, "nobody is connected"
    )


def test_reset_at_every_byte_of_the_upgrade(world):
    data = request_of(world.token("client", workspace="resets"))
    for end in range(len(data) + 1):
        peer = world.peer()
        peer.send_raw(data[:end])
        peer.reset()
    nobody(world)
    world.client().finish()


def test_close_at_every_byte_of_the_upgrade(world):
    data = request_of(world.token("client", workspace="resets"))
    for end in range(len(data) + 1):
        peer = world.peer()
        peer.send_raw(data[:end])
        peer.close()
    nobody(world)
    world.client().finish()


def test_leaving_while_the_platform_is_asked(world):
    """Twenty wait; half resets, half closes; the platform answers only then."""
    gate = threading.Event()
    before = world.relay.failures()["aborted"]
    waiting = []
    for _ in range(20):
        token = world.token("client", workspace="resets", gate=gate)
        peer = world.peer()
        peer.send_raw(request_of(token))
        world.platform.wait_asked(token)
        waiting.append(peer)
    for n, peer in enumerate(waiting):
        peer.reset() if n % 2 else peer.close()
    eventually(lambda: world.relay.failures()["aborted"] == before + 20, "all are aborted")
    gate.set()
    world.client().finish()


def test_leaving_just_when_the_platform_answers(world):
    for n in range(40):
        gate = threading.Event()
        token = world.token("client", workspace="resets", gate=gate)
        peer = world.peer()
        peer.send_raw(request_of(token))
        world.platform.wait_asked(token)
        if n % 2:
            gate.set()
            peer.reset()
        else:
            peer.reset()
            gate.set()
    nobody(world)
    world.client().finish()


def test_data_sent_while_the_platform_is_asked_waits(world):
    gate = threading.Event()
    daemon = world.daemon(workspace="resets")
    token = world.token("client", workspace="resets", gate=gate)
    peer = world.peer()
    peer.send_raw(request_of(token))
    world.platform.wait_asked(token)
    peer.send(f.text(f.e2ee()))
    gate.set()
    peer.read_switch("dGhlIHNhbXBsZSBub25jZQ==")
    assert daemon.recv_text() == f.text(f.e2ee())


def test_reset_at_every_byte_of_a_frame(world):
    data = ws.frame(ws.TEXT, f.text(f.e2ee())) + ws.frame(ws.CLOSE, ws.close_payload(1000))
    daemon = world.daemon()
    for end in range(0, len(data), 3):
        client = world.client()
        client.send_raw(data[:end])
        client.reset()
    eventually(lambda: world.relay.metric("relay_connections_total") == 1, "only the daemon is left")
    client = world.client()
    client.send(f.text(f.e2ee(seq=7)))
    while daemon.recv_text() != f.text(f.e2ee(seq=7)):
        pass


def test_daemon_resets_while_frames_are_on_their_way(world):
    for _ in range(10):
        daemon, client = world.pair()
        data = ws.frame(ws.TEXT, f.text(f.e2ee(ciphertext="x" * 5000)))
        client.send_raw(data * 10)
        daemon.reset()
        eventually(
            lambda: not world.relay.cell(world.workspace, "rt_1")["daemonConnected"],
            "the reset is noticed",
        )
        client.send(f.text(f.e2ee()))

        def told():
            return client.recv_text() == f.unavailable_status(world.workspace, "rt_1")

        eventually(told, "the client is told")
        client.reset()
        nobody(world)
