# SPDX-License-Identifier: Apache-2.0
"""Sockets that are passed by a service manager, and what it is told (docs/operations.md)."""
import http.client
import signal
import subprocess

import pytest

from lib import tls, weir
from lib.crowd import Crowd
from lib.engine import Engine, free_port
from lib.manager import Manager, listening

RELAY_ENV = {"RELAY_TLS": "0", "RELAY_BACKPLANE_MODE": "single"}


@pytest.fixture
def manage(tmp_path):
    made, running = [], []

    def begin(*sockets):
        directory = tmp_path / f"manager{len(made)}"
        directory.mkdir()
        made.append(Manager(directory, *sockets))
        launch = made[-1].start

        def start(*args, **kwargs):
            running.append(launch(*args, **kwargs))
            return running[-1]

        made[-1].start = start
        return made[-1]

    yield begin
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()
    for one in made:
        one.close()


def relay_env(platform, port, **more):
    return {
        **RELAY_ENV, "SERVER_URL": platform.origin, "RELAY_LISTEN_PORT": str(port),
        "RELAY_LISTEN_HOST": "127.0.0.1", **more,
    }


def status(port, path="/health"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def ends(process):
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=weir.STOP_TIMEOUT_S)[1]
    assert process.returncode == 0, errors


def test_a_relay_tells_how_it_is(manage, platform):
    made = listening()
    port = made.getsockname()[1]
    manager = manage(("relay", made))
    process = manager.start("relay", "--workers", "2", env=relay_env(platform, port))
    assert manager.hears() == ["READY=1"]
    assert status(port) == 200
    process.send_signal(signal.SIGHUP)
    reloading = manager.hears()
    assert reloading[0] == "RELOADING=1" and reloading[1].startswith("MONOTONIC_USEC=")
    assert manager.hears() == ["READY=1"]
    ends(process)
    assert manager.hears() == ["STOPPING=1"]


def test_a_restart_with_passed_sockets_refuses_nobody(manage, platform):
    """Without a second process: who comes meanwhile waits in the kernel."""
    made = listening()
    port = made.getsockname()[1]
    manager = manage(("relay", made))

    def start():
        process = manager.start("relay", "--workers", "2", env=relay_env(platform, port))
        while manager.hears() != ["READY=1"]:
            pass
        return process

    def visit():
        assert status(port) in (200, 503)

    process = start()
    crowd = Crowd(visit)
    try:
        for _ in range(3):
            ends(process)
            process = start()
    finally:
        crowd.stop()
    assert crowd.failures == []
    assert crowd.done > 0
    ends(process)


def test_sockets_of_a_group_go_to_one_worker_each(manage, platform):
    first = listening(shared=True)
    port = first.getsockname()[1]
    manager = manage(("relay", first), ("relay", listening(port, shared=True)))
    process = manager.start("relay", "--workers", "2", env=relay_env(platform, port))
    assert manager.hears() == ["READY=1"]
    for _ in range(20):  # the kernel spreads them over both
        assert status(port) == 200
    ends(process)


def refusal(manager, env):
    process = manager.start("relay", "--workers", "1", env=env)
    errors = process.communicate(timeout=20)[1].decode()
    assert process.returncode == 1
    return errors


def test_more_sockets_than_workers(manage, platform):
    first = listening(shared=True)
    port = first.getsockname()[1]
    manager = manage(("relay", first), ("relay", listening(port, shared=True)))
    assert refusal(manager, relay_env(platform, port)) == (
        'weir: 2 sockets were passed for "relay" and there are 1 workers, who take one each; pass '
        "fewer, or set the number of workers\n"
    )


def test_a_socket_elsewhere_than_configured(manage, platform):
    made = listening()
    port = made.getsockname()[1]
    errors = refusal(manage(("relay", made)), relay_env(platform, 7781))
    assert errors == (
        f'weir: the socket passed as "relay" listens on 127.0.0.1 port {port}, the configuration '
        "says 127.0.0.1 port 7781: make them the same\n"
    )


def test_what_does_not_listen(manage, platform):
    made = listening()
    made.close()
    pair = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)
    try:
        manager = manage(("relay", pair.stdin))
        errors = refusal(manager, relay_env(platform, 7781))
    finally:
        pair.kill()
        pair.wait(5)
        pair.stdin.close()
    assert errors == 'weir: what was passed as "relay" is no TCP socket that listens\n'


def test_a_name_that_nobody_knows_is_told(manage, platform):
    manager = manage(("rellay", listening()))
    process = manager.start("relay", "--workers", "1", env=relay_env(platform, 0))
    log = weir.Log(process.stdout)
    assert log.wait("relay_started")
    told = [line["details"].get("name") for line in log.all("config_warning")]
    assert "rellay" in told
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_sockets_meant_for_another_process(platform):
    """LISTEN_PID says who is meant, and a child of that one is not."""
    passed = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "relay"}
    with weir.Relay({**relay_env(platform, 0), **passed}, 1) as relay:
        assert status(relay.port) == 200
        assert not relay.log.all("config_warning")


def test_a_monitor(manage, lab):
    lab.write({})
    made = listening()
    port = made.getsockname()[1]
    manager = manage(("health", made))
    process = manager.start(
        "health", "serve", "--registry", lab.directory / "registry.yml",
        "--listen", f"127.0.0.1:{port}", env=lab.env)
    assert manager.hears() == ["READY=1"]
    assert status(port, "/api/health") == 200
    ends(process)


def test_an_engine(manage, authority, tmp_path):
    """All three of its listeners, on the ports of one that made them itself."""
    settings = {"http": {"enabled": True, "listen_addr": f"127.0.0.1:{free_port()}"}}
    own = Engine(authority, tmp_path, settings)
    own.stop()
    names = ("engine", "engine-http", "engine-metrics")
    ports = (own.port, own.http_port, own.metrics_port)
    manager = manage(*((name, listening(port)) for name, port in zip(names, ports)))
    process = manager.start("engine", "-c", own.config, "--listen", f"127.0.0.1:{own.port}")
    assert manager.hears() == ["READY=1"]
    assert status(own.metrics_port, "/metrics") == 200
    assert status(own.http_port) == 421
    pipe = tls.Pipe(own.address, own.host, own.ca)
    pipe.close()
    ends(process)
