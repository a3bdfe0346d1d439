# SPDX-License-Identifier: Apache-2.0
"""The agent's command line beside an engine. No output of any command may hold a token."""
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import threading
import time

from lib import weir
from lib.wait import eventually

END_TIMEOUT_S = 20


class Running:
    """A command that goes on; its lines as they come."""

    def __init__(self, cli, args, env):
        self.cli = cli
        self.out = []
        self.err = []
        self.process = subprocess.Popen(
            cli.words(args),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.threads = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))
        stream.close()

    def events(self):
        return [json.loads(line) for line in list(self.out)]

    def wait_event(self, look, what):
        """The first object of the output for which look is true."""
        return eventually(lambda: next(filter(look, self.events()), None), what)

    def wait_type(self, kind, count=1):
        """The count-th event of this type."""
        return eventually(
            lambda: [e for e in self.events() if e.get("type") == kind][count - 1 : count], kind
        )[0]

    def wait_error(self, text):
        return eventually(lambda: next((x for x in list(self.err) if text in x), None), text)

    def end(self, number=signal.SIGTERM):
        """Ends it, if it has not ended by itself. The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self):
        code = self.process.wait(END_TIMEOUT_S)
        for thread in self.threads:
            thread.join(5)
        self.cli.judge("\n".join(self.out), "\n".join(self.err))
        return code


class Cli:
    """Commands with a home of their own. With an engine, the environment names it and a token."""

    def __init__(self, home, engine=None, name="weir", **claims):
        self.home = pathlib.Path(home)
        self.home.mkdir(exist_ok=True)
        self.name = name
        self.secrets = []
        self.running = []
        self.env = {**weir.base_environment(), "HOME": str(home), "LANG": "C.UTF-8"}
        if engine is not None:
            self.token = engine.token(**claims)
            self.secrets.append(self.token)
            self.env.update(
                {
                    "RSTREAM_ENGINE": f"127.0.0.1:{engine.port}",
                    "RSTREAM_AUTHENTICATION_TOKEN": self.token,
                    "WEIR_ENGINE_CA_FILE": engine.ca,
                    "WEIR_ENGINE_SERVER_NAME": engine.host,
                }
            )

    @property
    def config(self):
        return self.home / ".rstream" / "config.yaml"

    def words(self, args):
        if self.name == "weir":
            return [weir.binary(), *args]
        link = self.home / self.name
        if not link.exists():
            link.symlink_to(weir.binary())
        return [str(link), *args]

    def environment(self, env):
        """None takes a variable away."""
        full = {**self.env, **(env or {})}
        return {k: v for k, v in full.items() if v is not None}

    def judge(self, *texts):
        for text in texts:
            for secret in self.secrets:
                assert secret not in text, "a secret was shown"
            assert "Sanitizer" not in text and "runtime error" not in text, text

    def run(self, *args, env=None, stdin=None, cwd=None, timeout=END_TIMEOUT_S):
        done = subprocess.run(
            self.words(args),
            env=self.environment(env),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            check=False,
        )
        self.judge(done.stdout, done.stderr)
        return done

    def good(self, *args, **options):
        """The standard output of a command that went well."""
        done = self.run(*args, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bad(self, *args, **options):
        """(exit code, standard error) of one that did not."""
        done = self.run(*args, **options)
        assert done.returncode != 0 and done.stderr, done.stdout
        return done.returncode, done.stderr

    def start(self, *args, env=None):
        running = Running(self, args, self.environment(env))
        self.running.append(running)
        return running

    def on_terminal(self, *args, until, env=None, rows=24, columns=100):
        """Runs it on a terminal until that holds `until`, then Ctrl-C. (exit code, bytes)."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(self.words(args)[0], self.words(args), self.environment(env))
        os.set_blocking(fd, False)
        import fcntl  # pylint: disable=import-outside-toplevel
        import struct  # pylint: disable=import-outside-toplevel
        import termios  # pylint: disable=import-outside-toplevel

        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        seen = b""
        deadline = time.monotonic() + END_TIMEOUT_S
        interrupted = False
        while time.monotonic() < deadline:
            ready, _, _ = select.select([fd], [], [], 0.1)
            try:
                seen += os.read(fd, 65536) if ready else b""
            except OSError:
                break  # it has ended
            if not interrupted and until(seen):
                os.write(fd, b"\x03")
                interrupted = True
        _, status = os.waitpid(pid, 0)
        os.close(fd)
        self.judge(seen.decode("utf-8", "replace"))
        assert interrupted, seen
        return os.waitstatus_to_exitcode(status), seen

    def close(self):
        for running in self.running:
            running.end()
