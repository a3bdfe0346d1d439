# SPDX-License-Identifier: Apache-2.0
"""weir run --docker: tunnels by labels of containers (engine spec, section 11.6). Docker is a stub on a
Unix socket."""
import json
import signal
import urllib.parse

import pytest

from lib import weir
from lib.docker import Docker, container
from lib.wait import eventually
from test_cli_run import body, serve, service, start  # noqa: F401


@pytest.fixture
def docker(tmp_path):
    running = Docker(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def run(docker, start):  # noqa: F811
    def starter(*flags):
        return start("run", "--docker", "--docker-socket", f"unix://{docker.path}", *flags)

    return starter


def labels(tunnel, **more):
    """forward=..., http__version=..., label__x=...: __ for the dot, _ for the dash."""
    return {
        f"rstream.tunnel.{tunnel}.{key.replace('__', '.').replace('_', '-')}": str(value)
        for key, value in more.items()
    }


def web(name, port, **more):
    return container(name, **labels(name, forward=port, host=name, **more))


def test_containers_come_and_go(engine, docker, run, service):  # noqa: F811
    docker.containers = [web("dock-a", service.server_port)]
    running = run("--watch")
    running.wait_line(f"dock-a: online: https://dock-a.t.{engine.host}")
    assert body(engine, "dock-a") == (200, "one GET / ")
    eventually(lambda: docker.followers, "it is followed")
    docker.changed(web("dock-a", service.server_port), web("dock-b", service.server_port))
    running.wait_line("dock-b: online")
    assert body(engine, "dock-b") == (200, "one GET / ")
    docker.changed(web("dock-b", service.server_port))
    running.wait_line("dock-a: closed")
    eventually(lambda: body(engine, "dock-a")[0] == 404, "it has gone")
    docker.changed()
    running.wait_line("dock-b: closed")
    docker.changed(web("dock-c", service.server_port))
    running.wait_line("dock-c: online")
    assert running.count("dock-b:") == 3, "connecting, online, closed"
    running.stop()


def test_what_is_asked(docker, run):
    docker.containers = [web("dock-q", 80)]
    running = run("--watch")
    running.wait_line("dock-q: online")
    eventually(lambda: docker.followers, "it is followed")
    assert docker.asked[0] == "/containers/json"
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(docker.asked[1]).query)
    assert int(query["since"][0]) > 1_000_000_000
    filters = json.loads(query["filters"][0])
    assert set(filters["type"]) == {"container", "network"}
    assert {"start", "die", "connect", "disconnect"} <= set(filters["event"])
    running.stop()


def test_every_label(engine, docker, run):
    docker.containers = [
        container(
            "all",
            **labels(
                "dock-all",
                forward="127.0.0.1:81",
                protocol="http",
                type="bytestream",
                host="dock-all",
                upstream_tls="false",
                http__version="http/1.1",
                http__auth__token="false",
                label__team="shop ${HOME}",
                label__a__b="dotted",
            ),
        ),
        container("private", **labels("dock-private", forward=82, publish="false")),
    ]
    running = run()
    assert "-> 127.0.0.1:81" in running.wait_line("dock-all: online")
    running.wait_line("dock-private: online: rstrm://dock-private")
    answer = engine.curl(
        engine.host, "/api/tunnels", "-H", f"Authorization: Bearer {engine.token()}"
    )
    found = {one["name"]: one for one in json.loads(answer.stdout)}
    assert found["dock-all"]["labels"] == {
        "team": "shop ${HOME}",
        "a.b": "dotted",
        "rstream.managed-by": "run",
        "rstream.source": "docker",
    }, "and no variable of ours"
    assert found["dock-all"]["http_version"] == "http/1.1"
    assert found["dock-private"].get("publish", False) is False
    running.stop()


def test_one_that_is_wrong_stops_no_other(docker, run, service):  # noqa: F811
    docker.containers = [
        web("dock-late", service.server_port),
        container("twin", **labels("dock-good", forward=80)),  # the newer of the two
        container("typo", **labels("dock-typo", forwrad=80)),
        container("bad", **labels("dock-bad", forward=80, protocol="gopher")),
        container("nowhere", ip="", **labels("dock-nowhere", forward=80)),
        container("chooser", **{"rstream.context": "x", **labels("dock-x", forward=80)}),
        container("host", network="host", ip="", **labels("dock-host", forward=80)),
        container("other", **{"com.example": "y", "rstream.tunnel.short": "z"}),
        web("dock-good", service.server_port),
    ]
    running = run()
    for name in ("dock-good", "dock-late", "dock-host"):
        running.wait_line(f"{name}: online")
    running.wait_line("container twin: tunnel dock-good is another container's, too")
    assert "did you mean forward?" in running.wait_line("container typo: ")
    assert "gopher" in running.wait_line("container bad: ")
    assert "no address" in running.wait_line("container nowhere: ")
    assert "--docker-allow-context-labels" in running.wait_line("container chooser: ")
    assert running.count("container other") == 0
    running.stop()


def test_a_hangup_asks_again(docker, run, service):  # noqa: F811
    docker.containers = [web("dock-h", service.server_port)]
    running = run()
    running.wait_line("dock-h: online")
    assert not docker.followers
    docker.containers = [web("dock-i", service.server_port)]
    running.process.send_signal(signal.SIGHUP)
    running.wait_line("dock-i: online")
    running.wait_line("dock-h: closed")
    running.stop()


def test_docker_is_restarted(docker, run, service):  # noqa: F811
    docker.containers = [web("dock-r", service.server_port)]
    running = run("--watch")
    running.wait_line("dock-r: online")
    eventually(lambda: docker.followers, "it is followed")
    docker.stop()
    assert "again in" in running.wait_line("following it")
    docker.containers = [web("dock-r", service.server_port), web("dock-s", service.server_port)]
    docker.start()
    running.wait_line("dock-s: online")
    assert running.count("dock-r:") == 2, "nothing happened to it"
    running.stop()


def test_contexts(docker, run, tmp_path, engine, service):  # noqa: F811
    """Of a container that may choose, and by default: names of the configuration file."""
    del engine
    docker.containers = [
        container("chooser", **{"rstream.context": "nix", **labels("dock-n", forward=80)})
    ]
    running = run("--docker-allow-context-labels")
    assert 'context "nix" not found' in running.wait_line("container chooser: ")
    assert running.process.wait(20) == 1, "nothing is left to run"
    docker.containers = [web("dock-m", service.server_port)]
    running = run("--docker-default-context", "nax")
    assert 'context "nax" not found' in running.wait_line("container dock-m: ")
    assert running.process.wait(20) == 1


def test_usage(tmp_path):
    both = weir.run("run", "--docker", "-c", "x.yml")
    assert both.returncode == 64
    assert weir.run("run", "--docker", "--check").returncode == 64


def test_nobody_is_there(start, tmp_path):  # noqa: F811
    running = start("run", "--docker", "--docker-socket", str(tmp_path / "none"))
    running.wait_line("the list of containers")
    assert running.process.wait(20) == 1


def test_something_else_is_there(docker, run):
    docker.containers = {"message": "no"}
    running = run()
    running.wait_line("is no engine of containers")
    assert running.process.wait(20) == 1
