# SPDX-License-Identifier: Apache-2.0
"""What the compose files start, started: the same commands with the same environment and files, as
processes on loopback, where a port is a free one and a name of a service is 127.0.0.1."""
import json
import os
import re
import signal
import subprocess
import urllib.request

import pytest
import yaml

from lib import certs, weir
from lib import frames as f
from lib.compose import COMPOSE, ROOT, load
from lib.engine import free_port
from lib.prometheus import Prometheus
from lib.wait import eventually
from lib.world import World

HEALTHCHECK = json.loads(re.search(
    r"^HEALTHCHECK.* CMD (\[.*\])$", (ROOT / "packaging/docker/Dockerfile").read_text(), re.M)[1])


class Relay(weir.Relay):
    """With what a file sets, and nothing else."""

    def __init__(self, environment, platform, **changes):
        unset = ("RELAY_BACKPLANE_MODE", "RELAY_TLS", "RELAY_ADMIN_TOKEN", "RELAY_ENABLE_ADMIN_HTTP",
                 "RELAY_UPGRADE_RATE_PER_MINUTE", "RELAY_MAX_CONNECTIONS_PER_IP")
        assert environment["RELAY_LISTEN_HOST"] == "0.0.0.0"
        super().__init__({
            **{name: None for name in unset}, **environment, "RELAY_LISTEN_HOST": "127.0.0.1",
            "RELAY_LISTEN_PORT": "0", **changes}, platform_ports=[platform.port])
        weir.live.remove(self)  # its metrics are not open to everybody

    def is_well(self):
        """As the image's HEALTHCHECK sees it."""
        return subprocess.run(
            [weir.binary(), *HEALTHCHECK[1:]], env={**self.env, "RELAY_LISTEN_PORT": str(self.port)},
            capture_output=True, timeout=20, check=False).returncode == 0


@pytest.fixture(name="admits")
def admits_fixture(platform):
    """Variables of .env: who admits is the stub."""
    return {"VALIDATE_URL": f"{platform.origin}/api/runtime/internal/relay/validate",
            "TRUSTED_PROXIES": "127.0.0.0/8"}


def meet(daemons, clients):
    daemon = daemons.join("workspace-daemon", "ws", "rt")
    client = clients.join("client", "ws", "rt")

    def crosses():
        client.send(f.text(f.e2ee()))
        return daemon.recv_text() == f.text(f.e2ee())

    eventually(crosses, "a frame", 20)
    daemon.close()
    client.close()


def test_one_relay_and_who_looks_at_it(platform, admits, tmp_path):
    """relay.yml with monitoring.yml on top; Prometheus is a real one with the prometheus.yml that is mounted."""
    environment = load(COMPOSE / "relay.yml", **admits)["services"]["relay"]["environment"]
    monitoring = load(COMPOSE / "monitoring.yml", **admits)
    more = monitoring["services"]["relay"]["environment"]
    relay = Relay({**environment, **more}, platform)
    try:
        assert relay.is_well()
        meet(World(relay, platform), World(relay, platform))
        (tmp_path / "admin_token").write_text(more["RELAY_ADMIN_TOKEN"])
        mounts = dict(volume.split(":")[1::-1] for volume in monitoring["services"]["prometheus"]["volumes"])
        text = (ROOT / mounts["/etc/prometheus/prometheus.yml"]).read_text()
        for target, source in mounts.items():
            text = text.replace(target, str(ROOT / source)) if source.startswith("./") else text
        text = text.replace("/run/secrets/admin_token", str(tmp_path / "admin_token"))
        text = text.replace("scrape_interval: 15s", "scrape_interval: 1s")
        port = environment["RELAY_LISTEN_PORT"]
        assert text.count(f"relay:{port}") == 1
        prometheus = Prometheus(tmp_path, config=text.replace(f"relay:{port}", f"127.0.0.1:{relay.port}"))
        try:
            eventually(lambda: prometheus.value('up{job="weir-relay"}') == 1, "it is scraped", 30)
            eventually(lambda: prometheus.value("relay_handshakes_total"), "it tells", 30)
            files = {group["file"].rpartition("/")[2] for group in prometheus.get("rules")["groups"]}
            assert files == {path.name for path in (ROOT / "packaging/prometheus").glob("*.rules.yml")}
        finally:
            prometheus.stop()
    finally:
        relay.stop()
    assert not relay.is_well()


def test_two_relays_and_their_redis(platform, admits, tmp_path):
    services = load(COMPOSE / "relays-redis.yml", **admits)["services"]
    port = free_port()
    redis = subprocess.Popen(
        [*services["redis"]["command"], "--port", str(port), "--bind", "127.0.0.1"], cwd=tmp_path,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    relays = []
    try:
        check = services["redis"]["healthcheck"]["test"]
        assert check[0] == "CMD"
        ping = [check[1], "-p", str(port), *check[2:]]
        eventually(lambda: b"PONG" in subprocess.run(
            ping, capture_output=True, timeout=20, check=False).stdout, "Redis", 30)
        for name in ("relay-1", "relay-2"):
            environment = services[name]["environment"]
            url = environment["RELAY_BACKPLANE_URL"]
            assert url.startswith("redis://redis:6379/")
            relays.append(Relay(environment, platform, RELAY_BACKPLANE_URL=url.replace(
                "redis:6379", f"127.0.0.1:{port}")))
            assert relays[-1].is_well()
        meet(*(World(relay, platform) for relay in relays))
    finally:
        for relay in relays:
            relay.stop()
        redis.terminate()
        redis.wait(20)


def on_loopback(text, directory, ports):
    """Paths below the directory; ports that are free."""
    text = re.sub(r"(?<![\w])/(etc|var/lib)/weir", rf"{directory}/\1/weir", text)
    text = text.replace("0.0.0.0", "127.0.0.1").replace("[::]", "127.0.0.1")
    for port, free in ports.items():
        text = re.sub(rf"\b{port}\b", str(free), text)
    return text


def mounted(service, directory, host, ports):
    """Everything that the service mounts: what lies in the tree, and what has to be beside the file."""
    etc = directory / "etc/weir"
    etc.mkdir(parents=True)
    (directory / "var/lib").mkdir(parents=True)
    cert, key = certs.Authority(directory).issue(host, hosts=(host, f"*.t.{host}"))
    beside = {"engine.crt": cert.read_text(), "engine.key": key.read_text(),
              "tokens": "0123456789abcdef operator\n",
              "engine.yml": (ROOT / "packaging/examples/engine.yml").read_text()}
    for volume in service["volumes"]:
        source, target = volume.split(":")[:2]
        if source.startswith("./"):
            text = (ROOT / source).read_text() if (ROOT / source).is_file() else beside[source[2:]]
            place = directory / target[1:]
            place.write_text(on_loopback(text, directory, ports))
            place.chmod(0o600)


class Service:
    """A service of a file that is not a relay alone."""

    def __init__(self, service, directory, ports):
        command = [on_loopback(word, directory, ports) for word in service["command"]]
        environment = {name: on_loopback(value, directory, ports)
                       for name, value in service["environment"].items()}
        self.process = subprocess.Popen(
            [weir.binary(), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**weir.base_environment(), "WEIR_STATE_DIR": str(directory / "var/lib/weir"), **environment})
        self.log = weir.Log(self.process.stdout)
        self.check = [on_loopback(word, directory, ports) for word in service["healthcheck"]["test"]]
        assert self.check.pop(0) == "CMD"

    def is_well(self):
        return subprocess.run(
            self.check, stderr=subprocess.DEVNULL, timeout=20, check=False).returncode == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        self.process.stderr.close()


def test_all_in_one(tmp_path):
    service = load(COMPOSE / "all.yml")["services"]["weir"]
    ports = {inner.split(":")[-1]: free_port() for inner in service["ports"]}
    assert set(ports) == {"8443", "8080", "7781", "8988"}
    host = yaml.safe_load((COMPOSE / "weir.yml").read_text())["engine"]["engine"]["host"]
    mounted(service, tmp_path, host, ports)
    running = Service(service, tmp_path, ports)
    try:
        for part in ("platform", "relay", "engine", "health"):
            running.log.wait(f"{part}_started", timeout=30)
        assert running.is_well()

        def states():
            request = urllib.request.Request(
                f"http://127.0.0.1:{ports['8988']}/api/health/dashboard",
                headers={"Authorization": "Bearer 0123456789abcdef"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                return {row["service"]: row["status"] for row in json.load(answer)["services"]}

        eventually(lambda: states() == {"relay": "healthy", "engine": "healthy"}, "its own checks", 60)
        assert sorted(os.listdir(tmp_path / "var/lib")) == ["weir"], "it writes where the volume is"
    finally:
        running.stop()
    assert not running.is_well()


def test_the_engine(tmp_path):
    service = load(COMPOSE / "engine.yml")["services"]["engine"]
    ports = {**{inner.split(":")[-1]: free_port() for inner in service["ports"]}, "9090": free_port()}
    mounted(service, tmp_path, "edge.example.com", ports)
    running = Service(service, tmp_path, ports)
    try:
        running.log.wait("engine_started", timeout=30)
        assert running.is_well()
    finally:
        running.stop()
    assert not running.is_well()
