# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in weir run with its inspector, and in weir dial.
Whatever N is, it does what it should or says why not, and ends; nothing leaks."""
import http.client
import subprocess

import pytest

from lib import weir
from lib.docker import Docker, container
from lib.wait import eventually
from test_cli_faults import NAMES, sweep
from test_cli_run import (  # noqa: F401
    Running,
    access,
    environment,
    private,
    service,
    start,
    tunnels,
    web,
)


@pytest.mark.parametrize("name", NAMES)
def test_check(tmp_path, name):
    path = tunnels(tmp_path / "t.yml", web("a", 80), web("b", 81, labels={"x": "y"}))

    def run(number):
        env = {name: str(number), "RSTREAM_AUTHENTICATION_TOKEN": "t", "RSTREAM_CONFIG": "/none"}
        done = weir.run("run", "-c", str(path), "--check", "--engine", "edge.test", env=env)
        assert "Sanitizer" not in done.stderr, done.stderr
        return done

    sweep(name, run)


@pytest.mark.parametrize("name", NAMES)
def test_dial(engine, private, name):  # noqa: F811
    def run(number):
        done = subprocess.run(
            [weir.binary(), "dial", private, *access(engine)],
            env=environment(engine, **{name: str(number)}),
            input="hello",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0 or done.stdout in ("HELLO", ""), done
        return done

    sweep(name, run)


def look_around(engine, url):
    """What a person does: a request, the list, one of it, once more."""
    host = url.removeprefix("http://").rstrip("/")
    engine.get("sweep", timeout=5)
    for method, path in (
        ("GET", "/api/exchanges?after=0&wait=1"),
        ("GET", "/api/exchange?id=1"),
        ("GET", "/api/har"),
        ("POST", "/api/replay?id=1"),
    ):
        conn = http.client.HTTPConnection(host, timeout=5)
        conn.request(method, path, headers={"X-Weir-Inspect": "1"})
        conn.getresponse().read()
        conn.close()


@pytest.mark.parametrize("name", NAMES)
def test_docker(engine, service, tmp_path, name):  # noqa: F811
    docker = Docker(tmp_path)
    labels = {"forward": str(service.server_port), "label.a": "b", "http.version": "http/1.1"}
    labels = {f"rstream.tunnel.swept.{key}": value for key, value in labels.items()}
    docker.containers = [container("one", **labels)]

    def run(number):
        words = ("run", "--docker", "--docker-socket", docker.path)
        running = Running(engine, *words, env={name: str(number)})
        eventually(
            lambda: running.process.poll() is not None
            or running.count("online")
            or running.count("a line is missing"),
            "online, or over, if only when the question's time is up",
            timeout=30,
        )
        if running.process.poll() is None:
            running.process.terminate()
        code = running.process.wait(30)
        running.join()
        return subprocess.CompletedProcess(
            words, code, "", "\n".join(running.errors + running.lines)
        )

    sweep(name, run)
    docker.stop()


@pytest.mark.parametrize("name", NAMES)
def test_run(engine, service, tmp_path, name):  # noqa: F811
    path = tunnels(tmp_path / "t.yml", web("sweep", service.server_port))

    def run(number):
        words = ("run", "-c", str(path), "--inspect=0", "--watch")
        running = Running(engine, *words, env={name: str(number)})
        eventually(
            lambda: running.process.poll() is not None
            or running.count("online")
            or running.count("stopped")
            or running.count("a line is missing"),
            "online, over, or waiting for another file",
        )
        urls = [line.split()[-1] for line in running.errors if "inspector at" in line]
        if running.process.poll() is None and urls:
            try:
                look_around(engine, urls[0])
            except (OSError, EOFError, IndexError, ValueError, http.client.HTTPException):
                pass  # the call that failed was this one's
        if running.process.poll() is None:
            running.process.terminate()
        code = running.process.wait(30)
        running.join()
        return subprocess.CompletedProcess(
            words, code, "\n".join(running.lines), "\n".join(running.errors + running.lines)
        )

    sweep(name, run)
