# SPDX-License-Identifier: Apache-2.0
"""A running `weir engine` with certificates, tokens and visitors."""
import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import threading
import time

from lib import tls, weir
from lib.wait import eventually

HOST = "edge.test"
SECRET = "the-secret-of-the-engine-in-these-tests"
STOP_TIMEOUT_S = 20
OPEN = {  # metrics of what is open now
    "weir_engine_control_channels",
    "weir_engine_tunnels",
    "weir_engine_streams_active",
    "weir_engine_connections_pending",
    "weir_engine_watch_subscribers",
    "weir_engine_buffered_bytes",
}


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(claims, secret=SECRET, header=None):
    """A compact token, HS256 over the secret whatever the header says."""
    head = _b64(json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode())
    body = _b64(json.dumps(claims).encode())
    mac = hmac.new(secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{_b64(mac)}"


def _yaml(values, indent=0):
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines.append(f"{' ' * indent}{key}:")
            lines += _yaml(value, indent + 2)
        else:
            lines.append(f"{' ' * indent}{key}: {json.dumps(value)}")
    return lines


def _merged(base, changes):
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def free_port():
    """A port that nobody had a moment ago; port 0 is no address in an engine's file."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Engine:
    """settings are merged into a configuration that works; `engine_started` says where it is."""

    def __init__(
        self, authority, directory, settings=None, workers=2, env=None, host=HOST, port=0
    ):
        self.host = host
        self.ca = str(authority.path)
        self.directory = directory
        cert, key = authority.issue(host, hosts=[host, f"*.t.{host}"])
        self.config = directory / "engine.yml"
        self.settings = _merged(
            {
                "engine": {"host": host, "log_level": "debug"},
                "tls": {"enabled": True, "listen_addr": "127.0.0.1:18443"},
                "certs": {
                    "static": {"enabled": True, "cert_file": str(cert), "key_file": str(key)}
                },
                "auth": {"jwt": {"enabled": True, "token_jwt_secret": SECRET}},
                "metrics": {
                    "prometheus": {"enabled": True, "listen_addr": f"127.0.0.1:{free_port()}"}
                },
                "workers": workers,
            },
            settings or {},
        )
        self.write_config()
        self.errors = []
        self.process = subprocess.Popen(
            [weir.binary(), "engine", "-c", str(self.config), "--listen", f"127.0.0.1:{port}"],
            env={**weir.base_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.log = weir.Log(self.process.stdout)
        self.error_thread = threading.Thread(target=self._read_errors, daemon=True)
        self.error_thread.start()
        try:
            started = self.log.wait("engine_started", timeout=weir.START_TIMEOUT_S)["details"]
        except AssertionError:
            self.kill()
            raise AssertionError(f"the engine did not start: {self.stderr()!r}") from None
        self.port = started["port"]
        self.metrics_port = started.get("metricsPort")
        self.http_port = started["redirectPort"]
        self.address = ("127.0.0.1", self.port)
        weir.live.append(self)
        self.baseline = self.descriptors()

    def write_config(self, **changes):
        self.settings = _merged(self.settings, changes)
        self.config.write_text("\n".join(_yaml(self.settings)) + "\n")

    def _read_errors(self):
        for raw in self.process.stderr:
            self.errors.append(raw.decode("utf-8", "replace"))
        self.process.stderr.close()

    def stderr(self):
        return "".join(self.errors)

    # ---- Who may do what

    def token(self, secret=SECRET, **claims):
        """A token with these claims, and an hour to live unless exp says otherwise."""
        full = {"exp": int(time.time()) + 3600, **claims}
        return jwt({k: v for k, v in full.items() if v is not None}, secret)

    # ---- Visitors

    def name(self, label):
        return f"{label}.t.{self.host}"

    def visit(self, server_name, alpn=(), **options):
        """A TLS connection of a visitor."""
        return tls.Pipe(self.address, server_name, self.ca, alpn=alpn, **options)

    def get(self, label, path="/", timeout=20, headers=()):
        """One request over HTTP/1.1 on a connection of its own; (status, head, body)."""
        host = self.name(label)
        visitor = self.visit(host, alpn=["http/1.1"], timeout=timeout)
        fields = "".join(f"{field}\r\n" for field in ("Connection: close", *headers))
        visitor.send(f"GET {path} HTTP/1.1\r\nHost: {host}:{self.port}\r\n{fields}\r\n".encode())
        head, _, body = visitor.recv_all(timeout).partition(b"\r\n\r\n")
        visitor.close()
        return int(head.split(b" ", 2)[1]), head, body

    def curl(self, host, path="/", *args, timeout=20):
        """curl against a host of ours; CompletedProcess with bytes."""
        return subprocess.run(
            [
                "curl",
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--cacert",
                self.ca,
                "--resolve",
                f"{host}:{self.port}:127.0.0.1",
                *args,
                f"https://{host}:{self.port}{path}",
            ],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    # ---- Books

    def metrics(self):
        settings = self.settings["metrics"]["prometheus"]
        path = settings.get("path", "/metrics").lstrip("/")
        bearer = f"Authorization: Bearer {settings.get('bearer_token')}"
        url = f"http://127.0.0.1:{self.metrics_port}/{path}"
        answer = subprocess.run(
            ["curl", "-sf", "--noproxy", "*", "-H", bearer, url],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return weir.parse_metrics(answer.stdout)

    def check_sanitizers(self):
        text = self.stderr()
        for word in ("Sanitizer", "runtime error", "broken invariant"):
            assert word not in text, text
        assert not self.log.bad, self.log.bad[:3]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def check_books(self):
        """After a test that has closed its connections: everything that was opened is gone."""
        assert self.process.poll() is None, f"the engine has ended: {self.stderr()}"
        self.check_sanitizers()
        if self.metrics_port is None:
            return

        def settled():
            counts = self.metrics()
            left = {k: v for k, v in counts.items() if k.partition("{")[0] in OPEN and v != 0}
            return not left and self.descriptors() <= self.baseline

        eventually(settled, "nothing is open")

    # ---- End

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=STOP_TIMEOUT_S):
        code = self.process.wait(timeout)
        self.log.thread.join(5)
        self.error_thread.join(5)
        if self in weir.live:
            weir.live.remove(self)
        return code

    def stop(self):
        """SIGTERM, and the verdict on the whole run."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait()
        self.check_sanitizers()
        assert code == 0, f"exit code {code}: {self.stderr()}"

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        if self in weir.live:
            weir.live.remove(self)
