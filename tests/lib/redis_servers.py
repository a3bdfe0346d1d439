# SPDX-License-Identifier: Apache-2.0
"""Real Redis servers, sentinels and a cluster on loopback ports, and a client that speaks RESP2."""
import os
import signal
import socket
import subprocess

from lib.targets import accepts, free_port
from lib.wait import eventually


class RedisError(Exception):
    pass


class Redis:
    """A connection. Bytes are given back as text."""

    def __init__(self, port, timeout=10):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.file = self.sock.makefile("rb")

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the Redis has gone")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == "-1" else [self.read() for _ in range(int(rest))]
        return rest

    def send(self, *words):
        parts = [str(word).encode() for word in words]
        body = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.sock.sendall(b"*%d\r\n%s" % (len(parts), body))

    def __call__(self, *words):
        self.send(*words)
        return self.read()

    def close(self):
        self.file.close()
        self.sock.close()


def free_port_pair():
    """A cluster's nodes talk to one another on a port that is higher by 10000."""
    while True:
        port = free_port()
        if port < 55000 and not accepts(port + 10000):
            return port


class Server:
    """One redis-server (or sentinel), which can be killed, stopped and started again."""

    def __init__(self, directory, *options, program="redis-server", config=None):
        self.port = free_port_pair()
        self.directory = directory / f"redis-{self.port}"
        self.directory.mkdir()
        self.program = program
        self.options = options
        self.config = config
        self.process = None
        self.start()

    def start(self):
        words = ["setpriv", "--pdeathsig", "KILL", self.program]  # it never outlives the tests
        if self.config is not None:
            path = self.directory / "redis.conf"
            if not path.exists():
                path.write_text(self.config)
            words.append(path)
        words += ["--port", self.port, "--bind", "127.0.0.1", "--dir", self.directory]
        if self.program == "redis-server":
            words += ["--save", "", "--enable-debug-command", "local"]
        self.process = subprocess.Popen(
            [str(word) for word in (*words, *self.options)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: self.process.poll() is not None or accepts(self.port), "it listens", 20)
        assert self.process.poll() is None, words

    def __call__(self, *words):
        """One command on a connection of its own."""
        connection = Redis(self.port)
        try:
            return connection(*words)
        finally:
            connection.close()

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def freeze(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        if self.process.poll() is None:
            self.thaw()
            self.kill()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


class Watched:
    """A master, its replica, and three sentinels that agree quickly."""

    def __init__(self, directory):
        self.master = Server(directory)
        self.replica = Server(directory, "--replicaof", "127.0.0.1", str(self.master.port))
        self.sentinels = []
        for _ in range(3):
            config = (f"sentinel monitor main 127.0.0.1 {self.master.port} 2\n"
                      "sentinel down-after-milliseconds main 1000\n"
                      "sentinel failover-timeout main 5000\n")
            self.sentinels.append(
                Server(directory, program="redis-sentinel", config=config))
        eventually(lambda: all(self._knows_all(one) for one in self.sentinels),
                   "the sentinels know one another", 30)

    @staticmethod
    def _knows_all(sentinel):
        words = sentinel("SENTINEL", "MASTER", "main")
        facts = dict(zip(words[::2], words[1::2]))
        return facts["num-slaves"] == "1" and facts["num-other-sentinels"] == "2"

    @property
    def url(self):
        return "redis+sentinel://" + ",".join(
            f"127.0.0.1:{one.port}" for one in self.sentinels) + "/main"

    def stop(self):
        for server in (*self.sentinels, self.replica, self.master):
            server.stop()


class Cluster:
    """Three masters; with replicas, one each."""

    def __init__(self, directory, config="", replicas=False):
        count = 6 if replicas else 3
        config = ("cluster-enabled yes\ncluster-node-timeout 1500\n"
                  f"repl-diskless-sync-delay 0\n{config}")
        self.nodes = [Server(directory, config=config) for _ in range(count)]
        made = subprocess.run(
            ["redis-cli", "--cluster", "create", *(f"127.0.0.1:{n.port}" for n in self.nodes),
             "--cluster-replicas", "1" if replicas else "0", "--cluster-yes"],
            capture_output=True, text=True, timeout=60, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        eventually(lambda: all("cluster_state:ok" in n("CLUSTER", "INFO") for n in self.nodes),
                   "the cluster is up", 30)
        eventually(lambda: all(node("ROLE")[3] == "connected" for node in self.nodes
                               if node("ROLE")[0] == "slave"), "the replicas have all", 30)

    @property
    def url(self):
        return "redis+cluster://" + ",".join(f"127.0.0.1:{n.port}" for n in self.nodes[:2])

    def owner(self, key):
        """The master that has the key's slot."""
        slot = self.nodes[0]("CLUSTER", "KEYSLOT", key)
        for first, last, master, *_ in self.nodes[0]("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(n for n in self.nodes if n.port == master[1])
        raise AssertionError(f"nobody has slot {slot}")

    def stop(self):
        for node in self.nodes:
            node.stop()
