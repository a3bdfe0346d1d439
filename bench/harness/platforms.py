# SPDX-License-Identifier: Apache-2.0
"""Two relays on one `weir platform`, over a PostgreSQL that syncs its commits, or over SQLite."""

import contextlib
import http.client
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from .procs import BenchError, cores, end, environment, free_port, pinned

INTERNAL_KEY = "internal-key-of-the-bench"


def descendants(pid):
    """The process and all below it."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for known in found:
        found += parents.get(known, [])
    return found


class Postgres:
    """A cluster with its defaults: every commit is on the disk before it is said to be."""

    def __init__(self):
        tools = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        if not tools:
            raise BenchError("there is no PostgreSQL; the Debian package is postgresql")
        self.port = free_port()
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="weir-bench-postgres-"))
        data = self._directory / "data"
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if user:
            shutil.chown(self._directory, "postgres")
        subprocess.run([*user, tools[-1] / "initdb", "-D", data, "-A", "trust", "-U", "postgres"],
                       check=True, stdout=subprocess.DEVNULL, env=environment())
        self._process = subprocess.Popen(
            pinned(cores()[0], [*user, tools[-1] / "postgres", "-D", data, "-p", self.port,
                                "-k", "", "-h", "127.0.0.1"]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment())
        self.pid = self._process.pid
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self._process)
        shutil.rmtree(self._directory, ignore_errors=True)


class PlatformWay:
    """As RedisWay."""

    def __init__(self, programs, scratch, key, database):
        self.key = key
        self._database = database
        self._port = free_port()
        variables = environment({
            "WEIR_PLATFORM_LISTEN": f"127.0.0.1:{self._port}",
            "WEIR_STATE_DIR": str(scratch / f"platform-{key}"),
            "WEIR_PLATFORM_INTERNAL_KEY": INTERNAL_KEY,
            **({"WEIR_PLATFORM_DATABASE": database.url} if database else {}),
        })
        self._process = subprocess.Popen(
            pinned(cores()[0], [programs.weir, "platform"]), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables)
        try:
            self._wait_ready()
        except BaseException:
            end(self._process)
            raise

    def _wait_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                conn = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
                conn.request("GET", "/health")
                if conn.getresponse().status == 200:
                    return
            time.sleep(0.05)
        raise BenchError("weir platform does not start")

    def settings(self):
        return {"RELAY_BACKPLANE_MODE": "server", "SERVER_URL": f"http://127.0.0.1:{self._port}",
                "RELAY_INTERNAL_KEY": INTERNAL_KEY,
                "RELAY_BUS_HMAC_KEY": "signing-key-of-the-bench",
                "RELAY_PRESENCE_SYNC_INTERVAL_MS": "20000"}

    def pids(self):
        database = descendants(self._database.pid) if self._database else []
        return [self._process.pid, *database][:15]

    def prepare(self, _seconds):
        """Nothing: presence is written when a daemon connects."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end(self._process)
