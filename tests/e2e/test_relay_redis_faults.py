# SPDX-License-Identifier: Apache-2.0
"""What happens to the Redis while frames flow between two relays. Every frame is delivered once and
in order, or counted under a reason; the columns are added up."""
import json
import signal

import pytest

from lib import frames as f
from lib import weir
from lib.columns import Traffic
from lib.redis_relays import (PREFIX, RedisRelays, ReferenceRelay, backplane, failures,
                              handshake, wait_presence)
from lib.redis_servers import Redis, Server
from lib.wait import eventually

SOON = {"RELAY_INTERNAL_API_TIMEOUT_MS": "1000", "RELAY_PRESENCE_SYNC_INTERVAL_MS": "300"}


@pytest.fixture
def server(tmp_path):
    running = Server(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def relays(server):
    fleet = RedisRelays(server, **SOON)
    yield fleet
    fleet.stop()


@pytest.fixture
def patient(server):
    fleet = RedisRelays(server)
    yield fleet
    fleet.stop()


def start_traffic(relays, server, session="s1"):
    here, there = relays.cell()
    daemon = here.daemon()
    redis = Redis(server.port)
    wait_presence(redis, here, "relay-a")
    redis.close()
    client = there.client()
    handshake(daemon, client, "k1", session)
    traffic = Traffic(here, there, daemon, client, session)
    traffic.wait_flow()
    return traffic


def wait_down(relays, reason):
    for world in relays.worlds.values():
        world.relay.log.wait("relay_redis_error", timeout=20, reason=reason)
        eventually(lambda world=world: any(not one["up"] for one in backplane(world.relay)),
                   "the outage is shown", 20)


def wait_up(relays):
    for name, world in relays.worlds.items():
        relays.wait_up(name)
        world.relay.log.wait("backplane_up", timeout=20)


def test_nothing_happens(patient, server):
    traffic = start_traffic(patient, server)
    traffic.wait_flow(300)
    traffic.stop()
    for column in traffic.check().values():
        assert column["lost"] == 0, column


def test_killed_and_started_again(relays, server):
    traffic = start_traffic(relays, server)
    since = [world.relay.log.mark() for world in relays.worlds.values()]
    server.kill()
    wait_down(relays, "unreachable")
    health = relays["a"].relay.request("GET", "/health").json()
    assert health["ok"] is True and health["status"] == "degraded", health
    assert "the Redis" in health["backplaneProblem"] and health["backplaneDownSince"]
    server.start()
    wait_up(relays)
    traffic.wait_flow()
    traffic.stop()
    columns = traffic.check()
    assert columns["up"]["lost"] > 0
    assert set(failures(relays["b"].relay)) <= {"link_down", "in_doubt", "no_receiver"}
    for world, mark in zip(relays.worlds.values(), since):
        line = world.relay.log.wait("backplane_up", since=mark)
        assert line["details"]["downMs"] >= 0


def test_stopped_for_longer_than_an_answer_may_take(relays, server):
    traffic = start_traffic(relays, server)
    server.freeze()
    wait_down(relays, "timeout")
    server.thaw()
    wait_up(relays)
    traffic.wait_flow()
    traffic.stop()
    traffic.check()


def test_asleep_for_a_moment(patient, server):
    """Nothing is lost by a Redis that is slow for less than an answer may take."""
    traffic = start_traffic(patient, server)
    server("DEBUG", "SLEEP", "0.5")
    traffic.wait_flow()
    traffic.stop()
    for column in traffic.check().values():
        assert column["lost"] == 0, column


def test_our_connections_are_cut(relays, server):
    """All at once, again and again; subscriptions first, so that what is published finds nobody."""
    traffic = start_traffic(relays, server)
    for kind in ("pubsub", "normal", "pubsub", "normal"):
        server("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        traffic.wait_flow()
    traffic.stop()
    traffic.check()


def test_made_read_only(relays, server, tmp_path):
    other = Server(tmp_path)
    try:
        traffic = start_traffic(relays, server)
        server("REPLICAOF", "127.0.0.1", other.port)
        for world in relays.worlds.values():
            world.relay.log.wait("relay_redis_error", timeout=20, reason="replica")
        server("REPLICAOF", "NO", "ONE")
        wait_up(relays)
        traffic.wait_flow()
        traffic.stop()
        traffic.check()
    finally:
        other.stop()


def test_out_of_memory(relays, server):
    """Messages still pass, presence cannot be written, and both are said."""
    traffic = start_traffic(relays, server)
    server("CONFIG", "SET", "maxmemory", "1")
    line = relays["a"].relay.log.wait("relay_redis_error", timeout=20, reason="oom")
    assert "maxmemory" in line["details"]["problem"]
    eventually(lambda: failures(relays["a"].relay, "presence").get("refused"), "counted")
    traffic.wait_flow()
    server("CONFIG", "SET", "maxmemory", "0")
    traffic.stop()
    traffic.check()


def test_lists_when_memory_is_out(server):
    """What a list does not take is refused, and the client is told."""
    fleet = RedisRelays(server, names=("a",))
    reference = ReferenceRelay(server.port)
    try:
        world, = fleet.cell()
        reference.announce(world.workspace, world.target)
        client = world.client()
        client.send(f.text(f.e2ee("s1", 1)))
        assert json.loads(json.loads(reference.take())["payload"])["seq"] == 1
        server("CONFIG", "SET", "maxmemory", "1")
        client.send(f.text(f.e2ee("s1", 2)))
        assert json.loads(client.recv_text())["code"] == "DAEMON_UNAVAILABLE"
        assert failures(world.relay) == {"refused": 1}
        server("CONFIG", "SET", "maxmemory", "0")
        eventually(lambda: server("EXISTS", f"{PREFIX}:queue:relay-ref") == 0, "nothing was kept")
    finally:
        reference.close()
        fleet.stop()


def test_the_end_does_not_wait_for_a_redis_that_is_stopped(relays, server):
    here, there = relays.cell()
    daemon = here.daemon()
    client = there.client()
    server.freeze()
    client.send(f.text(f.e2ee("s1", 1)))
    for world in (here, there):
        world.relay.signal(signal.SIGTERM)
    for world in (here, there):
        assert world.relay.wait() == 0
    server.thaw()
    daemon.close()


def test_a_relay_that_was_killed_is_forgotten(server):
    fleet = RedisRelays(server, **SOON, RELAY_REDIS_PRESENCE_TTL_MS="1500")
    redis = Redis(server.port)
    try:
        here, there = fleet.cell()
        here.daemon()
        wait_presence(redis, here, "relay-a")
        client = there.client()
        here.relay.kill()
        client.send(f.text(f.init_v3("k1")))
        status = json.loads(client.recv_text())
        assert status["code"] == "DAEMON_UNAVAILABLE" and status["retryable"] is True
        wait_presence(redis, here, None)
        there.daemon()
        wait_presence(redis, there, "relay-b")
        assert set(failures(there.relay)) <= {"no_receiver", "in_doubt", "link_down"}
    finally:
        redis.close()
        fleet.stop()


def test_two_relays_of_one_name(relays, server):
    """Said by whoever sends to them; the one that has the daemon delivers."""
    here, there = relays.cell()
    twin = relays.start("twin", RELAY_ID="relay-a")
    twin.workspace = here.workspace
    daemon = here.daemon()
    bystander = twin.client(target="rt_other")
    redis = Redis(server.port)
    wait_presence(redis, here, "relay-a")
    channel = f"{PREFIX}:bus:{{{here.workspace}}}:relay-a"
    eventually(lambda: redis("PUBSUB", "NUMSUB", channel) == [channel, 2], "both listen")
    redis.close()
    client = there.client()
    handshake(daemon, client, "k1", "s1")
    line = there.relay.log.wait("relay_redis_error", reason="relay_id")
    assert "RELAY_ID" in line["details"]["problem"]
    bystander.close()


def test_local_traffic_does_not_notice(relays, server):
    here, _ = relays.cell()
    daemon, client = here.pair()
    handshake(daemon, client, "k1", "s1")
    server.freeze()
    for n in range(1, 101):
        client.send(f.text(f.e2ee("s1", n)))
        assert json.loads(daemon.recv_text())["seq"] == n
    server.thaw()


def test_no_redis_at_the_start(server):
    """The relay starts without it, says so, and finds it when it comes."""
    server.kill()
    relay = weir.Relay(RedisRelays.settings(server), workers=2)
    try:
        relay.log.wait("relay_redis_error", timeout=20, reason="unreachable")
        server.start()
        eventually(lambda: all("redisProblem" not in one for one in backplane(relay)), "up", 30)
    finally:
        relay.stop()


@pytest.mark.parametrize("user, config, reason, says", [
    ("", "requirepass right", "noauth", "redis://USER:PASSWORD@HOST"),
    ("default:wrong@", "requirepass right", "wrongpass", "ACL LIST"),
    ("me:pw@", "user me on >pw ~* -@all +select +role +ping", "noperm", "ACL LOG"),
    ("me:pw@", "user me on >pw ~* &other:* +@all", "noperm", "ACL LOG"),
])
def test_what_is_wrong_is_said(tmp_path, user, config, reason, says):
    server = Server(tmp_path, config=config + "\n")
    url = server.url.replace("redis://", f"redis://{user}")
    relay = weir.Relay({**RedisRelays.settings(server), "RELAY_BACKPLANE_URL": url}, workers=1)
    try:
        line = relay.log.wait("relay_redis_error", timeout=20, reason=reason)
        assert says in line["details"]["problem"]
        assert "right" not in json.dumps(line) and "wrong@" not in json.dumps(line)
        eventually(lambda: not backplane(relay)[0]["up"], "down")
    finally:
        relay.stop()
        server.stop()


def test_a_user_with_a_password_and_a_database(tmp_path):
    server = Server(tmp_path, config="user weir on >p@ss ~viewport:* &viewport:* +@all\n")
    server.url_of_test = server.url.replace("redis://", "redis://weir:p%40ss@") + "/3"
    fleet = RedisRelays(server, RELAY_BACKPLANE_URL=server.url_of_test)
    try:
        here, there = fleet.cell()
        daemon = here.daemon()
        redis = Redis(server.port)
        redis("SELECT", 3)
        wait_presence(redis, here, "relay-a")
        redis.close()
        client = there.client()
        handshake(daemon, client, "k1", "s1")
    finally:
        fleet.stop()
        server.stop()
