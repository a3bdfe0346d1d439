# SPDX-License-Identifier: Apache-2.0
"""Several relays on one platform, which they share presence and bus of."""
from lib import bus, weir, ws
from lib.platform import StubPlatform
from lib.world import World

ENV = {
    "RELAY_BACKPLANE_MODE": "server",
    "RELAY_INTERNAL_KEY": "internal-key-of-the-tests",
    "RELAY_BUS_HMAC_KEY": bus.KEY,
    "RELAY_INTERNAL_API_TIMEOUT_MS": "10000",  # a busy machine is no slow platform
    "RELAY_RUNTIME_RATE_PER_MINUTE": "1000000",
    "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": "1000000",
    "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE": "1000000",
    "RELAY_KEX_INIT_RATE_PER_MINUTE": "1000000",
}


class Relays:
    """Relays "relay-a", "relay-b", … each as a World; all of them see the same workspaces."""

    def __init__(self, names=("a", "b"), workers=2, batch=False, platform=None, **env):
        self.platform = platform or StubPlatform()
        self.bus = bus.Bus(self.platform, batch)
        self.workers = workers
        self.env = {**ENV, **env}
        self.worlds = {}
        for name in names:
            self.start(name)

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
        return self.worlds[name]

    def __getitem__(self, name):
        return self.worlds[name]

    def cell(self):
        """A workspace of the test's own, on every relay: a World for each, in order."""
        worlds = [World(world.relay, self.platform) for world in self.worlds.values()]
        for world in worlds:
            world.workspace = worlds[0].workspace
        return worlds

    def metrics(self, name):
        return self.worlds[name].relay.metrics()

    def stop(self):
        ws.close_all()
        for world in self.worlds.values():
            if world.relay in weir.live:
                world.relay.check_books()
                world.relay.stop()
        self.platform.stop()
