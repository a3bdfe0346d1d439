# SPDX-License-Identifier: Apache-2.0
"""Things to check: real servers on loopback, and sockets that behave badly on purpose."""
import datetime
import errno
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time

from lib.wait import eventually


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A foreign server; stop() ends it."""

    def __init__(self, args, port, **kwargs):
        self.port = port
        self.process = subprocess.Popen(
            [str(a) for a in args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **kwargs,
        )
        eventually(lambda: self.process.poll() is not None or accepts(port), f"{args[0]} listens")
        assert self.process.poll() is None, args

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def nginx(directory, tls=None):
    """200 on /ok with the body "fine, thanks"; 503 on /sick; / sends to /ok; /slow takes 2 s."""
    port = free_port()
    listen = f"listen 127.0.0.1:{port}"
    if tls:
        listen += f" ssl; ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}"
    config = directory / f"nginx-{port}.conf"
    config.write_text(
        f"""daemon off; master_process off; pid {directory}/nginx-{port}.pid; error_log stderr;
events {{}}
http {{ access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
server {{ {listen};
  location = /ok {{ return 200 "fine, thanks\\n"; }}
  location = /sick {{ return 503; }}
  location = / {{ return 302 /ok; }}
  location = /echo {{ return 200 "$request_method $http_x_key $http_user_agent $http_accept $http_connection\\n"; }}
}} }}
"""
    )
    return Program(["/usr/sbin/nginx", "-c", config], port)


def redis(directory):
    port = free_port()
    args = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", directory]
    return Program(args, port)


def postgres(directory):
    """A cluster in directory, run by the user postgres."""
    port = free_port()
    tools = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    data = directory / "postgres"
    data.mkdir()
    for path in (data, directory):
        shutil.chown(path, "postgres")
    for parent in directory.parents:
        if parent.owner() == "root" and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    subprocess.run(
        ["runuser", "-u", "postgres", "--", tools / "initdb", "-D", data, "--no-sync", "-A", "trust"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    args = ["runuser", "-u", "postgres", "--", tools / "postgres", "-D", data, "-p", port]
    args += ["-k", "", "-h", "127.0.0.1", "-F"]
    return Program(args, port)


class Sshd(Program):
    """An sshd for root with a key of its own, at 127.0.0.1 and so many addresses from there on, and
    `path`: a directory with an ssh that trusts it."""

    def __init__(self, directory, hosts=1):
        addresses = [f"127.0.0.{i + 1}" for i in range(hosts)]
        for name in ("host", "user"):
            key = directory / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        port = free_port()
        self.key = directory / "user"
        (directory / "authorized").write_bytes((directory / "user.pub").read_bytes())
        (directory / "authorized").chmod(0o600)
        (directory / "sshd.conf").write_text(
            "".join(f"ListenAddress {address}:{port}\n" for address in addresses)
            + f"""Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 200
"""
        )
        kind, key = (directory / "host.pub").read_text().split()[:2]
        known = "".join(f"[{address}]:{port} {kind} {key}\n" for address in addresses)
        (directory / "known").write_text(known)
        (directory / "ssh.conf").write_text(
            f"UserKnownHostsFile {directory}/known\nIdentitiesOnly yes\n"
        )
        self.path = directory / "bin"
        self.path.mkdir()
        wrapper = self.path / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {directory}/ssh.conf -o ConnectTimeout=60 "$@"\n')
        wrapper.chmod(0o755)
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.directory = directory
        self.log = directory / "sshd.log"
        self._start(port)

    def _start(self, port):
        super().__init__(
            ["/usr/sbin/sshd", "-D", "-E", self.log, "-f", self.directory / "sshd.conf"], port)

    def new_host_key(self):
        """After stop: it comes back as somebody else."""
        for name in ("host", "host.pub"):
            (self.directory / name).unlink()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / "host"],
                       check=True)
        self._start(self.port)

    def logins(self):
        return self.log.read_text().count("Accepted publickey")


class BadServer:
    """Accepts, and then does what `behave(connection)` does, on a thread per connection."""

    def __init__(self, behave, tls=None):
        self.behave = behave
        self.tls = tls
        self.connections = []
        self.accepted = 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            self.accepted += 1
            self.connections.append(connection)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self.behave(connection)
        except OSError:
            pass

    def stop(self):
        self.socket.close()
        for connection in self.connections:
            connection.close()


def never_answers(connection):
    connection.recv(65536)
    threading.Event().wait(60)


def trickles(connection):
    """A byte of the head now and then: every pause is short, the whole is endless."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def trickles_body(connection):
    """The head at once; the body never ends."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def resets(connection):
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closes(connection):
    connection.recv(65536)
    connection.close()


def says(*pieces):
    """Each piece in a segment of its own, and then the end."""
    def behave(connection):
        connection.recv(65536)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)
        connection.close()
    return behave


def talks_nonsense(connection):
    connection.recv(65536)
    connection.sendall(b"220 mail.example ESMTP\r\n")
    connection.close()


class Deaf:
    """A port of 127.0.0.1 whose queue is full: nobody is refused, and nobody gets in."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.socket.getsockname()[1]
        self.waiting = []
        # The kernel lets one more in than it was asked for.
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", self.port))
            self.waiting.append(client)

    def stop(self):
        for one in (*self.waiting, self.socket):
            one.close()


def expired(authority, days):
    """A TLS context with a certificate that ended so many days ago."""
    end = datetime.datetime.utcnow() - datetime.timedelta(days=days, hours=1)
    cert, key = authority.issue("localhost", stem=f"expired-{days}", not_after=end)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def dead_pid():
    """An id that was a process's, and is nobody's now."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def run_with_file(mine, place, args, env):
    """Runs a program that finds a file of ours where the system has its own."""
    script = f'mount --bind "$0" {place} && exec "$@"'
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, mine, *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class SilentNameServer:
    """Takes questions and gives no answer; run() runs a program that knows no other name server.
    There is one at a time on a machine: a second one waits for the first one's end."""

    def __init__(self):
        self.asked = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        eventually(self._bind, "port 53 of 127.0.53.53 is free", 60)
        self.thread = threading.Thread(target=self._count, daemon=True)
        self.thread.start()

    def _bind(self):
        try:
            self.socket.bind(("127.0.53.53", 53))
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise
            return False
        return True

    def _count(self):
        try:
            while self.socket.recv(4096):
                self.asked += 1
        except OSError:
            pass

    def run(self, args, env, directory):
        known = directory / "resolv.conf"
        known.write_text("nameserver 127.0.53.53\n")
        return run_with_file(known, "/etc/resolv.conf", args, env)

    def stop(self):
        # While a thread waits in it a closed socket keeps its port.
        self.socket.sendto(b"", ("127.0.53.53", 53))
        self.thread.join(10)
        self.socket.close()
