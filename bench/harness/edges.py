# SPDX-License-Identifier: Apache-2.0
"""The fronts that publish one origin over TLS: weir with the agent of the bench or with
`weir forward`, nginx, HAProxy, OpenSSH -R.

Each is a context manager with a port, a host name, and the processes whose CPU and memory count.
Fronts run on the first core; origin, agent, ssh client and generators on the second.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import time

from .procs import BenchError, cores, end, environment, free_port, pinned

HOST = "edge.weir.test"
NAMES = {"weir": "weir", "nginx": "nginx", "haproxy": "HAProxy", "openssh": "OpenSSH -R",
         "splice": "splice", "passage": "TLS loop"}
SECRET = "a secret of the bench, longer than thirty-two bytes"
READY_SECONDS_MAX = 10
ONLINE = '"status":"online"'  # what weir forward and weir run say with --json


def _segment(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token():
    head = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment({'sub': 'bench'})}"
    mac = hmac.new(SECRET.encode(), head.encode(), hashlib.sha256).digest()
    return f"{head}.{_segment(mac)}"


def cpu_ns(pids):
    """CPU time of processes, all threads: their clocks, without the 10 ms steps of /proc."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)


def _rollup_bytes(pids, field):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(field))
    return total


def pss_bytes(pids):
    return _rollup_bytes(pids, "Pss:")


def rss_bytes(pids):
    """As if nobody else had the same libraries and the same program open."""
    return _rollup_bytes(pids, "Rss:")


def sockets(pids):
    """Open sockets of processes."""
    count = 0
    for pid in pids:
        for name in os.listdir(f"/proc/{pid}/fd"):
            # One that closes in this moment is none.
            with contextlib.suppress(FileNotFoundError):
                count += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return count


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return [int(word) for word in listed.read().split()]


def certificate(scratch):
    key, chain = scratch / "key.pem", scratch / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-addext",
         f"subjectAltName=DNS:{HOST},DNS:*.t.{HOST}", "-keyout", str(key), "-out", str(chain)],
        check=True, capture_output=True, timeout=30)
    # HAProxy wants both in one file.
    (scratch / "pair.pem").write_bytes(chain.read_bytes() + key.read_bytes())
    return chain, key


class Child:
    """A process that ends with the block, and with this process."""

    def __init__(self, core, command, scratch, name, **more):
        self.log_path = scratch / f"{name}.log"
        self.log = open(self.log_path, "wb")  # closed in close()
        self.process = subprocess.Popen(
            pinned(core, command), stdin=more.pop("stdin", subprocess.DEVNULL),
            stdout=more.pop("stdout", self.log), stderr=self.log, cwd=scratch,
            env=environment(more))
        self.pid = self.process.pid

    def close(self):
        if self.process.stdin:
            self.process.stdin.close()
        end(self.process)
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()

    def words(self):
        return self.log_path.read_text(errors="replace")[-1500:]


def wait_for(what, child, ready):
    deadline = time.monotonic() + READY_SECONDS_MAX
    while not ready():
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"{what} does not serve:\n{child.words()}")
        time.sleep(0.01)


def answers(port, host, path="/", scheme="https"):
    done = subprocess.run(
        ["curl", "-sk", "--http1.1", "--resolve", f"{host}:{port}:127.0.0.1", "-o", "/dev/null",
         "-w", "%{http_code}", "-m", "3", f"{scheme}://{host}:{port}{path}"],
        capture_output=True, text=True, timeout=10, check=False)
    return done.stdout == "200"


def listens(port):
    """Asks the kernel: a connection would be one to a server that expects another."""
    local = f"0100007F:{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as sockets_open:
        return any(line.split()[1] == local and line.split()[3] == "0A" for line in sockets_open)


NGINX_HEAD = """daemon off; pid {scratch}/{name}.pid; error_log stderr error; worker_processes 1;
{modules}
events {{ worker_connections 9000; }}
"""
NGINX_HTTP = """http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600; sendfile on; tcp_nopush off;
  client_body_temp_path {scratch}/t1; proxy_temp_path {scratch}/t2; fastcgi_temp_path {scratch}/t3;
  uwsgi_temp_path {scratch}/t4; scgi_temp_path {scratch}/t5;
  {body}
}}
"""


class Nginx(Child):
    def __init__(self, core, scratch, name, config):
        path = scratch / f"{name}.conf"
        path.write_text(config)
        super().__init__(core, ["nginx", "-p", scratch, "-c", path], scratch, name)

    def workers(self):
        return children(self.pid)


class Origin:
    """nginx serving files: / (1 KiB) and /big (1 GiB, sparse), plain and with TLS; what is sent to
    /sink is taken and thrown away."""

    def __init__(self, scratch, pair):
        self.port, self.tls_port = free_port(), free_port()
        root = scratch / "root"
        root.mkdir()
        (root / "index.html").write_bytes(b"x" * 1024)
        self.big = root / "big"
        with open(self.big, "wb") as big:
            big.truncate(1 << 30)
        scratch.chmod(0o755)
        sink = "client_max_body_size 0; location /sink { return 200; }"
        body = f"""server {{ listen 127.0.0.1:{self.port}; root {root}; }}
  server {{ listen 127.0.0.1:{self.tls_port} ssl; root {root}; {sink}
    ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]}; }}"""
        config = NGINX_HEAD.format(scratch=scratch, name="origin", modules="") + NGINX_HTTP.format(
            scratch=scratch, body=body)
        self._nginx = Nginx(cores()[1], scratch, "origin", config)
        wait_for("the origin", self._nginx, lambda: answers(self.port, HOST, scheme="http"))

    def close(self):
        self._nginx.close()


class Weir:
    """The engine, and one agent with a tunnel to the origin."""

    def __init__(self, programs, scratch, pair, origin, workers=1, passthrough=False):
        label = "raw" if passthrough else "bench"
        self.host = f"{label}.t.{HOST}"
        self._engine = self._agent = None
        try:
            self._start_engine(programs, scratch, pair, workers)
            self._start_agent(programs, scratch, origin, label, passthrough)
        except BaseException:
            self.close()
            raise
        self.pids = [self._engine.pid]
        self.helpers = [self._agent.pid]

    def _start_engine(self, programs, scratch, pair, workers):
        self.port = self._engine_port = free_port()
        config = scratch / f"engine-{self.port}.yml"
        config.write_text(f"""engine: {{ host: {HOST}, log_level: warn }}
workers: {workers}
tls: {{ enabled: true, listen_addr: "127.0.0.1:{self.port}" }}
certs: {{ static: {{ enabled: true, cert_file: {pair[0]}, key_file: {pair[1]} }} }}
auth: {{ jwt: {{ enabled: true, token_jwt_secret: "{SECRET}" }} }}
limits: {{ connections_per_address: 20000, handshakes: 20000 }}
""")
        self._engine = Child(cores()[0], [programs.weir, "engine", "-c", config], scratch,
                             f"engine-{self.port}")
        wait_for("weir engine", self._engine, self._open)

    def _open(self):
        done = subprocess.run(
            ["curl", "-sk", "--resolve", f"{HOST}:{self.port}:127.0.0.1", "-o", "/dev/null", "-m",
             "3", f"https://{HOST}:{self.port}/api/openapi.json"], timeout=10, check=False)
        return done.returncode == 0

    def _start_agent(self, programs, scratch, origin, label, passthrough):
        command = [programs.agent, "--engine", self._engine_port, "--name", HOST, "--token", token(),
                   "--label", label, "--origin", origin.tls_port if passthrough else origin.port]
        command += ["--protocol", "tls", "--passthrough"] if passthrough else []
        self._agent = Child(cores()[1], command, scratch, f"agent-{self.port}",
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._agent.process.stdout.readline().strip() != self.host.encode():
            raise BenchError(f"the agent has no tunnel:\n{self._agent.words()}"
                             f"\n{self._engine.words()}")

    def close(self):
        for child in (self._agent, self._engine):
            if child:
                child.close()


class Forward(Weir):
    """The engine, and `weir forward` with a tunnel to the origin."""

    def _start_agent(self, programs, scratch, origin, label, passthrough):
        if passthrough:
            raise BenchError("nothing passes TLS through weir forward here")
        self._agent = Child(cores()[1], self.command(programs, scratch, "--host", label, origin.port),
                            scratch, f"forward-{self.port}")
        wait_for("weir forward", self._agent, lambda: ONLINE in self._agent.words())

    def command(self, programs, scratch, *words, verb="forward"):
        return [programs.weir, verb, "--engine", f"127.0.0.1:{self.port}",
                "--engine-tls-server-name", HOST, "--engine-tls-ca-file",
                scratch / "certificate.pem", "--token", token(), "--json", *words]


class NginxFront:
    """nginx terminating TLS (HTTP/1.1 and h2) before the origin; or passing TLS through."""

    helpers = ()
    host = HOST

    def __init__(self, _programs, scratch, pair, origin, passthrough=False, upstream_port=None):
        self.port = free_port()
        name = f"nginx-{self.port}"
        upstream_port = upstream_port or (origin.tls_port if passthrough else origin.port)
        if passthrough:
            modules = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;"
            body = f"""stream {{ server {{ listen 127.0.0.1:{self.port} reuseport;
  ssl_preread on; proxy_pass 127.0.0.1:{upstream_port}; }} }}"""
        else:
            modules = ""
            body = NGINX_HTTP.format(scratch=scratch, body=f"""
  upstream origin {{ server 127.0.0.1:{upstream_port}; keepalive 256; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{self.port} ssl http2; ssl_certificate {pair[0]};
    ssl_certificate_key {pair[1]}; ssl_session_tickets on; ssl_protocols TLSv1.2 TLSv1.3;
    http2_max_requests 1000000000;
    proxy_buffering off;
    location / {{ proxy_pass http://origin; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host; }} }}""")
        if passthrough and not pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
            raise BenchError("nginx has no stream module (package libnginx-mod-stream)")
        config = NGINX_HEAD.format(scratch=scratch, name=name, modules=modules) + body
        self._nginx = Nginx(cores()[0], scratch, name, config)
        try:
            wait_for("nginx", self._nginx, lambda: answers(self.port, HOST))
        except BaseException:
            self.close()
            raise
        self.pids = self._nginx.workers()

    def close(self):
        self._nginx.close()


class HaproxyFront:
    helpers = ()
    host = HOST

    def __init__(self, _programs, scratch, _pair, origin, passthrough=False):
        self.port = free_port()
        mode, bind, server = ("tcp", "", origin.tls_port) if passthrough else (
            "http", f" ssl crt {scratch}/pair.pem alpn h2,http/1.1", origin.port)
        config = scratch / f"haproxy-{self.port}.cfg"
        config.write_text(f"""global
  nbthread 1
  maxconn 7000
  tune.ssl.default-dh-param 2048
defaults
  mode {mode}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option splice-auto
frontend front
  bind 127.0.0.1:{self.port}{bind}
  default_backend origin
backend origin
  server origin 127.0.0.1:{server}
""")
        self._haproxy = Child(cores()[0], ["haproxy", "-db", "-f", config], scratch,
                              f"haproxy-{self.port}")
        try:
            wait_for("HAProxy", self._haproxy, lambda: answers(self.port, HOST))
        except BaseException:
            self.close()
            raise
        self.pids = [self._haproxy.pid]

    def close(self):
        self._haproxy.close()


class Sshd:
    """An sshd that lets this user in by key and forward ports."""

    def __init__(self, scratch):
        self.port = free_port()
        self._home = scratch / f"ssh-{self.port}"
        self._home.mkdir(mode=0o700)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._home / name],
                           check=True, timeout=30)
        (self._home / "sshd_config").write_text(f"""ListenAddress 127.0.0.1
Port {self.port}
HostKey {self._home}/host
AuthorizedKeysFile {self._home}/user.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
AllowTcpForwarding yes
MaxStartups 100
""")
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._sshd = Child(cores()[0],
                           ["/usr/sbin/sshd", "-D", "-e", "-f", self._home / "sshd_config"],
                           scratch, f"sshd-{self.port}")

    def command(self, forwards, *more):
        """The ssh that asks for forwards, each a port of the server and one here."""
        return ["ssh", "-N", "-p", self.port, "-i", self._home / "user", "-o",
                "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                "ExitOnForwardFailure=yes", "-o", "ConnectionAttempts=20", *more,
                *(f"-R127.0.0.1:{there}:127.0.0.1:{here}" for there, here in forwards),
                f"{os.environ.get('USER', 'root')}@127.0.0.1"]

    def sessions(self):
        found = children(self._sshd.pid)
        return found + [grandchild for child in found for grandchild in children(child)]

    def close(self):
        self._sshd.close()


class SshFront:
    """nginx terminating TLS on the server's side of `ssh -R`."""

    host = HOST

    def __init__(self, programs, scratch, pair, origin):
        self.back_port = free_port()
        self._sshd = Sshd(scratch)
        self._client = self._nginx = None
        try:
            self._client = Child(cores()[1], self._sshd.command([(self.back_port, origin.port)]),
                                 scratch, f"ssh-client-{self._sshd.port}")
            wait_for("ssh -R", self._client,
                     lambda: answers(self.back_port, HOST, scheme="http"))
            self._nginx = NginxFront(programs, scratch, pair, origin, upstream_port=self.back_port)
        except BaseException:
            self.close()
            raise
        self.port = self._nginx.port
        self.pids = [*self._nginx.pids, *self._sshd.sessions()]
        self.helpers = [self._client.pid]

    def close(self):
        for child in (self._nginx, self._client, self._sshd):
            if child:
                child.close()


class SpliceFloor:
    """The loop that lets the kernel move a connection's bytes: nothing to encrypt, nothing to see."""

    helpers = ()
    host = HOST

    def __init__(self, programs, scratch, _pair, origin, passthrough=True):
        if not passthrough:
            raise BenchError("the splice loop only passes through")
        self.port = free_port()
        self._loop = Child(cores()[0], [programs.splice, self.port, origin.tls_port], scratch,
                           f"splice-{self.port}")
        try:
            wait_for("the splice loop", self._loop, lambda: answers(self.port, HOST))
        except BaseException:
            self.close()
            raise
        self.pids = [self._loop.pid]

    def close(self):
        self._loop.close()


class PassageFloor(Weir):
    """What the wire allows: the loop that does for a tunnel passed through what it has to."""

    def _start_engine(self, programs, scratch, pair, _workers):
        self.port, self._engine_port = free_port(), free_port()
        self._engine = Child(cores()[0], [programs.passage, self.port, self._engine_port, *pair,
                                          self.host], scratch, f"passage-{self.port}")
        wait_for("the TLS loop", self._engine, lambda: listens(self._engine_port))


KINDS = {"weir": Weir, "splice": SpliceFloor, "passage": PassageFloor, "forward": Forward, "nginx": NginxFront, "haproxy": HaproxyFront,
         "openssh": SshFront}


@contextlib.contextmanager
def front(kind, *arguments, **options):
    opened = KINDS[kind](*arguments, **options)
    try:
        yield opened
    finally:
        opened.close()
