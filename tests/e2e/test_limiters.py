# SPDX-License-Identifier: Apache-2.0
"""Rate limits of frames: what counts, per whom, and what excess causes (spec 7.7, 14.13).

The upgrade limit is in test_upgrade.
"""
import pytest

from lib import frames as f
from lib import ws
from lib.wait import eventually

RELAY_ENV = {
    "RELAY_KEX_INIT_RATE_PER_MINUTE": "3",
    "RELAY_PAIRING_RATE_PER_MINUTE": "3",
    "RELAY_RUNTIME_RATE_PER_MINUTE": "4",
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": "6",
    "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE": "4",
}


def spend(peer, daemon, frames):
    """All of these pass."""
    for frame in frames:
        peer.send(f.text(frame))
        assert daemon.recv_text() == f.text(frame)


def inits(count, name="k"):
    return [f.init_v3(f"{name}{n}") for n in range(count)]


def test_key_exchange(world):
    daemon = world.daemon()
    before = world.relay.metric("relay_frames_client_kex_rate_limited_total")
    client = world.client(clientId="c_same")
    spend(client, daemon, [f.init_v3("k1"), f.init_v2("k2"), f.init_v3("k3")])
    client.send(f.text(f.init_v3("k4")))
    client.expect_close(4008, "key exchange rate limit exceeded")
    daemon.expect_silence_until(b"the excess did not pass")
    assert world.relay.metric("relay_frames_client_kex_rate_limited_total") == before + 1
    world.relay.log.wait("client_frame_rate_limited", reason="kex_rate_limit")

    again = world.client(clientId="c_same")
    again.send(f.text(f.init_v3("k5")))
    again.expect_close(4008, "key exchange rate limit exceeded")  # it survives a reconnect
    spend(world.client(clientId="c_other"), daemon, inits(1))  # per client
    spend(world.client(clientId="c_same", source="127.0.0.9"), daemon, inits(1))  # per address


def test_key_exchange_limit_is_per_workspace(world):
    for workspace in (world.workspace + "a", world.workspace + "b"):
        daemon = world.daemon(workspace=workspace)
        spend(world.client(workspace=workspace, clientId="c_same"), daemon, inits(3))


def test_invalid_frames_do_not_count(world):
    daemon, client = world.pair()
    for _ in range(5):
        client.send("{}")
        assert client.recv_text() == f.invalid_frame_status(world.workspace)
    spend(client, daemon, inits(3))
    spend(client, daemon, [f.e2ee(seq=n) for n in range(1, 5)])


def test_pairing(world):
    daemon = world.daemon()
    client = world.pairing_client()
    spend(client, daemon, [f.offer_request("p1"), f.redeem_request("p2"), f.offer_request("p3")])
    client.send(f.text(f.redeem_request("p4")))
    client.expect_close(4008, "pairing rate limit exceeded")
    daemon.expect_silence_until(b"the excess did not pass")
    assert world.relay.metric("relay_frames_client_pairing_rate_limited_total") == 1
    world.relay.log.wait("client_frame_rate_limited", reason="pairing_rate_limit")


def test_runtime_per_client(world):
    daemon, client = world.pair()
    spend(client, daemon, [f.e2ee(seq=n) for n in range(1, 5)])
    client.send(f.text(f.e2ee(seq=5)))
    client.expect_close(4008, "runtime rate limit exceeded")
    daemon.expect_silence_until(b"the excess did not pass")
    world.relay.log.wait("client_frame_rate_limited", reason="runtime_rate_limit")


def test_runtime_per_workspace(world):
    """Six for the workspace, whatever the target."""
    daemon = world.daemon()
    other = world.daemon(target="rt_2")
    spend(world.client(), daemon, [f.e2ee(seq=n) for n in range(1, 4)])
    spend(world.client(target="rt_2"), other, [f.e2ee(seq=n) for n in range(1, 4)])
    last = world.client()
    last.send(f.text(f.e2ee()))
    last.expect_close(4008, "runtime rate limit exceeded")


def test_equal_client_ids_of_two_workspaces_do_not_share(world):
    for workspace in (world.workspace + "a", world.workspace + "b"):
        daemon = world.daemon(workspace=workspace)
        client = world.client(workspace=workspace, clientId="c_same")
        spend(client, daemon, [f.e2ee(seq=n) for n in range(1, 5)])


def test_runtime_survives_a_reconnect(world):
    daemon = world.daemon()
    first = world.client(clientId="c_back")
    spend(first, daemon, [f.e2ee(seq=n) for n in range(1, 5)])
    first.finish()
    second = world.client(clientId="c_back")
    second.send(f.text(f.e2ee(seq=5)))
    second.expect_close(4008, "runtime rate limit exceeded")


def test_presence_counts_against_runtime(world):
    client = world.events_client()
    for _ in range(4):
        client.send(f.text(f.presence()))
    client.expect_silence_until(b"four are fine")
    client.send(f.text(f.presence()))
    client.expect_close(4008, "presence rate limit exceeded")
    assert world.relay.metric("relay_session_viewer_presence_rate_limited_total") == 1


def test_subscriptions_are_not_limited(world):
    client = world.events_client()
    for _ in range(10):
        client.send(f.text(f.subscribe()))
        client.recv_text()


def test_daemon(world):
    daemon = world.daemon()
    for n in range(4):
        daemon.send(f.text(f.e2ee(f"s{n}")))
    daemon.expect_silence_until(b"four are fine")
    daemon.send(f.text(f.e2ee()))
    daemon.expect_close(4008, "daemon rate limit exceeded")
    assert world.relay.metric("relay_frames_daemon_rate_limited_total") >= 1
    world.relay.log.wait("daemon_frame_rate_limited", reason="daemon_rate_limit")


def test_daemon_and_worker_share_the_bucket_of_the_workspace(world):
    daemon = world.daemon()
    worker = world.worker()
    for n in range(4):
        daemon.send(f.text(f.e2ee(f"s{n}")))
    daemon.expect_silence_until(b"four are fine")
    worker.send(f.text(f.worker_request("/api/runtime/workspaces/x")))
    worker.expect_close(4008, "worker rate limit exceeded")


def test_invalid_frames_of_a_daemon_exhaust_only_its_own_bucket(world):
    noisy = world.daemon()
    quiet = world.daemon(target="rt_2")
    client = world.client(target="rt_2")
    for _ in range(4):
        noisy.send("{}")
    noisy.expect_silence_until(b"four are fine")
    noisy.send("{}")
    noisy.expect_close(4008, "daemon rate limit exceeded")
    client.send(f.text(f.init_v3("k1")))
    quiet.recv_text()
    quiet.send(f.text(f.response_v3("k1")))
    assert client.recv_text() == f.text(f.response_v3("k1"))


def test_buckets_refill(start):
    """Ten a second: an emptied bucket has a token again soon."""
    world = start(RELAY_RUNTIME_RATE_PER_MINUTE="600")
    daemon = world.daemon()
    client = world.client(clientId="c_1")
    for _ in range(600):
        client.send(f.text(f.e2ee()))
        daemon.recv_text()
    client.send_raw(ws.frame(ws.TEXT, f.text(f.e2ee())) * 100)  # the tenths of a second that passed
    client.expect_close(4008, "runtime rate limit exceeded")
    delivered = "relay_frames_client_to_daemon_total"

    def passes():
        before = world.relay.metric(delivered)
        again = world.client(clientId="c_1")
        again.send(f.text(f.e2ee(seq=2)))
        again.finish()
        return world.relay.metric(delivered) > before

    eventually(passes, "a frame passes again")


@pytest.mark.parametrize("role", ["client", "daemon"])
def test_throttle_slows_down_instead_of_closing(start, role):
    world = start(
        RELAY_RATE_LIMIT_ACTION="throttle",
        RELAY_RUNTIME_RATE_PER_MINUTE="600",
        RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE="600",
    )
    daemon, client = world.pair()
    client.send(f.text(f.init_v3("k1")))
    daemon.recv_text()
    daemon.send(f.text(f.response_v3("k1", "s1")))
    client.recv_text()
    source, drain = (client, daemon) if role == "client" else (daemon, client)
    texts = [f.text(f.e2ee("s1", seq=n)) for n in range(1, 604)]
    for text in texts:
        source.send(text)
    assert [drain.recv_text() for _ in texts] == texts
    eventually(
        lambda: world.relay.metric("relay_frames_throttled_total") > 0, "throttling is counted"
    )
