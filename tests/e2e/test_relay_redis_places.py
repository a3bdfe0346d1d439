# SPDX-License-Identifier: Apache-2.0
"""Relays on what is more than one plain Redis: sentinels that fail over, a cluster, TLS. Frames flow
meanwhile, and the columns are added up."""
import contextlib
import json

import pytest

from lib import frames as f
from lib import weir
from lib.columns import Traffic
from lib.redis_relays import PREFIX, RedisRelays, backplane, failures, handshake
from lib.redis_servers import Cluster, Redis, RedisError, Server, Watched
from lib.targets import free_port
from lib.wait import eventually

SOON = {"RELAY_INTERNAL_API_TIMEOUT_MS": "1000", "RELAY_PRESENCE_SYNC_INTERVAL_MS": "300"}
OLD_CLUSTER = 'rename-command SSUBSCRIBE ""\nrename-command SPUBLISH ""\n'


def holder(server, world):
    try:
        text = server("GET", f"{PREFIX}:presence:{world.workspace}:{world.target}")
    except RedisError:
        return None
    return text and json.loads(text)["relayId"]


def start_traffic(relays, find_server, session="s1"):
    here, there = relays.cell()
    daemon = here.daemon()
    key = f"{PREFIX}:presence:{here.workspace}:{here.target}"
    eventually(lambda: holder(find_server(key), here) == "relay-a", "presence", 20)
    client = there.client()
    handshake(daemon, client, "k1", session)
    traffic = Traffic(here, there, daemon, client, session)
    traffic.wait_flow()
    return traffic


# ---- Sentinels


@pytest.fixture
def watched(tmp_path):
    place = Watched(tmp_path)
    yield place
    place.stop()


@pytest.fixture
def watched_relays(watched):
    fleet = RedisRelays(watched, **SOON)
    yield fleet
    fleet.stop()


def role(server):
    """None while a sentinel cuts the clients of whom it changes."""
    with contextlib.suppress(OSError):
        return server("ROLE")[0]
    return None


def test_the_master_dies(watched, watched_relays):
    traffic = start_traffic(watched_relays, lambda key: watched.master)
    watched.master.kill()
    eventually(lambda: role(watched.replica) == "master", "the replica takes over", 60)
    traffic.wait_flow(timeout=60)
    traffic.stop()
    traffic.check()
    # It comes back as a replica, and nobody goes there.
    watched.master.start()
    for name in watched_relays.worlds:
        watched_relays.wait_up(name)
    here, there = watched_relays.cell()
    daemon = here.daemon()
    eventually(lambda: holder(watched.replica, here) == "relay-a", "presence", 20)
    handshake(daemon, there.client(), "k1", "s1")


def test_the_master_is_changed_on_purpose(watched, watched_relays):
    traffic = start_traffic(watched_relays, lambda key: watched.master)
    watched.sentinels[0]("SENTINEL", "FAILOVER", "main")
    eventually(lambda: role(watched.replica) == "master", "the replica takes over", 60)
    eventually(lambda: role(watched.master) == "slave", "the master has become a replica", 60)
    traffic.wait_flow(timeout=60)
    traffic.stop()
    traffic.check()


def test_a_sentinel_that_is_down_and_a_name_nobody_knows(watched, tmp_path):
    watched.sentinels[0].kill()
    settings = RedisRelays.settings(watched)
    relay = weir.Relay(settings, workers=2)
    eventually(lambda: all("redisProblem" not in one for one in backplane(relay)), "up", 30)
    relay.stop()
    url = watched.url.replace("/main", "/other")
    relay = weir.Relay({**settings, "RELAY_BACKPLANE_URL": url}, workers=1)
    line = relay.log.wait("relay_redis_error", timeout=30, reason="sentinel")
    assert "SENTINEL MASTERS" in line["details"]["problem"]
    relay.stop()


def test_a_replica_is_refused(watched):
    relay = weir.Relay({**RedisRelays.settings(watched), "RELAY_BACKPLANE_URL": watched.replica.url},
                       workers=1)
    line = relay.log.wait("relay_redis_error", timeout=20, reason="replica")
    assert "redis+sentinel://" in line["details"]["problem"]
    relay.stop()


# ---- Cluster


@pytest.fixture(scope="module", params=["", OLD_CLUSTER], ids=["sharded", "plain"])
def cluster(request, tmp_path_factory):
    place = Cluster(tmp_path_factory.mktemp("cluster"), request.param)
    place.sharded = not request.param
    yield place
    place.stop()


def test_workspaces_of_all_nodes(cluster):
    fleet = RedisRelays(cluster)
    try:
        owners = set()
        while len(owners) < 3:
            here, there = fleet.cell()
            daemon = here.daemon()
            key = f"{PREFIX}:presence:{here.workspace}:{here.target}"
            eventually(lambda here=here, key=key: holder(cluster.owner(key), here) == "relay-a",
                       "presence", 20)
            client = there.client()
            handshake(daemon, client, "k1", "s1")
            for n in range(1, 51):
                client.send(f.text(f.e2ee("s1", n)))
                daemon.send(f.text(f.e2ee("s1", n)))
            for n in range(1, 51):
                assert json.loads(daemon.recv_text())["seq"] == n
                assert json.loads(client.recv_text())["seq"] == n
            channel = f"{PREFIX}:bus:{{{here.workspace}}}:relay-a"
            owners.add(cluster.owner(channel).port)
            counting = "SHARDNUMSUB" if cluster.sharded else "NUMSUB"
            assert cluster.owner(channel)("PUBSUB", counting, channel) == [channel, 1]
        for name in fleet.worlds:
            assert failures(fleet[name].relay) == {}
    finally:
        fleet.stop()


def test_a_slot_moves(cluster):
    """MOVED is followed, and the channels move with their slot."""
    fleet = RedisRelays(cluster, **SOON)
    try:
        def find(key):
            return cluster.owner(key)

        traffic = start_traffic(fleet, find)
        here = traffic.worlds[0]
        channel = f"{PREFIX}:bus:{{{here.workspace}}}:relay-a"
        slot = cluster.nodes[0]("CLUSTER", "KEYSLOT", channel)
        old = cluster.owner(channel)
        new = next(n for n in cluster.nodes if n is not old)
        new_id = new("CLUSTER", "MYID")
        for node in (new, old, *cluster.nodes):
            node("CLUSTER", "SETSLOT", slot, "NODE", new_id)
        eventually(lambda: cluster.owner(channel) is new, "it has moved", 20)
        traffic.wait_flow(timeout=60)
        traffic.stop()
        traffic.check()
    finally:
        fleet.stop()


def test_presence_in_a_slot_that_is_being_moved(cluster):
    """ASK: the entry is at the new node already, the slot not yet. Then it is, and MOVED is followed."""
    fleet = RedisRelays(cluster, RELAY_PRESENCE_SYNC_INTERVAL_MS="3600000")
    try:
        here, there = fleet.cell()
        key = f"{PREFIX}:presence:{here.workspace}:{here.target}"
        slot = cluster.nodes[0]("CLUSTER", "KEYSLOT", key)
        old = cluster.owner(key)
        new = next(n for n in cluster.nodes if n is not old)
        old_id, new_id = old("CLUSTER", "MYID"), new("CLUSTER", "MYID")
        new("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
        old("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
        daemon = here.daemon()

        def asking():
            connection = Redis(new.port)
            try:
                connection("ASKING")
                return connection("GET", key)
            finally:
                connection.close()

        eventually(asking, "it is written to the new node")
        client = there.client()
        handshake(daemon, client, "k1", "s1")
        for node in (new, old, *cluster.nodes):
            node("CLUSTER", "SETSLOT", slot, "NODE", new_id)
        second = there.client()
        handshake(daemon, second, "k2", "s2")
        daemon.close()
        eventually(lambda: new("EXISTS", key) == 0, "it is withdrawn there")
        for world in (here, there):
            assert failures(world.relay, "presence") == {}
    finally:
        fleet.stop()


def test_a_master_of_a_cluster_dies(tmp_path):
    cluster = Cluster(tmp_path, replicas=True)
    fleet = RedisRelays(cluster, **SOON)
    try:
        traffic = start_traffic(fleet, cluster.owner)
        here = traffic.worlds[0]
        channel = f"{PREFIX}:bus:{{{here.workspace}}}:relay-a"
        victim = cluster.owner(channel)
        cluster.nodes = [n for n in cluster.nodes if n is not victim] + [victim]
        victim.kill()
        eventually(lambda: cluster.owner(channel) is not victim, "a replica takes over", 60)
        traffic.wait_flow(timeout=60)
        traffic.stop()
        traffic.check()
    finally:
        fleet.stop()
        cluster.stop()


# ---- TLS


def test_tls(tmp_path, authority):
    certificate, key = authority.issue("redis.test", hosts=["redis.test"])
    port = free_port()
    server = Server(tmp_path, "--tls-port", port, "--tls-cert-file", certificate, "--tls-key-file",
                    key, "--tls-auth-clients", "no")
    settings = {"RELAY_BACKPLANE_URL": f"rediss://127.0.0.1:{port}",
                "RELAY_REDIS_CA_CERT_PATH": authority.path}
    named = {**settings, "RELAY_REDIS_TLS_SERVER_NAME": "redis.test"}
    fleet = RedisRelays(server, **named)
    try:
        traffic = start_traffic(fleet, lambda key: server)
        traffic.stop()
        for column in traffic.check().values():
            assert column["lost"] == 0
        # It is checked for the name that was asked for, and by whoever is trusted.
        for wrong in ({**settings, "RELAY_REDIS_TLS_SERVER_NAME": "other.test"},
                      {**named, "RELAY_REDIS_CA_CERT_PATH": None}):
            relay = weir.Relay({**RedisRelays.settings(server), **wrong}, workers=1)
            line = relay.log.wait("relay_redis_error", timeout=20, reason="tls")
            assert "CA file" in line["details"]["problem"]
            relay.stop()
    finally:
        fleet.stop()
        server.stop()
