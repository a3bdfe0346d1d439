# SPDX-License-Identifier: Apache-2.0
"""Relays that share a Redis, and one that is only played: a reference relay, which speaks lists."""
import contextlib
import json
import socket
import time

from lib import bus, weir, ws
from lib import frames as f
from lib.platform import StubPlatform
from lib.redis_servers import Redis
from lib.wait import eventually
from lib.world import World

PREFIX = "viewport:relay"
ENV = {
    "RELAY_BACKPLANE_MODE": "redis",
    "RELAY_INTERNAL_KEY": "internal-key-of-the-tests",
    "RELAY_BUS_HMAC_KEY": bus.KEY,
    "RELAY_INTERNAL_API_TIMEOUT_MS": "15000",  # no machine is too slow for a test of something else
    "RELAY_RUNTIME_RATE_PER_MINUTE": "10000000",
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": "10000000",
    "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE": "10000000",
    "RELAY_KEX_INIT_RATE_PER_MINUTE": "1000000",
}


class RedisRelays:
    """Relays "relay-a", "relay-b", … as Worlds. place: what has a `url`."""

    def __init__(self, place, names=("a", "b"), workers=2, **env):
        self.place = place
        self.platform = StubPlatform()
        self.workers = workers
        self.env = {**ENV, "RELAY_BACKPLANE_URL": place.url, **env}
        self.worlds = {}
        for name in names:
            self.start(name)

    @staticmethod
    def settings(place):
        """For a relay of the test's own."""
        return {**ENV, "RELAY_BACKPLANE_URL": place.url}

    def start(self, name, **env):
        relay = weir.Relay(
            {
                "SERVER_URL": self.platform.origin,
                "RELAY_ID": f"relay-{name}",
                "RELAY_PUBLIC_WS_BASE_URL": f"ws://relay-{name}.test/ws",
                **self.env,
                **env,
            },
            self.workers,
            platform_ports=[self.platform.port],
        )
        self.worlds[name] = World(relay, self.platform)
        self.wait_up(name)
        return self.worlds[name]

    def wait_up(self, name, timeout=30):
        """Every worker's way to the Redis stands."""
        relay = self.worlds[name].relay
        eventually(lambda: all("redisProblem" not in one for one in backplane(relay)),
                   f"{name} is up", timeout)

    def __getitem__(self, name):
        return self.worlds[name]

    def cell(self):
        """A workspace of the test's own: a World for each relay, in order."""
        worlds = [World(world.relay, self.platform) for world in self.worlds.values()]
        for world in worlds:
            world.workspace = worlds[0].workspace
        return worlds

    def stop(self):
        for peer in ws.opened:  # a thread that reads would keep its connection open
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_RDWR)
        ws.close_all()
        for world in self.worlds.values():
            if world.relay in weir.live:
                world.relay.check_books()
                world.relay.stop()
        self.platform.stop()


def backplane(relay):
    """What /state says of each worker's backplane."""
    return relay.state()["backplane"]


def failures(relay, call="publish"):
    """What did not end well of "publish", "pull" or "presence", by reason."""
    prefix = {"publish": "relay_bus_publish_failures_total", "pull": "relay_bus_pull_failures_total",
              "presence": "relay_presence_failures_total"}[call] + '{reason="'
    return {name[len(prefix):-2]: int(value) for name, value in relay.metrics().items()
            if name.startswith(prefix) and value}


def wait_presence(connection, world, relay_id):
    """relay_id None: until nobody has the daemon."""
    key = f"{PREFIX}:presence:{world.workspace}:{world.target}"

    def holder():
        text = connection("GET", key)
        return (json.loads(text)["relayId"] if text else None) == relay_id

    eventually(holder, f"{key} at {relay_id}", 20)


def handshake(daemon, client, request, session):
    client.send(f.text(f.init_v3(request)))
    assert daemon.recv_text() == f.text(f.init_v3(request))
    daemon.send(f.text(f.response_v3(request, session)))
    assert client.recv_text() == f.text(f.response_v3(request, session))


class ReferenceRelay:
    """What a relay does that knows nothing but section 9 of the spec."""

    def __init__(self, port, relay_id="relay-ref", key=bus.KEY):
        self.redis = Redis(port)
        self.relay_id = relay_id
        self.key = key

    def announce(self, workspace, target):
        value = {"relayId": self.relay_id, "relayWsBaseUrl": "ws://relay-ref.test/ws",
                 "daemonConnected": True, "runtimeTargetId": target,
                 "updatedAtMs": time.time_ns() // 1_000_000}
        self.redis("SET", f"{PREFIX}:presence:{workspace}:{target}", f.text(value), "PX", 45000)

    def publish(self, to, workspace, target, direction, payload, **more):
        frame = {"workspaceId": workspace, "runtimeTargetId": target,
                 "sourceRelayId": self.relay_id, "targetRelayId": to, "direction": direction,
                 "payload": payload, "issuedAtMs": time.time_ns() // 1_000_000, **more}
        if self.key is not None:
            frame["signature"] = bus.signature(frame, self.key)
        self.redis("RPUSH", f"{PREFIX}:queue:{to}", f.text(frame))
        self.redis("LTRIM", f"{PREFIX}:queue:{to}", -10000, -1)

    def take(self, timeout=10):
        """The next message for this relay, as text."""
        key = f"{PREFIX}:queue:{self.relay_id}"
        found = self.redis("BLPOP", key, timeout)
        assert found is not None, "nothing came"
        return found[1]

    def close(self):
        self.redis.close()
