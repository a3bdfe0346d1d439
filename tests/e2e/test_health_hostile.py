# SPDX-License-Identifier: Apache-2.0
"""Registries of careless and of hostile authors: names, files and expressions nobody expects."""
import json
import os

import pytest

from lib.health import Lab, Monitor


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def pair(lab):
    """Two services whose names, written with their machines, look alike."""
    entry = {"health_check": {"type": "exec", "command": "true", "interval": 1}}
    lab.write(
        {}, {"c": {"ip": "127.0.0.1"}, "b@c": {"ip": "127.0.0.1"}},
        **{"a@b": {"current_host": "c", **entry}, "a": {"current_host": "b@c", **entry}},
    )


def test_names_that_look_alike(lab):
    pair(lab)
    done = lab.run("--once", "--json", timeout=20)
    services = json.loads(done.stdout)["services"]
    assert [(s["service"], s["machine"], s["status"]) for s in services] == [
        ("a@b", "c", "healthy"), ("a", "b@c", "healthy")]
    monitor = Monitor(lab.directory / "registry.yml", env=lab.env)
    try:
        monitor.wait_status("a@b", "healthy")
        monitor.wait_status("a", "healthy")
        assert monitor.ask("POST", "/api/registry/reload").status == 200
    finally:
        monitor.stop()


def test_names_of_any_bytes(lab):
    path = lab.directory / "registry.yml"
    long = "x" * 5000
    path.write_text(
        'hosts: {h: {ip: 127.0.0.1}}\n'
        'services:\n'
        '  "a\\e]0;title\\a": {current_host: h, health_check: {type: exec, command: "true",'
        ' "k\\e[31m": 1}}\n'
        '  "b\\0c": {current_host: h}\n'
        '  "b\\0d": {current_host: h}\n'
        f'  ? {long}\n'
        '  : {current_host: h, health_check: {type: exec, command: "true"}}\n'
    )
    for args in (("registry", "validate"), ("registry", "validate", "--json"), ("--once",),
                 ("--once", "-v"), ("--once", "--json"), ("status",), ("status", "a\x1b]0;title\x07"),
                 ("check-all",), ("check", "a\x1b]0;title\x07"), ("a\x1b[2J",)):
        done = lab.run(*args)
        text = done.stdout + done.stderr
        assert "\x1b" not in text and "\x07" not in text, (args, text)
        if "--json" in args:
            json.loads(done.stdout)
    services = json.loads(lab.run("--once", "--json").stdout)["services"]
    assert [s["service"] for s in services] == ["a\x1b]0;title\x07", long]
    assert "is no name" in lab.run("registry", "validate").stdout


def test_pid_files_that_are_none(lab, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/tty"):
        message = lab.message({"type": "process", "pid_file": str(path)})
        assert message.startswith("pid file"), message
    message = lab.message({"type": "process", "pid_file": str(tmp_path / "pipe")})
    assert message == "pid file is no plain file"


def test_expressions_that_would_take_forever(lab):
    for expression in ("((((a{1,255}){1,255}){1,255}){1,255})", "(.*)\\1z"):
        lab.write({"it": {"type": "http", "url": "http://127.0.0.1:1/", "body_regex": expression}})
        done = lab.run("registry", "validate", timeout=10)
        assert done.returncode == 1
        assert "body_regex: " in done.stdout and "is no extended regular expression" in done.stdout


def test_pages_of_other_origins_change_nothing(lab):
    lab.write({"it": {"type": "exec", "command": "true"}})
    monitor = Monitor(lab.directory / "registry.yml", env=lab.env)
    own = f"http://127.0.0.1:{monitor.port}"
    try:
        for method, path in (
            ("POST", "/api/health/maintenance/it"), ("DELETE", "/api/health/maintenance/it"),
            ("POST", "/api/health/check/it"), ("POST", "/api/registry/reload"),
            ("POST", "/api/devices/here/heartbeat"), ("POST", "/api/metrics/snapshot"),
        ):
            for origin in ("http://evil.example", "null", f"{own}.evil.example"):
                answer = monitor.ask(method, path, {"all": True}, {"Origin": origin})
                assert answer.status == 403, (method, path, origin)
            answer = monitor.ask(method, path, {"all": True}, {"Origin": own})
            assert answer.status in (200, 202), (method, path, answer.body)
        assert monitor.ask("GET", "/ping", headers={"Origin": "http://evil.example"}).status == 200
    finally:
        monitor.stop()


def test_tags_are_compared_weakly(lab):
    lab.write({"it": {"type": "exec", "command": "true", "interval": 100}})
    monitor = Monitor(lab.directory / "registry.yml", env=lab.env)
    try:
        path = "/api/health/dashboard?refresh=false"
        tag = monitor.ask("GET", path).headers["etag"]
        for known, status in (
            (tag, 304), (f"W/{tag}", 304), (f'"a", W/"b" ,{tag}', 304), ("*", 304),
            (f'"{tag}"', 200), (tag[:-1], 200), ('"a"', 200), ("", 200),
        ):
            answer = monitor.ask("GET", path, headers={"If-None-Match": known})
            assert answer.status == status, known
    finally:
        monitor.stop()
