# SPDX-License-Identifier: Apache-2.0
"""A running `weir platform`, and what relays ask it."""
import http.client
import json
import signal
import subprocess
import threading

from lib import weir
from lib.wait import eventually

RELAY = "/api/runtime/internal/relay/"
INTERNAL_KEY = "internal-key-of-the-tests"
ADMIN_TOKEN = "admin-token-of-the-tests"


def frame(payload, target="relay-b", source="relay-a", **more):
    return {
        "workspaceId": "ws",
        "runtimeTargetId": "rt",
        "sourceRelayId": source,
        "targetRelayId": target,
        "direction": "client_to_daemon",
        "payload": payload,
        **more,
    }


class Platform:
    """env: WEIR_PLATFORM_… and others; state_dir: where the embedded store is."""

    def __init__(self, state_dir, env=None, args=(), tls=None, wait_ok=True):
        self.state_dir = state_dir
        self.env = {
            **weir.base_environment(),
            "WEIR_STATE_DIR": str(state_dir),
            "WEIR_PLATFORM_LISTEN": "127.0.0.1:0",
            "WEIR_PLATFORM_INTERNAL_KEY": INTERNAL_KEY,
            "WEIR_PLATFORM_ADMIN_TOKEN": ADMIN_TOKEN,
            **{k: str(v) for k, v in (env or {}).items()},
        }
        self.tls = tls  # an ssl.SSLContext when it listens with TLS
        self.errors = b""
        self.process = subprocess.Popen(
            [weir.binary(), "platform", *args],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.log = weir.Log(self.process.stdout)
        self.reader = threading.Thread(target=self._read_errors, daemon=True)
        self.reader.start()
        self.port = self.log.wait("platform_started", timeout=20)["details"]["port"]
        if wait_ok:
            eventually(lambda: self.health().status == 200, "a platform that is well", 20)

    def _read_errors(self):
        self.errors = self.process.stderr.read()
        self.process.stderr.close()

    @property
    def origin(self):
        return f"https://localhost:{self.port}" if self.tls else f"http://127.0.0.1:{self.port}"

    # ---- Asking

    def connect(self, timeout=20, tls=None):
        if self.tls or tls:
            return http.client.HTTPSConnection(
                "localhost", self.port, timeout=timeout, context=tls or self.tls
            )
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, conn=None, tls=None):
        own = conn is None
        conn = conn or self.connect(tls=tls)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            conn.request(method, path, body, headers or {})
            return weir.Answer(conn.getresponse())
        finally:
            if own:
                conn.close()

    def post(self, path, body, **kwargs):
        """As a relay: with the internal key, below RELAY."""
        return self.request(
            "POST", RELAY + path, body, {"x-relay-internal-key": INTERNAL_KEY}, **kwargs
        )

    def ask(self, path, body, **kwargs):
        answer = self.post(path, body, **kwargs)
        assert answer.status == 200, (path, body, answer.status, answer.body)
        return answer.json()

    def admin(self, path, body, **kwargs):
        return self.request(
            "POST", path, body, {"authorization": f"Bearer {ADMIN_TOKEN}"}, **kwargs
        )

    def health(self):
        return self.request("GET", "/health")

    def metrics(self):
        answer = self.request("GET", "/metrics", None, {"authorization": f"Bearer {ADMIN_TOKEN}"})
        assert answer.status == 200, answer.body
        return weir.parse_metrics(answer.body.decode())

    def metric(self, name):
        return self.metrics()["weir_platform_" + name]

    def pull(self, relay="relay-b", since=0, limit=200, wait_ms=0, **kwargs):
        body = {"relayId": relay, "sinceId": since, "limit": limit, "waitMs": wait_ms}
        return self.ask("bus/pull", body, **kwargs)["frames"]

    def admitting(self, gate=None, **claims):
        """As a StubPlatform: a token with these claims."""
        assert gate is None
        answer = self.admin("/api/runtime/relay-token", claims)
        assert answer.status == 200, (claims, answer.body)
        return answer.json()["relayToken"]

    def token(self, role="client", workspace="ws", target="rt", *more):
        return self.run("token", "relay", "--role", role, "--workspace", workspace,
                        "--target", target, *more).strip()

    def run(self, *args):
        """Another command on the same store."""
        done = subprocess.run(
            [weir.binary(), *args], env=self.env, capture_output=True, text=True, timeout=60,
            check=False,
        )
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout

    # ---- End

    def check(self):
        text = self.errors.decode("utf-8", "replace")
        for word in ("Sanitizer", "runtime error", "ssertion"):
            assert word not in text, text
        assert not self.log.bad, self.log.bad[:3]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.log.thread.join(5)
        self.reader.join(5)
        self.check()
        assert code == 0, (code, self.errors)

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.reader.join(5)


class Puller(threading.Thread):
    """Pulls as a relay does until it is told to stop, and keeps every frame in its order."""

    def __init__(self, platforms, relay="relay-b", wait_ms=1000, limit=200):
        super().__init__(daemon=True)
        self.platforms = list(platforms)
        self.relay = relay
        self.wait_ms = wait_ms
        self.limit = limit
        self.frames = []
        self.refused = 0
        self.over = threading.Event()
        self.start()

    def run(self):
        since = 0
        turn = 0
        while not self.over.is_set():
            platform = self.platforms[turn % len(self.platforms)]
            turn += 1
            body = {"relayId": self.relay, "sinceId": since, "limit": self.limit,
                    "waitMs": self.wait_ms}
            try:
                answer = platform.post("bus/pull", body)
            except OSError:
                self.refused += 1
                self.over.wait(0.05)
                continue
            if answer.status != 200:
                self.refused += 1
                self.over.wait(0.05)
                continue
            frames = answer.json()["frames"]
            for one in frames:
                assert one["id"] > since, (one["id"], since)
                since = one["id"]
            self.frames += frames

    def payloads(self):
        return [f["payload"] for f in self.frames]

    def stop(self):
        self.over.set()
        self.join(40)
        assert not self.is_alive()
