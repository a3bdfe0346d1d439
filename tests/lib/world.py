# SPDX-License-Identifier: Apache-2.0
"""A relay, its platform, and a workspace of the test's own."""
import itertools

from lib import ws

numbers = itertools.count(1)


class World:
    def __init__(self, relay, platform):
        self.relay = relay
        self.platform = platform
        self.workspace = f"ws_{next(numbers)}"
        self.target = "rt_1"

    def token(self, role, workspace=None, target="", gate=None, **claims):
        """Admitted for this cell. A claim of None is left out; target None: no target claim."""
        full = {
            "workspaceId": workspace or self.workspace,
            "runtimeTargetId": self.target if target == "" else target,
            "role": role,
        }
        if role == "client":
            full["scope"] = "runtime"
            full["clientId"] = f"c_{next(numbers)}"
        full = {k: v for k, v in {**full, **claims}.items() if v is not None}
        return self.platform.admitting(gate=gate, **full)

    def path(self, role, workspace=None, target="", **query):
        target = self.target if target == "" else target
        return ws.path_of(role, workspace or self.workspace, target, **query)

    def peer(self, source=None, **options):
        """A connected socket that has sent nothing."""
        return ws.WebSocket(
            self.relay.host, self.relay.port, source=source, tls=self.relay.tls, **options
        )

    def join(self, role, workspace=None, target="", source=None, headers=(), peer=None, **claims):
        """Connects with the query and the claims of the cell. Returns after the 101."""
        token = self.token(role, workspace, target, **claims)
        peer = peer or self.peer(source)
        peer.upgrade(self.path(role, workspace, target), token, headers)
        return peer

    def daemon(self, **options):
        return self.join("workspace-daemon", **options)

    def client(self, **options):
        return self.join("client", **options)

    def pairing_client(self, **options):
        return self.join("client", **{"scope": "pairing", **options})

    def events_client(self, *channels, **options):
        channels = list(channels) or ["agent-session:s1"]
        return self.join(
            "client", **{"scope": "session-events", "sessionChannels": channels, **options}
        )

    def worker(self, executor="me_1", **options):
        return self.join("worker", **{"target": None, "managedExecutorId": executor, **options})

    def pair(self, **client_claims):
        """A daemon and a client of one cell."""
        return self.daemon(), self.client(**client_claims)

    def refused(self, path=None, token=None, headers=(), source=None, **request):
        """An upgrade that must fail; its refusal."""
        peer = self.peer(source)
        try:
            peer.upgrade(path or self.path("client"), token, headers, **request)
        except ws.Refused as refusal:
            return refusal
        raise AssertionError("the upgrade was not refused")
