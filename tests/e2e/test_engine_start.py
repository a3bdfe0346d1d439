# SPDX-License-Identifier: Apache-2.0
"""Starts that go wrong, or nearly: what a person is told."""
import os
import signal
import socket
import subprocess

import pytest

from lib import weir
from lib.engine import Engine, free_port
from lib.wait import eventually


@pytest.fixture
def config(authority, tmp_path):
    """The file of an engine, which does not run any more; and the port in it."""
    engine = Engine(authority, tmp_path)
    engine.stop()
    port = free_port()
    engine.write_config(tls={"listen_addr": f"127.0.0.1:{port}"})
    return engine.config, port


def launch(path, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [weir.binary(), "engine", "-c", str(path)], env=weir.base_environment(), **options
    )


def ends(process):
    """SIGTERM; exit code and standard error."""
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=20)
    return process.returncode, error.decode()


def test_two_on_one_port_are_told(config):
    path, port = config
    first, second = launch(path), None
    try:
        log = weir.Log(first.stdout)
        log.wait("engine_started")
        second = launch(path)
        other = weir.Log(second.stdout)
        other.wait("engine_started")
        shared = other.all("listen_shared")
        assert shared[0]["details"]["port"] == port
        assert len(shared) == 2  # the port of metrics, too
        assert not log.all("listen_shared")
    finally:
        for process in (first, second):
            if process is not None:
                process.terminate()
                assert process.wait(20) == 0
                process.stderr.close()


def test_an_address_of_another_machine(config):
    path, _ = config
    result = weir.run("engine", "-c", str(path), "--listen", "192.0.2.1:443")
    assert result.returncode == 1
    assert result.stderr == (
        "weir: cannot listen on 192.0.2.1 port 443: it is no address of this machine\n"
    )


def test_a_log_that_cannot_be_written_is_told_once(config):
    path, port = config
    with open("/dev/full", "wb") as full:
        process = launch(path, stdout=full)
    address = ("127.0.0.1", port)
    eventually(lambda: reachable(address), "it works all the same")
    code, error = ends(process)
    assert code == 0
    assert error == "weir: the log cannot be written, and its lines are lost: no space is left\n"


def reachable(address):
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def test_without_standard_descriptors_nothing_else_takes_their_place(config):
    path, port = config

    def close_all():
        for fd in (0, 1):
            os.close(fd)

    process = launch(path, stdout=None, preexec_fn=close_all)
    eventually(lambda: reachable(("127.0.0.1", port)), "it listens")
    for fd in (0, 1):
        assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
    assert ends(process) == (0, "")
