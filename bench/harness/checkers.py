# SPDX-License-Identifier: Apache-2.0
"""The health checkers that are compared, and what they check.

Each checker is a context manager with a pid, a port, and the path of its status document. Checkers
run on the first core; targets and whoever asks on the second.
"""

import dataclasses
import http.client
import re
import socket
import subprocess
import time

from .edges import Child, Nginx, NGINX_HEAD, NGINX_HTTP, children
from .procs import BenchError, cores, free_port

NAMES = {"weir": "weir", "haproxy": "HAProxy", "monit": "monit", "blackbox": "blackbox exporter"}
READY_SECONDS_MAX = 20
TIMEOUT_SECONDS = 1


def ask(port, path, headers=None):
    """(status, headers, body) of a GET; (0, {}, b"") where nobody answers."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.request("GET", path, headers=headers or {})
        answer = client.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    except (OSError, http.client.HTTPException):
        return 0, {}, b""
    finally:
        client.close()


class Targets:
    """nginx: a port that answers, one that also logs who asked and when, one that counts; and a
    port that takes everybody in and never answers."""

    def __init__(self, scratch):
        self.port, self.logged_port, self._status_port = free_port(), free_port(), free_port()
        self._log = scratch / "asked.log"
        body = f"""log_format asked '$msec $uri $http_x_haproxy_server_state';
  server {{ listen 127.0.0.1:{self.port} backlog=4096;
    location / {{ return 200 "fine, thanks\\n"; }} }}
  server {{ listen 127.0.0.1:{self.logged_port} backlog=4096; access_log {self._log} asked;
    location / {{ return 200 "fine, thanks\\n"; }} }}
  server {{ listen 127.0.0.1:{self._status_port}; location / {{ stub_status; }} }}"""
        scratch.chmod(0o755)
        config = NGINX_HEAD.format(scratch=scratch, name="targets", modules="") + NGINX_HTTP.format(
            scratch=scratch, body=body)
        self._nginx = Nginx(cores()[1], scratch, "targets", config)
        self._silent = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.silent_port = self._silent.getsockname()[1]
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not children(self._nginx.pid) or ask(self._status_port, "/")[0] != 200:
            if time.monotonic() > deadline:
                raise BenchError(f"the targets do not serve:\n{self._nginx.words()}")
            time.sleep(0.01)

    def counts(self):
        """(connections, requests) so far, without those of counting."""
        body = ask(self._status_port, "/")[2].decode()
        accepted, _, requests = map(int, re.search(r"\n *(\d+) (\d+) (\d+)", body).groups())
        self._own = getattr(self, "_own", 0) + 1
        return accepted - self._own, requests - self._own

    def begin_log(self):
        self._begun = self._log.stat().st_size if self._log.exists() else 0

    def asked(self):
        """Since begin_log: for each service the times it was asked at, in seconds."""
        times = {}
        with open(self._log, encoding="ascii") as log:
            log.seek(self._begun)
            for line in log:
                when, uri, *state = line.split(" ", 2)
                named = re.search(r"name=b/([^;]+)", state[0]) if state else None
                times.setdefault(named[1] if named else uri[1:], []).append(float(when))
        return times

    def close(self):
        self._silent.close()
        self._nginx.close()


@dataclasses.dataclass(frozen=True)
class Job:
    """What a checker is to check: so many services at a port, some of which hang."""

    port: int
    count: int
    interval: int
    kind: str = "http"
    hanging: int = 0
    silent_port: int = 0

    def ports(self):
        return [self.silent_port if i < self.hanging else self.port for i in range(self.count)]


class Checker:
    def __init__(self, core_command, scratch, kind, ready):
        self.port = free_port()
        begun = time.monotonic()
        self._child = Child(cores()[0], core_command(self.port), scratch, f"{kind}-{self.port}")
        self.pid = self._child.pid
        try:
            while ask(self.port, ready)[0] != 200:
                if self._child.process.poll() is not None:
                    raise BenchError(f"{kind} ended:\n{self._child.words()}")
                if time.monotonic() > begun + READY_SECONDS_MAX:
                    raise BenchError(f"{kind} does not serve:\n{self._child.words()}")
                time.sleep(0.0005)
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.monotonic() - begun

    def close(self):
        self._child.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Weir(Checker):
    document = "/api/health/dashboard"

    def __init__(self, programs, scratch, job):
        registry = scratch / f"registry-{time.monotonic_ns()}.yml"
        lines = ["hosts:", "  here: {ip: 127.0.0.1}", "services:"]
        for i, port in enumerate(job.ports()):
            where = (f"url: 'http://127.0.0.1:{port}/s{i}'" if job.kind == "http"
                     else f"host: 127.0.0.1, port: {port}")
            lines += [f"  s{i}:", "    current_host: here",
                      f"    health_check: {{type: {job.kind}, {where}, interval: {job.interval}s, "
                      f"timeout: {TIMEOUT_SECONDS}s}}"]
        registry.write_text("\n".join(lines) + "\n")
        super().__init__(lambda port: [programs.weir, "health", "serve", "--registry", registry,
                                       "--listen", f"127.0.0.1:{port}"], scratch, "weir", "/ping")


class Haproxy(Checker):
    document = "/;csv"

    def __init__(self, _programs, scratch, job):
        def command(port):
            config = scratch / f"haproxy-{port}.cfg"
            check = """option httpchk
  http-check send-state
  http-check send meth GET uri /s ver HTTP/1.1 hdr Host 127.0.0.1 hdr Connection close
  http-check expect status 200""" if job.kind == "http" else ""
            servers = "\n".join(f"  server s{i} 127.0.0.1:{to} check inter {job.interval}s"
                                for i, to in enumerate(job.ports()))
            config.write_text(f"""global
  nbthread 1
  maxconn 500
defaults
  mode http
  timeout connect {TIMEOUT_SECONDS}s
  timeout check {TIMEOUT_SECONDS}s
  timeout client 1h
  timeout server 1h
frontend front
  bind 127.0.0.1:{port}
  stats enable
  stats uri /
backend b
  {check}
{servers}
""")
            return ["haproxy", "-db", "-f", config]
        super().__init__(command, scratch, "haproxy", "/;csv;scope=none")


class Monit(Checker):
    document = "/_status?format=xml"

    def __init__(self, _programs, scratch, job):
        def command(port):
            config = scratch / f"monit-{port}.conf"
            home = scratch / f"monit-{port}"
            lines = [f"set daemon {job.interval}", f"set pidfile {home}.pid", f"set idfile {home}.id",
                     f"set statefile {home}.state", f"set logfile {home}.out",
                     f"set httpd port {port} and use address 127.0.0.1 allow localhost"]
            for i, to in enumerate(job.ports()):
                how = f'protocol http request "/s{i}"' if job.kind == "http" else "type tcp"
                lines += [f"check host s{i} with address 127.0.0.1",
                          f"  if failed port {to} {how} with timeout {TIMEOUT_SECONDS} seconds "
                          "then alert"]
            config.write_text("\n".join(lines) + "\n")
            config.chmod(0o600)
            return ["monit", "-I", "-c", config]
        super().__init__(command, scratch, "monit", "/")


class Blackbox(Checker):
    """Checks when it is asked to: h2load does, in place of Prometheus."""

    document = "/metrics"

    def __init__(self, _programs, scratch, job):
        config = scratch / "blackbox.yml"
        config.write_text(f"""modules:
  http: {{prober: http, timeout: {TIMEOUT_SECONDS}s, http: {{preferred_ip_protocol: ip4}}}}
  tcp: {{prober: tcp, timeout: {TIMEOUT_SECONDS}s, tcp: {{preferred_ip_protocol: ip4}}}}
""")
        self._job = job
        super().__init__(
            lambda port: ["prometheus-blackbox-exporter", f"--config.file={config}",
                          f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
            scratch, "blackbox", "/-/healthy")

    def drive(self, count):
        job = self._job
        target = f"http://127.0.0.1:{job.port}/s" if job.kind == "http" else f"127.0.0.1:{job.port}"
        done = subprocess.run(
            ["taskset", "-c", str(cores()[1]), "h2load", "--h1", "-c", "8", "-n", str(count),
             f"http://127.0.0.1:{self.port}/probe?module={job.kind}&target={target}"],
            capture_output=True, text=True, timeout=60, check=False)
        if ", 0 failed, 0 errored, 0 timeout" not in done.stdout:
            raise BenchError(f"blackbox exporter: {done.stdout[-800:]}{done.stderr[-300:]}")


KINDS = {"weir": Weir, "haproxy": Haproxy, "monit": Monit, "blackbox": Blackbox}


def checker(kind, programs, scratch, job):
    return KINDS[kind](programs, scratch, job)
