# SPDX-License-Identifier: Apache-2.0
"""The children of a run: servers, the stub platform, the generator.

Every child has a deadline, is ended by its own pid, and dies with this process (setpriv
--pdeathsig). Servers run on one core, generator and platform on another.
"""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time

READY_SECONDS_MAX = 10
STOP_SECONDS_MAX = 7
RATE = "1000000000"  # a minute: no limiter acts
CONNECTIONS = "20000"


class BenchError(Exception):
    pass


def cores():
    """(server's core, generator's core)."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the server, one for the generator")
    return allowed[0], allowed[1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(core, command):
    return ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core)] + [
        str(word) for word in command]


def environment(more=None):
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": os.environ.get("HOME", "/"),
            **(more or {})}


def end(process):
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Platform:
    """The stub platform; ends when its stdin closes."""

    def __init__(self, program):
        self.port = free_port()
        self._process = subprocess.Popen(
            pinned(cores()[1], [program, self.port]), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=environment())
        if self._process.stdout.readline() != b"listening\n":
            raise BenchError("the stub platform does not start")

    def url(self):
        return f"http://127.0.0.1:{self.port}/api/runtime/internal/relay/validate"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        end(self._process)


class Server:
    """One server under test: kind is floor, weir, uws or node."""

    def __init__(self, programs, platform, scratch, kind, workers=1, certificate=None,
                 settings=None):
        self.kind = kind
        self.port = free_port()
        self.tls = certificate is not None
        self._log_path = scratch / f"{kind}-{self.port}.log"
        command = {"floor": [programs.floor, self.port],
                   "weir": [programs.weir, "relay", "--workers", workers],
                   "uws": ["node", programs.uws_server],
                   "node": ["node", programs.node_server]}[kind]
        variables = environment({**self._settings(platform, certificate), **(settings or {})})
        started = time.monotonic()
        with open(self._log_path, "wb") as log:
            self._process = subprocess.Popen(
                pinned(cores()[0], command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=variables, cwd=scratch)
        self.pid = self._process.pid
        try:
            self._wait_ready()
        except BaseException:
            end(self._process)
            raise
        self.start_seconds = time.monotonic() - started

    def _settings(self, platform, certificate):
        settings = {
            "HOST": "127.0.0.1", "PORT": str(self.port), "RELAY_VALIDATE_URL": platform.url(),
            "RELAY_BACKPLANE_MODE": "single", "RELAY_TLS": "1" if certificate else "0",
            "RELAY_MAX_TOTAL_CONNECTIONS": CONNECTIONS, "RELAY_MAX_CONNECTIONS_PER_IP": CONNECTIONS,
            "RELAY_MAX_CLIENTS_PER_WORKSPACE": CONNECTIONS,
            "RELAY_UPGRADE_RATE_PER_MINUTE": RATE, "RELAY_KEX_INIT_RATE_PER_MINUTE": RATE,
            "RELAY_PAIRING_RATE_PER_MINUTE": RATE, "RELAY_RUNTIME_RATE_PER_MINUTE": RATE,
            "RELAY_RUNTIME_RATE_PER_MINUTE_WORKSPACE": RATE,
            "RELAY_DAEMON_RUNTIME_RATE_PER_MINUTE": RATE,
        }
        if certificate:
            settings["RELAY_TLS_CERT_PATH"], settings["RELAY_TLS_KEY_PATH"] = map(str, certificate)
        return settings

    def _healthy(self):
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            client = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=context)
        else:
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            client.request("GET", "/health")
            return client.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def _wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.kind} does not serve:\n{self.log_tail()}")
            time.sleep(0.0005)

    def log_tail(self):
        return self._log_path.read_text(errors="replace")[-2000:]

    def pss_bytes(self):
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        raise BenchError(f"no Pss for {self.kind}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self._process)


class Generator:
    """One run of the load generator. With hold=True it stays until the `with` block ends."""

    def __init__(self, programs, server, mode, arguments, seconds_max, hold=False):
        command = [programs.load, mode, "--port", server.port, "--server-pid", server.pid,
                   "--deadline", int(seconds_max), *arguments]
        command += ["--masked-ok"] if server.kind == "floor" else []
        command += ["--tls"] if server.tls else []
        command += ["--hold"] if hold else []
        self._what = f"{server.kind}: {mode} {' '.join(map(str, arguments))}"
        self._server = server
        self._process = subprocess.Popen(
            pinned(cores()[1], command), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment())
        # The generator's own alarm bounds this read.
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(self._failure())
        self.result = json.loads(line)

    def _failure(self):
        said = self._process.stderr.read().decode(errors="replace").strip()
        self._process.wait()
        return (f"{self._what}: {said or 'deadline passed'}\n"
                f"the server's last words:\n{self._server.log_tail()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        end(self._process)
        self._process.stdout.close()
        self._process.stderr.close()


def generate(programs, server, mode, arguments, seconds_max=60):
    with Generator(programs, server, mode, arguments, seconds_max) as generator:
        return generator.result
