# SPDX-License-Identifier: Apache-2.0
"""Runs the weir binary, reads its log and its books, and judges both.

The binary is $WEIR_BIN, by default build/asan/bin/weir below the root of the tree.
"""
import http.client
import json
import os
import pathlib
import pwd
import re
import signal
import ssl
import subprocess
import tempfile
import threading
import time

from lib.wait import eventually

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ADMIN_TOKEN = "admin-token-of-the-tests"
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 20

live = []  # relays that run; the books of each are checked after every test


def binary():
    return os.environ.get("WEIR_BIN", str(ROOT / "build/asan/bin/weir"))


def base_environment():
    """Nothing of the caller's RELAY_* variables; sanitizers report to stderr and end the process."""
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LD_LIBRARY_PATH")}
    return {
        **keep,
        "HOME": tempfile.gettempdir(),
        "ASAN_OPTIONS": "exitcode=99:detect_leaks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "TSAN_OPTIONS": "exitcode=99:halt_on_error=1",
        # A root with a user called weir would become that one, who may not read what the tests made.
        "WEIR_USER": pwd.getpwuid(os.geteuid()).pw_name,
    }


def run(*args, env=None, timeout=20, stdin=None):
    """Runs weir to its end. Returns CompletedProcess with text output."""
    return subprocess.run(
        [binary(), *args],
        env={**base_environment(), **(env or {})},
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Log:
    """The lines of standard output, in order. A mark is a position to look from."""

    def __init__(self, stream):
        self.lines = []
        self.bad = []  # what is no JSON object
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.thread.start()

    def _read(self, stream):
        for raw in stream:
            with self.changed:
                try:
                    line = json.loads(raw)
                    if set(line) != {"ts", "level", "event", "details"}:
                        raise ValueError("keys")
                    self.lines.append(line)
                except ValueError:
                    self.bad.append(raw)
                self.changed.notify_all()
        stream.close()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def mark(self):
        return len(self.lines)

    def find(self, event, since=0, **details):
        for line in self.lines[since:]:
            if line["event"] == event and all(
                line["details"].get(k) == v for k, v in details.items()
            ):
                return line
        return None

    def all(self, event, since=0):
        return [line for line in self.lines[since:] if line["event"] == event]

    def wait(self, event, since=0, timeout=10.0, **details):
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                line = self.find(event, since, **details)
                if line is not None:
                    return line
                left = end - time.monotonic()
                if left <= 0 or self.ended:
                    seen = self.lines[since:][-20:]
                    raise AssertionError(f"no {event} {details} in the log; seen: {seen}")
                self.changed.wait(left)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


def parse_metrics(text):
    """Samples by their full name, labels included."""
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)", line)
            assert match, f"no sample: {line!r}"
            assert match[1] not in samples, f"twice: {match[1]}"
            samples[match[1]] = float(match[2])
    return samples


class Relay:
    """A running `weir relay`. Environment values of None are left out."""

    def __init__(self, env=None, workers=2, args=("relay",), platform_ports=()):
        defaults = {
            "RELAY_LISTEN_PORT": "0",
            "RELAY_BACKPLANE_MODE": "single",
            "RELAY_TLS": "0",
            "RELAY_ADMIN_TOKEN": ADMIN_TOKEN,
            "RELAY_ENABLE_ADMIN_HTTP": "1",
            "RELAY_UPGRADE_RATE_PER_MINUTE": "1000000",
            "RELAY_MAX_CONNECTIONS_PER_IP": "10000",
        }
        merged = {**base_environment(), **defaults, **(env or {})}
        self.env = {k: str(v) for k, v in merged.items() if v is not None}
        self.platform_ports = set(platform_ports)
        self.workers = workers
        self.tls = None  # an ssl.SSLContext when the relay listens with TLS
        self.errors = []
        self.process = subprocess.Popen(
            [binary(), *args, "--workers", str(workers)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.log = Log(self.process.stdout)
        self.error_thread = threading.Thread(target=self._read_errors, daemon=True)
        self.error_thread.start()
        self.baseline = None
        try:
            started = self.log.wait("relay_started", timeout=START_TIMEOUT_S)
        except AssertionError:
            self.kill()
            raise AssertionError(f"weir did not start: {self.stderr()!r}") from None
        self.host = started["details"]["host"]
        self.port = started["details"]["port"]
        live.append(self)

    def _read_errors(self):
        for raw in self.process.stderr:
            self.errors.append(raw.decode("utf-8", "replace"))
        self.process.stderr.close()

    def stderr(self):
        return "".join(self.errors)

    # ---- HTTP

    def request(self, method, path, headers=None, tls=None, body=None):
        tls = tls or self.tls
        if tls is None:
            conn = http.client.HTTPConnection(self.host, self.port, timeout=10)
        else:
            conn = http.client.HTTPSConnection("localhost", self.port, timeout=10, context=tls)
        try:
            conn.request(method, path, body=body, headers={"Connection": "close", **(headers or {})})
            return Answer(conn.getresponse())
        finally:
            conn.close()

    def admin(self, path, **headers):
        answer = self.request("GET", path, {"Authorization": f"Bearer {ADMIN_TOKEN}", **headers})
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer

    def metrics(self):
        return parse_metrics(self.admin("/metrics").body.decode())

    def metric(self, name):
        return self.metrics()[name]

    def failures(self):
        """relay_handshake_failures_total by reason."""
        prefix = 'relay_handshake_failures_total{reason="'
        return {k[len(prefix) : -2]: v for k, v in self.metrics().items() if k.startswith(prefix)}

    def state(self):
        return self.admin("/state").json()

    def cell(self, workspace, target=None):
        for cell in self.state()["workspaces"]:
            if cell["workspaceId"] == workspace and cell.get("runtimeTargetId") == target:
                return cell
        return None

    def wait_metric(self, name, value):
        return eventually(lambda: self.metric(name) == value, f"{name} = {value}")

    # ---- Books

    def _platform_inodes(self):
        """Sockets towards the platform: the relay keeps those alive on purpose."""
        inodes = set()
        for family in ("tcp", "tcp6"):
            for line in pathlib.Path(f"/proc/{self.pid}/net/{family}").read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[2].rsplit(":", 1)[1], 16) in self.platform_ports:
                    inodes.add(fields[9])
        return inodes

    def _pair_inodes(self):
        """Ends of socket pairs: every worker's HTTP client makes one pair at its first call."""
        lines = pathlib.Path(f"/proc/{self.pid}/net/unix").read_text().splitlines()[1:]
        return {line.split()[6] for line in lines}

    def descriptors(self):
        """How many are open, without what is kept for the platform."""
        names = []
        pairs = []
        platform = self._platform_inodes()
        unix = self._pair_inodes()
        for entry in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                name = os.readlink(f"/proc/{self.pid}/fd/{entry}")
            except FileNotFoundError:
                continue
            match = re.fullmatch(r"socket:\[(\d+)\]", name)
            if match and match[1] in unix:
                pairs.append(name)
            elif not (match and match[1] in platform):
                names.append(name)
        assert len(pairs) <= 2 * self.workers, pairs
        return len(names)

    def settle(self):
        """The count of descriptors when nobody is connected."""
        self.admin("/metrics")
        seen = []

        def steady():
            seen.append(self.descriptors())
            return len(seen) >= 5 and len(set(seen[-5:])) == 1

        eventually(steady, "a steady count of descriptors")
        self.baseline = seen[-1]

    def check_books(self):
        """After a test that has closed its connections: everything opened is closed again."""
        assert self.process.poll() is None, f"weir has ended: {self.stderr()}"
        self.check_sanitizers()

        def balanced():
            m = self.metrics()
            opened = m["relay_ws_connections_opened_total"]
            closed = m["relay_ws_connections_closed_total"]
            now = m["relay_connections_total"]
            return opened == closed + now and now == 0

        eventually(balanced, "opened == open + closed, and none open")
        if self.baseline is not None:
            eventually(
                lambda: self.descriptors() <= self.baseline,
                f"descriptors back to {self.baseline}",
            )

    def check_sanitizers(self):
        text = self.stderr()
        for word in ("Sanitizer", "runtime error", "Assertion", "assertion"):
            assert word not in text, text
        assert not self.log.bad, self.log.bad[:3]

    # ---- End

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=STOP_TIMEOUT_S):
        code = self.process.wait(timeout)
        self.log.thread.join(5)
        self.error_thread.join(5)
        if self in live:
            live.remove(self)
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
        if self in live:
            live.remove(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.stop()
        else:
            self.kill()


def trusting(ca_path):
    """A TLS context that trusts the given CA only."""
    context = ssl.create_default_context(cafile=str(ca_path))
    return context
