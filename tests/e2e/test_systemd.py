# SPDX-License-Identifier: Apache-2.0
"""The units of packaging/systemd: what systemd says of them, and that they mean what weir means."""
import pathlib
import re
import signal
import socket
import subprocess

import pytest

from lib import weir
from lib.engine import Engine, free_port
from lib.manager import Manager, listening

UNITS = pathlib.Path(__file__).resolve().parents[2] / "packaging/systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
SOCKETS = sorted(path.name for path in UNITS.glob("*.socket"))


def settings(name):
    """(key, value) of a unit, in their order."""
    lines = (UNITS / name).read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if re.match(r"[A-Z]\w+=", line)]


def of(name, key):
    return [value for k, value in settings(name) if k == key]


@pytest.mark.parametrize("name", SERVICES)
def test_exposure(name):
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS / name)],
        capture_output=True, text=True, timeout=60, check=False)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert level, said.stderr
    assert float(level[1]) < 2.0


def test_systemd_understands_them(tmp_path):
    for path in UNITS.glob("weir*.*"):
        text = path.read_text().replace("/usr/bin/weir", weir.binary())
        (tmp_path / path.name).write_text(text)
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *SERVICES, *SOCKETS],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in said.stderr.splitlines() if "weir" in line]
    assert (said.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", SERVICES)
def test_what_all_have(name):
    assert of(name, "Type") == ["notify"]
    assert of(name, "User") == ["weir"]
    assert of(name, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    assert of(name, "ExecStart")[0].startswith("/usr/bin/weir ")
    for value in of(name, "EnvironmentFile"):
        assert re.fullmatch(r"-/etc/weir/\w+\.env", value)


def variables(name):
    return dict(value.split("=", 1) for value in of(name, "Environment"))


def starts(manager, command, env):
    """As the unit would; READY=1 and a clean end."""
    process = manager.start(*command, env=env)
    try:
        assert manager.hears() == ["READY=1"]
        process.send_signal(signal.SIGHUP)
        assert manager.hears()[0] == "RELOADING=1"
        assert manager.hears() == ["READY=1"]
    finally:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=weir.STOP_TIMEOUT_S)
    assert process.returncode == 0, errors
    assert b"config_warning" not in output or b"LISTEN_FDS" not in output


def activated(name, directory):
    """A manager with the sockets of the units that are for this service; their first address."""
    passed = []
    for unit in SOCKETS:
        target = of(unit, "Service") or [unit.replace(".socket", ".service")]
        if target == [name]:
            made = listening()
            passed.append((of(unit, "FileDescriptorName")[0], made))
            address = of(unit, "ListenStream")[0]
    return Manager(directory, *passed), address


def test_the_relay_starts_as_its_unit_says(platform, tmp_path):
    manager, address = activated("weir-relay.service", tmp_path)
    env = variables("weir-relay.service")
    assert address == f"{env['RELAY_LISTEN_HOST']}:{env['RELAY_LISTEN_PORT']}"
    env["RELAY_LISTEN_PORT"] = str(manager.sockets[0][1].getsockname()[1])
    env["RELAY_VALIDATE_URL"] = f"{platform.origin}/api/runtime/internal/relay/validate"
    command = of("weir-relay.service", "ExecStart")[0].split()[1:]
    check = of("weir-relay.service", "ExecStartPre")[0].split()[1:]
    checked = weir.run(*check, env=env)
    assert checked.returncode == 0, checked.stderr
    starts(manager, command, env)
    manager.close()


def test_the_monitor_starts_as_its_unit_says(lab, tmp_path):
    lab.write({})
    manager, address = activated("weir-health.service", tmp_path)
    env = variables("weir-health.service")
    assert address == f"{env['BIND_HOST']}:{env['BACKEND_PORT']}"
    env["BACKEND_PORT"] = str(manager.sockets[0][1].getsockname()[1])
    env["WEIR_STATE_DIR"] = env["WEIR_STATE_DIR"].replace("%S", str(tmp_path))
    command = of("weir-health.service", "ExecStart")[0].split()[1:]
    command[command.index("/etc/weir/registry.yml")] = tmp_path / "registry.yml"
    starts(manager, command, {**lab.env, **env})
    assert (tmp_path / "weir-health/health.db").exists()
    manager.close()


def test_the_engine_starts_as_its_unit_says(authority, tmp_path):
    for unit, key in (("weir-engine.socket", "tls"), ("weir-engine-http.socket", "http")):
        manual = weir.run("config", "reference", "engine").stdout
        assert f"`{key}.listen_addr`" in manual
        assert f"`{of(unit, 'ListenStream')[0]}`" in manual, "the default of the program"
    plain = f"127.0.0.1:{free_port()}"
    own = Engine(authority, tmp_path, {"http": {"enabled": True, "listen_addr": plain}})
    own.stop()
    own.write_config(tls={"listen_addr": f"127.0.0.1:{own.port}"})
    manager = Manager(
        tmp_path, ("engine", listening(own.port)), ("engine-http", listening(own.http_port)))
    named = [of(unit, "FileDescriptorName")[0] for unit in ("weir-engine.socket", "weir-engine-http.socket")]
    assert named == [name for name, _ in manager.sockets]
    for key in ("ExecStartPre", "ExecStart"):
        command = of("weir-engine.service", key)[0].split()[1:]
        command[command.index("/etc/weir/engine.yml")] = own.config
        if key == "ExecStartPre":
            checked = weir.run(*map(str, command))
            assert checked.returncode == 0, checked.stderr
    starts(manager, command, {})
    manager.close()


def test_their_sockets_can_be_had():
    """Every one is an address of this machine as weir reads addresses."""
    for unit in SOCKETS:
        host, _, port = of(unit, "ListenStream")[0].rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        socket.inet_pton(family, host.strip("[]"))
        assert 0 < int(port) < 65536


def test_the_platform_starts_as_its_unit_says(tmp_path):
    manager, address = activated("weir-platform.service", tmp_path)
    env = variables("weir-platform.service")
    assert address == env["WEIR_PLATFORM_LISTEN"]
    env["WEIR_PLATFORM_LISTEN"] = f"127.0.0.1:{manager.sockets[0][1].getsockname()[1]}"
    env["WEIR_STATE_DIR"] = env["WEIR_STATE_DIR"].replace("%S", str(tmp_path))
    starts(manager, of("weir-platform.service", "ExecStart")[0].split()[1:], env)
    assert (tmp_path / "weir-platform/platform.db").exists()
    manager.close()
