# SPDX-License-Identifier: Apache-2.0
"""Registries of a test's own, and weir health on them: once, or as a monitor that runs."""
import http.client
import json
import os
import subprocess
import threading

from lib import weir
from lib.wait import eventually


# Passes, and takes no time that a busy machine could make too long.
GOOD = {"type": "process", "pid_file": "good.pid", "interval": 3}
# For checks that are to come to their end however busy the machine is.
PATIENT = {"interval": 90, "timeout": 80}
PATIENCE_S = 100


class Lab:
    """A registry of the test's own, and weir on it."""

    def __init__(self, directory):
        self.directory = directory
        self.env = {"HOME": str(directory), "XDG_RUNTIME_DIR": str(directory / "run")}
        (directory / "run").mkdir(mode=0o700)
        (directory / "good.pid").write_text(str(os.getpid()))

    def write(self, checks, hosts=None, **services):
        """checks: health_check maps by service; services: whole entries by service."""
        hosts = hosts or {"here": {"ip": "127.0.0.1"}}
        first = next(iter(hosts))
        entries = {name: {"current_host": first, "health_check": c} for name, c in checks.items()}
        path = self.directory / "registry.yml"
        # JSON is YAML.
        path.write_text(json.dumps({"hosts": hosts, "services": {**entries, **services}}, indent=1))
        return path

    def run(self, *args, env=None, **kwargs):
        registry = ["--registry", str(self.directory / "registry.yml")]
        at = args.index("--") if "--" in args else len(args)
        return weir.run(
            "health", *args[:at], *registry, *args[at:], env={**self.env, **(env or {})}, **kwargs
        )

    def check(self, check, env=None, hosts=None):
        """The service object of one check, which gets its time if it does not say how much."""
        self.write({"it": {**PATIENT, **check}}, hosts)
        done = self.run("it", "--json-output", "--once", env=env, timeout=PATIENCE_S)
        assert done.stderr == "", done.stderr
        return json.loads(done.stdout)

    def message(self, check, **kwargs):
        return self.check(check, **kwargs)["last_result"]["message"]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Switch:
    """A check that passes while it is on: a pid file, so that no load can make it fail."""

    def __init__(self, lab, name="up", on=True):
        self.path = lab.directory / f"{name}.pid"
        self.check = {"type": "process", "pid_file": str(self.path), "interval": "200ms"}
        if on:
            self.on()

    def on(self):
        self.path.write_text(str(os.getpid()))

    def off(self):
        self.path.unlink()


class Monitor:
    """A running `weir health serve`."""

    def __init__(self, registry, *args, env=None, token=None, around=()):
        """around: a command that runs it."""
        self.token = token
        self.errors = b""
        self.process = subprocess.Popen(
            [*around, weir.binary(), "health", "serve", "--registry", str(registry), "--listen",
             "127.0.0.1:0", *args],
            env={**weir.base_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self.process.pid
        self.log = weir.Log(self.process.stdout)
        self.reader = threading.Thread(target=self._read_errors, daemon=True)
        self.reader.start()
        self.port = self.log.wait("health_started", timeout=20)["details"]["port"]

    def _read_errors(self):
        self.errors = self.process.stderr.read()
        self.process.stderr.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, headers=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = dict(headers or {})
        if self.token and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            conn.request(method, path, json.dumps(body) if body is not None else None, headers)
            return weir.Answer(conn.getresponse())
        finally:
            conn.close()

    def get(self, path, **kwargs):
        answer = self.ask("GET", path, **kwargs)
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.json()

    def service(self, name):
        return self.get(f"/api/health/services/{name}")

    def wait_status(self, name, status, timeout=10):
        return eventually(
            lambda: self.service(name)["status"] == status and self.service(name),
            f"{name} is {status}", timeout,
        )

    def events(self, **query):
        text = "&".join(f"{k}={v}" for k, v in query.items())
        return self.get(f"/api/health/timeline?{text}")["events"]

    def metrics(self):
        return weir.parse_metrics(self.ask("GET", "/metrics").body.decode())

    def signal(self, number):
        os.kill(self.pid, number)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(20)
        self.reader.join(5)
        assert (code, self.errors, self.log.bad) == (0, b"", []), self.errors.decode()
