# SPDX-License-Identifier: Apache-2.0
"""The compose files, without a Docker: what they set is what weir takes, what they mount is there, and
Prometheus and Grafana find what they are told of."""
import json
import pathlib
import re
import subprocess

import pytest
import yaml

from lib import certs, weir
from lib.compose import COMPOSE, ROOT, VARIABLES, load

FILES = sorted(path for path in COMPOSE.glob("*.yml") if "docker compose" in path.read_text())


def head(path):
    lines = path.read_text().splitlines()
    return " ".join(line[1:].strip() for line in lines[: next(i for i, x in enumerate(lines) if x[:1] != "#")])


def of_ours(path):
    """name: service, of those that run weir."""
    return {name: service for name, service in load(path)["services"].items() if "build" in service}


def relays():
    for path in FILES:
        for name, service in load(path)["services"].items():
            if any(key.startswith("RELAY_") for key in service.get("environment", {})):
                yield pytest.param(path, name, id=f"{path.stem}-{name}")


def test_there_are_files():
    assert {path.name for path in FILES} == {"all.yml", "engine.yml", "monitoring.yml", "relay.yml", "relays-redis.yml"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_they_mount_is_there(path):
    document = load(path)
    for service in document["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith("./"):
                assert source in document["volumes"]
            elif not (ROOT / source).exists():
                assert pathlib.Path(source).name in head(path), "it says what has to be beside it"
        for secret in service.get("secrets", []):
            assert document["secrets"][secret]["environment"] in VARIABLES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_they_say_to_do(path):
    said = head(path)
    assert "--project-directory . up -d" in said
    for name in re.findall(r"-f (\S+)", said):
        assert (ROOT / name).exists()
    for name in set(re.findall(r"\$\{(\w+):\?", path.read_text())):
        assert name in said, "it says what has to be in .env"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_ours_may_do(path):
    for service in of_ours(path).values():
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]
        helped = weir.run(service["command"][0], "--help")
        assert helped.stdout.startswith(f"weir {service['command'][0]}")


@pytest.mark.parametrize("path, name", relays())
def test_the_relays_take_what_is_set(path, name):
    manual = weir.run("config", "reference", "relay").stdout
    environment = load(path)["services"][name]["environment"]
    for key in environment:
        assert f"`{key}`" in manual
    if "RELAY_VALIDATE_URL" in environment:
        checked = weir.run("config", "check", "relay", env=environment)
        assert (checked.returncode, checked.stdout) == (0, "relay: fine\n"), checked.stderr
        # Another port is another machine's.
        assert load(path)["services"][name]["ports"][0].endswith(f":{environment['RELAY_LISTEN_PORT']}")


def test_the_relay_that_is_looked_at():
    """relay.yml with monitoring.yml on top of it."""
    relay = load(COMPOSE / "relay.yml")["services"]["relay"]["environment"]
    checked = weir.run(
        "config", "check", "relay", env={**relay, **load(COMPOSE / "monitoring.yml")["services"]["relay"]["environment"]})
    assert (checked.returncode, checked.stdout) == (0, "relay: fine\n"), checked.stderr


def inside(service, directory):
    """The service's files, where it mounts them, below the directory; (what was mounted)."""
    mounted = {}
    for volume in service["volumes"]:
        source, target = volume.split(":")[:2]
        if source.startswith("./") and (ROOT / source).exists():
            mounted[target] = ROOT / source
            place = directory / target.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(ROOT / source)
    return mounted


def test_all_in_one(tmp_path):
    service = load(COMPOSE / "all.yml")["services"]["weir"]
    inside(service, tmp_path)
    etc = tmp_path / "etc/weir"
    for source, name in zip(certs.Authority(tmp_path).issue("edge", hosts=("edge.example.com",)), ("engine.crt", "engine.key")):
        (etc / name).write_bytes(pathlib.Path(source).read_bytes())
    (etc / "tokens").write_text("0123456789abcdef operator\n")
    (etc / "tokens").chmod(0o600)
    text = (etc / "weir.yml").read_text()
    document = yaml.safe_load(text)
    assert {volume.split(":")[1] for volume in service["volumes"]} == {
        "/etc/weir/weir.yml", *re.findall(r"/(?:etc|var/lib)/weir\S*", text)}
    own = tmp_path / "weir.yml"
    own.write_text(re.sub(r"(?=/(?:etc|var/lib)/weir)", str(tmp_path), text))
    checked = weir.run("config", "check", "up", "-c", str(own), env=service["environment"])
    assert (checked.returncode, checked.stdout) == (0, "up: fine\n"), checked.stderr
    assert weir.run("health", "registry", "validate", "--registry", str(etc / "registry.yml")).returncode == 0
    ports = {port.split(":")[1] for port in service["ports"]}
    assert ports == {
        str(document["relay"]["listen_port"]), document["health"]["listen"].rpartition(":")[2],
        *(document["engine"][key]["listen_addr"].rpartition(":")[2] for key in ("tls", "http"))}


def test_prometheus_and_grafana_find_it(tmp_path):
    services = load(COMPOSE / "monitoring.yml")["services"]
    inside(services["prometheus"], tmp_path)
    text = (tmp_path / "etc/prometheus/prometheus.yml").read_text()
    token = tmp_path / "run/secrets/admin_token"
    token.parent.mkdir(parents=True)
    token.write_text(VARIABLES["ADMIN_TOKEN"])
    own = tmp_path / "prometheus.yml"
    own.write_text(re.sub(r"(?=/(?:etc/prometheus|run)/)", str(tmp_path), text))
    said = subprocess.run(
        ["promtool", "check", "config", str(own)], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.count(" rules found") == len(list((ROOT / "packaging/prometheus").glob("*.rules.yml")))
    port = load(COMPOSE / "relay.yml")["services"]["relay"]["environment"]["RELAY_LISTEN_PORT"]
    assert yaml.safe_load(text)["scrape_configs"][0]["static_configs"] == [{"targets": [f"relay:{port}"]}]

    mounted = inside(services["grafana"], tmp_path / "grafana")
    source = yaml.safe_load((COMPOSE / "grafana/source.yml").read_text())["datasources"][0]
    assert source["url"] == f"http://prometheus:{services['prometheus']['ports'][0].rpartition(':')[2]}"
    boards = yaml.safe_load((COMPOSE / "grafana/boards.yml").read_text())["providers"][0]["options"]["path"]
    titles = {json.loads(path.read_text())["title"] for path in mounted[boards].glob("*.json")}
    assert titles >= {"weir relay", "weir engine", "weir health"}
