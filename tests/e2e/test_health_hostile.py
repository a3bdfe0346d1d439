# SPDX-License-Identifier: Apache-2.0
"""Registries of careless and of hostile authors: names, files and expressions nobody expects."""
import http.client
import json
import os
import socket

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


def test_authorities_that_are_no_file(lab, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"\n" * (4 * 1024 * 1024 + 1))
    for name, problem in ((tmp_path / "pipe", "not a plain file"), ("/dev/zero", "not a plain file"),
                          (tmp_path / "large", "the input is larger than the limit"),
                          (tmp_path / "none", "not found")):
        message = lab.message({"type": "http", "url": "https://127.0.0.1:1/", "ca_cert": str(name)})
        assert message == f"tls: ca_cert {name}: {problem}"


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


def test_held_connections_keep_nobody_out(lab):
    """More connections than there is room for, idle and half said: the oldest give way."""
    lab.write({"it": {"type": "exec", "command": "true", "interval": 100}})
    monitor = Monitor(lab.directory / "registry.yml", env=lab.env)
    held = []
    try:
        for i in range(900):
            held.append(socket.create_connection(("127.0.0.1", monitor.port), 5))
            if i % 2:
                held[-1].sendall(b"GET /api/health/dashboard HTTP/1.1\r\nHost: localhost\r\nX-")
        assert monitor.get("/ping") == {"status": "ok"}
        # Those that have said nothing went first, and enough of them.
        ended = 0
        for conn in held[::2]:
            conn.settimeout(0)
            try:
                ended += conn.recv(1) == b""
            except BlockingIOError:
                pass
            except ConnectionResetError:
                ended += 1
        assert ended >= 900 - 768
        # One that was begun is still heard.
        held[-1].sendall(b"Rest: x\r\n\r\n")
        held[-1].settimeout(10)
        assert held[-1].recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        for conn in held:
            conn.close()
        monitor.stop()


def test_bodies_that_are_too_much(lab):
    lab.write({"it": {"type": "exec", "command": "true", "interval": 100}})
    monitor = Monitor(lab.directory / "registry.yml", env=lab.env)
    try:
        for head, status in (
            ("Content-Length: 65537", 413), ("Content-Length: 99999999999999999999", 400),
            ("Transfer-Encoding: chunked", 411), ("Content-Length: 1\r\nContent-Length: 2", 400),
        ):
            with socket.create_connection(("127.0.0.1", monitor.port), 5) as conn:
                conn.sendall(f"POST /api/events HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
                assert conn.recv(100).startswith(f"HTTP/1.1 {status} ".encode()), head
        deep = "[" * 30000 + "]" * 30000
        for path in ("/api/events", "/api/uptime/event", "/api/diagnostics/run", "/api/uptime/timeline",
                     "/api/deployment/plan", "/api/deployment/execute", "/api/health/maintenance/it",
                     "/api/deployment/intelligent-execute", "/api/devices/here/heartbeat"):
            for body in (deep, '{"a":1', "null", '"x"', '{"service":{}}', '{"moves":[[],7,{}]}', "\x00",
                         '{"service":"\\ud800"}', '{"services":{"a":1},"days":1e999}'):
                conn = http.client.HTTPConnection("127.0.0.1", monitor.port, timeout=10)
                conn.request("POST", path, body)
                status = conn.getresponse().status
                assert status in (400, 422, 429) or (status == 200 and body.startswith("{")), (path, body[:20])
                conn.close()
        assert monitor.get("/ping") == {"status": "ok"}
    finally:
        monitor.stop()
