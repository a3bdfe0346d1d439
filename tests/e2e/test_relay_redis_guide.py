# SPDX-License-Identifier: Apache-2.0
"""What docs/relay-backplane.md says is so: the rights a user needs are enough, its commands work, and
every reason and variable it names is one."""
import re
import subprocess

import pytest

from lib import frames as f
from lib import weir
from lib.redis_relays import RedisRelays, ReferenceRelay, handshake, wait_presence
from lib.redis_servers import Cluster, Redis, Server

GUIDE = (weir.ROOT / "docs/relay-backplane.md").read_text()
RIGHTS = re.findall(r"`((?:~viewport|\+cluster)[^`]*)`", GUIDE)


def user(*rights):
    return "user weir on >pw resetchannels " + " ".join(" ".join(rights).split()) + "\n"


def test_its_rights_are_enough(tmp_path):
    server = Server(tmp_path, config=user(RIGHTS[0]))
    url = server.url.replace("redis://", "redis://weir:pw@")
    fleet = RedisRelays(server, RELAY_BACKPLANE_URL=url)
    redis = Redis(server.port)
    reference = ReferenceRelay(server.port)
    try:
        here, there = fleet.cell()
        daemon = here.daemon()
        wait_presence(redis, here, "relay-a")
        handshake(daemon, there.client(), "k1", "s1")
        reference.publish("relay-a", here.workspace, here.target, "client_to_daemon",
                          f.text(f.init_v3("k2")))
        assert daemon.recv_text() == f.text(f.init_v3("k2"))
        daemon.send(f.text(f.response_v3("k2", "s2")))
        reference.take()
        daemon.close()
        wait_presence(redis, here, None)
        for world in (here, there):
            assert world.relay.log.all("relay_redis_error") == []
        assert redis("ACL", "LOG") == []
    finally:
        redis.close()
        reference.close()
        fleet.stop()
        server.stop()


def test_its_rights_are_enough_for_a_cluster(tmp_path):
    cluster = Cluster(tmp_path, user(*RIGHTS))
    fleet = RedisRelays(cluster, names=("a",), RELAY_BACKPLANE_URL=cluster.url.replace(
        "redis+cluster://", "redis+cluster://weir:pw@"))
    try:
        assert fleet["a"].relay.log.all("relay_redis_error") == []
    finally:
        fleet.stop()
        cluster.stop()


def test_its_commands(tmp_path):
    server = Server(tmp_path)
    fleet = RedisRelays(server, names=("a",))
    redis = Redis(server.port)
    try:
        world, = fleet.cell()
        daemon = world.daemon()
        wait_presence(redis, world, "relay-a")
        block = re.findall(r"```console\n(curl.*?)```", GUIDE, re.DOTALL)[0]
        block = block.replace(":7781", f":{world.relay.port}")
        block = block.replace("redis-cli", f"redis-cli -p {server.port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True, timeout=30,
            env={**weir.base_environment(), "RELAY_ADMIN_TOKEN": weir.ADMIN_TOKEN}, check=False)
        assert done.returncode == 0, done.stderr
        for part in ('"status":"ok"', '"backplane":[', f":presence:{world.workspace}:",
                     f":bus:{{{world.workspace}}}:relay-a"):
            assert part in done.stdout, (part, done.stdout)
        daemon.close()
    finally:
        redis.close()
        fleet.stop()
        server.stop()


def test_every_name_is_one():
    manual = weir.run("config", "reference", "relay").stdout
    for name in set(re.findall(r"RELAY_[A-Z_]+[A-Z]", GUIDE)):
        assert f"`{name}`" in manual, name
    table = GUIDE[GUIDE.index("| reason |"):GUIDE.index("## How much")]
    said = set(re.findall(r"`([a-z_]+)`(?=[ ,:|])", re.sub(r"\|[^|]*\|\n", "|\n", table)))
    rows = set(re.findall(r'REDIS_FAULT\(\w+, "\w*", "(\w+)"',
                          (weir.ROOT / "src/redis/faults.def").read_text()))
    assert said and said <= rows | {"gap", "relay_id"}, said - rows


@pytest.mark.parametrize("url, says", [
    ("redis://user@h", "USER:PASSWORD@"), ("redis+sentinel://a,b", "the name of the master"),
    ("redis://a,b", "redis+sentinel://"), ("redis+cluster://a/3", "no databases"),
])
def test_a_url_that_cannot_be_used(url, says):
    result = weir.run("relay", env={"RELAY_BACKPLANE_MODE": "redis", "RELAY_INTERNAL_KEY": "k",
                                    "RELAY_BUS_HMAC_KEY": "h", "RELAY_BACKPLANE_URL": url})
    assert result.returncode == 1, result.stderr
    assert "RELAY_BACKPLANE_URL" in result.stderr and says in result.stderr, result.stderr
