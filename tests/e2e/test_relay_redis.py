# SPDX-License-Identifier: Apache-2.0
"""Relays on one real Redis: a daemon on one, clients on the other (spec 7.3, 7.5, 7.6 and 9), with
one another and with a reference relay, which is played."""
import json
import time

import pytest

from lib import bus as b
from lib import frames as f
from lib.redis_relays import (PREFIX, RedisRelays, ReferenceRelay, backplane, failures, handshake,
                              wait_presence)
from lib.redis_servers import Redis, Server
from lib.wait import eventually

MEMBERS = ("workspaceId runtimeTargetId sourceRelayId targetRelayId direction payload issuedAtMs "
           "signature").split()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("redis"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def relays(server):
    fleet = RedisRelays(server)
    yield fleet
    fleet.stop()


@pytest.fixture
def redis(server):
    connection = Redis(server.port)
    yield connection
    connection.close()


@pytest.fixture
def cell(relays):
    return relays.cell()


@pytest.fixture
def reference(server):
    relay = ReferenceRelay(server.port)
    yield relay
    relay.close()


def daemon_on(world, redis, **claims):
    daemon = world.daemon(**claims)
    wait_presence(redis, world, world.relay.env["RELAY_ID"])
    return daemon


def total(relay, member):
    return sum(one[member] for one in backplane(relay))


def test_a_session_across_relays(cell, redis):
    here, there = cell
    before = total(here.relay, "publishedToChannels"), total(there.relay, "publishedToChannels")
    daemon = daemon_on(here, redis, machineId="m_1")
    client = there.client()
    handshake(daemon, client, "k1", "s1")
    for n in range(1, 51):
        client.send(f.text(f.e2ee("s1", n)))
        daemon.send(f.text(f.e2ee("s1", n)))
    for n in range(1, 51):
        assert json.loads(daemon.recv_text())["seq"] == n
        assert json.loads(client.recv_text())["seq"] == n
    assert total(here.relay, "publishedToChannels") - before[0] == 51
    assert total(there.relay, "publishedToChannels") - before[1] == 51
    assert redis("EXISTS", f"{PREFIX}:queue:relay-a", f"{PREFIX}:queue:relay-b") == 0


def test_what_presence_says(cell, redis):
    here, there = cell
    key = f"{PREFIX}:presence:{here.workspace}:{here.target}"
    daemon = daemon_on(here, redis, machineId="m_1")
    value = json.loads(redis("GET", key))
    assert list(value) == ["relayId", "relayWsBaseUrl", "daemonConnected", "runtimeTargetId",
                           "machineId", "updatedAtMs", "bus"]
    assert value["relayId"] == "relay-a" and value["relayWsBaseUrl"] == "ws://relay-a.test/ws"
    assert value["daemonConnected"] is True and value["machineId"] == "m_1"
    assert abs(value["updatedAtMs"] - time.time() * 1000) < 60000
    assert 0 < redis("PTTL", key) <= 45000
    # Another relay has it by now: what this one withdraws is not that.
    taken = {**value, "relayId": "relay-x"}
    redis("SET", key, f.text(taken), "PX", 45000)
    daemon.close()
    eventually(lambda: here.relay.cell(here.workspace, here.target) is None
               or not here.relay.cell(here.workspace, here.target)["daemonConnected"], "it left")
    other = daemon_on(there, redis)
    other.close()
    wait_presence(redis, there, None)


def test_an_entry_of_another_relay_stays(cell, redis):
    here, _ = cell
    daemon = daemon_on(here, redis)
    key = f"{PREFIX}:presence:{here.workspace}:{here.target}"
    redis("SET", key, f.text({"relayId": "relay-x"}), "PX", 45000)
    before = here.relay.metric("relay_presence_upsert_ok_total")
    daemon.close()
    eventually(lambda: here.relay.metric("relay_presence_upsert_ok_total") > before, "withdrawn")
    assert json.loads(redis("GET", key)) == {"relayId": "relay-x"}


def test_the_channel_goes_with_the_last_of_a_workspace(relays, redis):
    short = relays.start("short", RELAY_EMPTY_WORKSPACE_TTL_MS="50", RELAY_CLEANUP_INTERVAL_MS="20")
    channel = f"{PREFIX}:bus:{{{short.workspace}}}:relay-short"
    daemon = daemon_on(short, redis)
    assert redis("PUBSUB", "NUMSUB", channel) == [channel, 1]
    daemon.close()
    eventually(lambda: redis("PUBSUB", "NUMSUB", channel) == [channel, 0], "unsubscribed")
    short.relay.stop()
    del relays.worlds["short"]


# ---- With a relay that knows lists


def test_a_client_here_a_daemon_at_the_reference_relay(cell, redis, reference):
    here, _ = cell
    reference.announce(here.workspace, here.target)
    client = here.client()
    client.send(f.text(f.init_v3("k1")))
    text = reference.take()
    message = json.loads(text)
    assert [name for name in message if name != "machineId"] == MEMBERS
    assert f.text(message) == text
    assert message["payload"] == f.text(f.init_v3("k1"))
    assert message["targetRelayId"] == "relay-ref" and message["sourceRelayId"] == "relay-a"
    assert message["direction"] == "client_to_daemon"
    assert message["signature"] == b.signature(message)
    reference.publish("relay-a", here.workspace, here.target, "daemon_to_clients",
                      f.text(f.response_v3("k1", "s1")))
    assert client.recv_text() == f.text(f.response_v3("k1", "s1"))
    for n in range(1, 301):
        client.send(f.text(f.e2ee("s1", n)))
    for n in range(1, 301):
        assert json.loads(json.loads(reference.take())["payload"])["seq"] == n
    for n in range(1, 301):
        reference.publish("relay-a", here.workspace, here.target, "daemon_to_clients",
                          f.text(f.e2ee("s1", n)))
    for n in range(1, 301):
        assert json.loads(client.recv_text())["seq"] == n


def test_a_daemon_here_a_client_at_the_reference_relay(cell, redis, reference):
    here, _ = cell
    daemon = daemon_on(here, redis)
    value = json.loads(redis("GET", f"{PREFIX}:presence:{here.workspace}:{here.target}"))
    assert value["relayId"] == "relay-a"

    def publish(payload):
        reference.publish("relay-a", here.workspace, here.target, "client_to_daemon", payload)

    publish(f.text(f.init_v3("k1")))
    assert daemon.recv_text() == f.text(f.init_v3("k1"))
    daemon.send(f.text(f.response_v3("k1", "s1")))
    answer = json.loads(reference.take())
    assert answer["payload"] == f.text(f.response_v3("k1", "s1"))
    assert answer["direction"] == "daemon_to_clients" and answer["targetRelayId"] == "relay-ref"
    for n in range(1, 101):
        publish(f.text(f.e2ee("s1", n)))
    for n in range(1, 101):
        assert json.loads(daemon.recv_text())["seq"] == n
    daemon.send(f.text(f.e2ee("s1", 1)))
    assert json.loads(reference.take())["payload"] == f.text(f.e2ee("s1", 1))
    assert 0 < redis("PTTL", f"{PREFIX}:queue:relay-ref") <= 60000 or \
        redis("EXISTS", f"{PREFIX}:queue:relay-ref") == 0


def test_both_kinds_of_clients_share_a_daemon(cell, redis, reference):
    """Nothing is delivered twice: each gets what is its own, by its own way."""
    here, there = cell
    daemon = daemon_on(here, redis)
    client = there.client()
    handshake(daemon, client, "k1", "s1")
    reference.publish("relay-a", here.workspace, here.target, "client_to_daemon",
                      f.text(f.init_v3("k2")))
    assert daemon.recv_text() == f.text(f.init_v3("k2"))
    daemon.send(f.text(f.response_v3("k2", "s2")))
    assert json.loads(reference.take())["payload"] == f.text(f.response_v3("k2", "s2"))
    for n in range(1, 51):
        daemon.send(f.text(f.e2ee("s1", n)))
        daemon.send(f.text(f.e2ee("s2", n)))
    for n in range(1, 51):
        assert client.recv_text() == f.text(f.e2ee("s1", n))
        assert json.loads(reference.take())["payload"] == f.text(f.e2ee("s2", n))
    client.expect_silence_until(b"nothing more")


def test_the_list_is_kept_short(server, redis, reference):
    fleet = RedisRelays(server, names=("few",), RELAY_REDIS_QUEUE_MAX="5")
    try:
        world, = fleet.cell()
        reference.announce(world.workspace, world.target)
        client = world.client()
        for n in range(1, 21):
            client.send(f.text(f.e2ee("s1", n)))
        eventually(lambda: total(world.relay, "publishedToLists") == 20, "all are sent")
        eventually(lambda: redis("LLEN", f"{PREFIX}:queue:relay-ref") == 5, "the newest are kept")
        assert [json.loads(json.loads(reference.take())["payload"])["seq"] for _ in range(5)] == \
            [16, 17, 18, 19, 20]
    finally:
        fleet.stop()


def test_what_was_left_for_a_relay_of_our_name(server, redis, reference):
    """Frames from before the start are for clients that have gone."""
    reference.key = None
    old = time.time_ns() // 1_000_000 - 60_000
    for n in range(1, 31):
        reference.publish("relay-late", "ws_late", "rt_1", "daemon_to_clients",
                          f.text(f.e2ee("s1", n)), issuedAtMs=old)
    fleet = RedisRelays(server, names=("late",), RELAY_BUS_HMAC_KEY=None)
    try:
        relay = fleet["late"].relay
        eventually(lambda: failures(relay, "pull") == {"left_behind": 30}, "dropped, and counted")
        assert redis("EXISTS", f"{PREFIX}:queue:relay-late") == 0
    finally:
        fleet.stop()


def test_a_forged_line_on_a_channel(cell, redis):
    here, there = cell
    daemon = daemon_on(here, redis)
    channel = f"{PREFIX}:bus:{{{here.workspace}}}:relay-a"
    before = here.relay.metric("relay_bus_frames_rejected_total")
    for text in ("", "{}", "weir1 0123456789abcdef 1 0 0", "weir1 0123456789abcdef 0 0 0\n{}",
                 "weir1 0123456789abcdef 1 0\n{}", "weir1 short 1 0 0\n{}",
                 "weir1 0123456789abcdef 99999999999999999999 0 0\n{}",
                 "weir2 0123456789abcdef 1 0 0\n{}"):
        assert redis("PUBLISH", channel, text) == 1
    eventually(lambda: here.relay.metric("relay_bus_frames_rejected_total") == before + 8,
               "all are rejected")
    redis("PUBLISH", channel, "weir1 0123456789abcdef 1 0 0\n{}")
    eventually(lambda: here.relay.metric("relay_bus_frames_rejected_total") == before + 9,
               "a message without members too")
    client = there.client()
    handshake(daemon, client, "k1", "s1")


def test_what_is_missing_of_a_flow_is_counted(cell, redis):
    """missing = seq - heard - lost, when all before seq are settled; nothing is counted twice."""
    here, _ = cell
    daemon = daemon_on(here, redis)
    channel = f"{PREFIX}:bus:{{{here.workspace}}}:relay-a"
    before = failures(here.relay, "pull").get("gap", 0)
    rejected = here.relay.metric("relay_bus_frames_rejected_total")

    def publish(flow, seq, settled, lost, text="{}"):
        assert redis("PUBLISH", channel, f"weir1 {flow:016x} {seq} {settled} {lost}\n{text}") == 1

    publish(1, 1, 0, 0)
    publish(1, 5, 4, 1)  # 2, 3, 4 are not here; of one the sender knows
    publish(1, 7, 7, 2, "")  # a mark: 6 and 7 are not here; of one more the sender knows
    publish(1, 9, 7, 2)  # 8 is not here, and nobody knows yet whether it left
    publish(1, 9, 9, 3, "")  # it did not
    publish(1, 9, 9, 3, "")
    publish(2, 100, 0, 0)  # what was before the first that is heard was for somebody else
    publish(2, 101, 100, 0)
    publish(3, 50, 50, 7, "")
    publish(3, 51, 50, 7)
    eventually(lambda: here.relay.metric("relay_bus_frames_rejected_total") == rejected + 6,
               "the frames themselves say nothing")
    assert failures(here.relay, "pull").get("gap", 0) - before == 3
    here.relay.log.wait("relay_redis_error", reason="gap")
    daemon.close()
