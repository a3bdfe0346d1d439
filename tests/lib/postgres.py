# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL that tests start, end, and look into."""
import contextlib
import pathlib
import subprocess
import tempfile

import psycopg2

from lib import targets
from lib.wait import eventually


class Database:
    """A cluster of the module's, that can be ended and started again on its port."""

    def __init__(self, directory):
        self.server = targets.postgres(directory)
        self.args = self.server.process.args
        self.port = self.server.port
        self.made = 0
        self.wait()

    def wait(self):
        """It listens before it takes sessions."""
        def takes_sessions():
            try:
                self.connection("postgres").close()
            except psycopg2.OperationalError:
                return False
            return True

        eventually(takes_sessions, "a server that takes sessions", 30)

    def new(self):
        """The URL of an empty database."""
        self.made += 1
        name = f"weir{self.made}"
        self.ask("/postgres", f"CREATE DATABASE {name}")
        return f"postgresql://postgres@localhost:{self.port}/{name}"

    def connection(self, name):
        conn = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=name, connect_timeout=10
        )
        conn.autocommit = True
        return conn

    def ask(self, url, text, *values):
        conn = self.connection(url.rsplit("/", 1)[1])
        try:
            cursor = conn.cursor()
            cursor.execute(text, values or None)
            return cursor.fetchall() if cursor.description else []
        finally:
            conn.close()

    def stop(self):
        """At once, whoever is connected."""
        tool = pathlib.Path(self.args[self.args.index("-D") - 1]).parent / "pg_ctl"
        subprocess.run(
            ["runuser", "-u", "postgres", "--", tool, "stop", "-m", "fast", "-D",
             self.args[self.args.index("-D") + 1]],
            check=True, stdout=subprocess.DEVNULL,
        )
        self.server.process.wait(30)

    def cut(self, name):
        """Ends every session of a database, as an administrator does."""
        self.ask(
            "/postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name,
        )

    def start(self):
        self.server = targets.Program(self.args, self.port)
        self.wait()


@contextlib.contextmanager
def running():
    # Not below pytest's own directory: another run closes that to other users at its start.
    with tempfile.TemporaryDirectory(prefix="weir-postgres-") as directory:
        cluster = Database(pathlib.Path(directory))
        yield cluster
        cluster.stop()
