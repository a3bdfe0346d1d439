# SPDX-License-Identifier: Apache-2.0
"""Registries and clients that mean harm. What is wrong is said, with its line; nothing hangs, nothing
grows, nothing runs that was not declared, and the other services are checked."""
import json
import os
import socket
import time

import pytest

from lib import health, health_ws, targets, weir
from lib.wait import eventually


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, **kwargs):
        registry = lab.directory / "registry.yml"
        running.append(health.Monitor(registry, *args, env=lab.env, **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


def validate(lab, text, name="registry.yml"):
    path = lab.directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return lab.run("registry", "validate", timeout=20)


# ---- The registry as text

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
FINE = "hosts: {here: {ip: 127.0.0.1}}\nservices:\n  it: {current_host: here}\n"
TEXTS = {
    "a bomb of aliases": (BOMB + FINE, None),
    "a bomb of merge keys": ("a0: &a0 {k: v}\n" + "".join(
        f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 20)}], k{i}: 1}}\n" for i in range(1, 20))
        + FINE, None),
    "an anchor in itself": ("services: &s\n  it: *s\n", "services"),
    "a merge with itself": ("services:\n  it: &s\n    <<: *s\n", ""),
    "depth": ("services: " + "[" * 5000 + "]" * 5000, "inside one another"),
    "depth of maps": ("services: " + "{a: " * 3000 + "1" + "}" * 3000, "inside one another"),
    "a service twice": (FINE + "  it: {current_host: here}\n", "twice"),
    "a key twice": ("services:\n  it: {port: 1, port: 2}\n", ""),
    "not UTF-8": (b"services:\n  it: {description: \xff\xfe\xfd}\n", ""),
    "UTF-16 without a mark": ("services: {}\n".encode("utf-16-le"), ""),
    "NUL": (b"services:\n  it: {description: a\0b}\n", ""),
    "a list": ("- a\n- b\n", "map"),
    "nothing": ("", ""),
    "two documents": ("services: {}\n---\nservices: {}\n", None),
    "a tag": ("services: !!python/object/apply:os.system ['touch /tmp/weir-was-here']\n", ""),
    "17 MiB": ("#" * (17 << 20) + "\n" + FINE, ""),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(lab, name):
    text, says = TEXTS[name]
    done = validate(lab, text)
    assert done.returncode in ((1, 66) if says is not None else (0, 1, 66)), done
    if says is not None:
        assert says in done.stdout + done.stderr, done
    assert not os.path.exists("/tmp/weir-was-here")


def test_a_byte_order_mark_is_no_mistake(lab):
    assert validate(lab, "\ufeff" + FINE).returncode == 0


# ---- Numbers

NUMBERS = [".nan", ".inf", "-.inf", "1e400", "1e308", "-1", "99999999999999999999",
           "22:22", "~", "true", "''", "5e", "100000d", "9223372036854775807s", "[1]", "{}"]


@pytest.mark.parametrize("key, rest", [
    ("interval", "type: http, url: 'http://a/'"), ("timeout", "type: http, url: 'http://a/'"),
    ("failure_threshold", "type: http, url: 'http://a/'"), ("port", "type: tcp, host: a"),
    ("expected_status", "type: http, url: 'http://a/'"),
    ("expected_exit", "type: exec, command: 'true'")])
def test_numbers_that_are_none(lab, key, rest):
    """Every one is a mistake with its line, and none is taken for another number."""
    services = "".join(f"  n{i}: {{current_host: here, health_check: {{{rest}, {key}: {number}}}}}\n"
                       for i, number in enumerate(NUMBERS))
    done = validate(lab, "hosts: {here: {ip: 127.0.0.1}}\nservices:\n" + services)
    assert done.returncode == 1
    for i, number in enumerate(NUMBERS):
        assert f"yml:{i + 3}: services.n{i}.health_check" in done.stdout, (number, done.stdout)


# ---- What goes onto a wire, or into an argument


@pytest.mark.parametrize("check", [
    {"headers": {"X-A": "1\r\nX-Evil: 2"}}, {"headers": {"X-A\r\nX-Evil": "2"}},
    {"headers": {"X-A": "1\nX-Evil: 2"}}, {"headers": {"X A": "2"}}, {"headers": {"": "2"}},
    {"headers": {"X-A:": "2"}}, {"headers": {"X-A": "a\0b"}}, {"method": "GET / HTTP/1.1\r\nX: y"},
    {"method": ""}, {"url": "http://127.0.0.1:{port}/\r\nX-Evil: 1"},
    {"url": "http://127.0.0.1:{port}/ HTTP/1.1"}, {"url": "file:///etc/passwd"},
    {"url": "gopher://127.0.0.1:{port}/_x"}, {"url": "http:///x"}, {"url": "http://"}])
def test_requests_that_would_be_two(lab, check):
    got = []

    def listen(connection):
        got.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = targets.BadServer(listen)
    made = {"type": "http", "url": f"http://127.0.0.1:{server.port}/", "timeout": 3, **check}
    made["url"] = made["url"].replace("{port}", str(server.port))
    lab.write({"it": made})
    try:
        assert lab.run("registry", "validate").returncode == 1
        done = lab.run("it", "--once", "--json-output")
        seen = json.loads(done.stdout)
        assert seen["status"] == "unknown" and seen["issues"], seen
        assert server.accepted == 0 and not got
    finally:
        server.stop()


@pytest.mark.parametrize("host", [
    {"ip": "-oProxyCommand=touch${IFS}PWNED"}, {"ssh_hostname": "-oProxyCommand=touch PWNED", "ip": "198.51.100.1"},
    {"ip": "198.51.100.1", "ssh_user": "-oProxyCommand=touch PWNED"},
    {"ip": "198.51.100.1", "ssh_user": "x; touch PWNED"}, {"ip": "198.51.100.1", "ssh_key": "-oProxyCommand=touch PWNED"},
    {"ip": "a b"}, {"ip": "%h%n"}, {"ip": "$(touch PWNED)"}, {"ip": "198.51.100.1`touch PWNED`"},
    {"ip": "198.51.100.1", "ssh_port": "22 -oProxyCommand=touch"}])
def test_hosts_that_are_options_of_ssh(lab, host):
    """A stand-in for ssh records its arguments: what comes from the registry is never an option."""
    tools = lab.directory / "bin"
    tools.mkdir()
    record = lab.directory / "arguments"
    (tools / "ssh").write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >> {record}\nexit 255\n")
    (tools / "ssh").chmod(0o755)
    lab.write({"it": {"type": "exec", "command": "true", "timeout": 3}}, {"far": host})
    done = lab.run("it", "--once", "--json-output", env={"PATH": f"{tools}:{os.environ['PATH']}"})
    assert json.loads(done.stdout)["status"] in ("unknown", "unhealthy")
    assert not os.path.exists("PWNED") and not list(lab.directory.rglob("PWNED"))
    words = record.read_bytes().decode().split("\0")[:-1] if record.exists() else []
    before = words[:words.index("--")] if "--" in words else words[:-2]
    assert not [w for w in before if "ProxyCommand" in w and w.startswith("-o")], words


# ---- What commands print


def test_output_that_is_more_than_a_line(lab):
    lab.write({
        "escapes": {"type": "exec", "command": "printf '\\033[2J\\033]0;title\\007evil\\r'; exit 1"},
        "nul": {"type": "exec", "command": "printf 'a\\000b\\377\\376'; exit 1"},
        "gigabyte": {"type": "exec", "command": "head -c 1G /dev/zero | tr '\\0' x; exit 1",
                     "timeout": 60, "interval": 60},
        "lines": {"type": "exec", "command": "yes '<script>alert(1)</script>' | head -100000; exit 1"},
    })
    done = lab.run("--once", "--json-output", timeout=90)
    rows = {row["service"]: row for row in json.loads(done.stdout)["services"]}
    assert all(row["status"] == "unhealthy" for row in rows.values()), rows
    for name, row in rows.items():
        message = row["last_result"]["message"]
        assert len(message.encode()) <= 200 and message.isprintable(), (name, message)
    text = lab.run("--once", "--no-color", timeout=90).stdout
    assert "\x1b" not in text and "\0" not in text and "\r" not in text and "\x07" not in text


# ---- Files that are none


def odd_files(directory):
    fifo = directory / "fifo"
    os.mkfifo(fifo)
    (directory / "dir").mkdir()
    loop = directory / "loop"
    loop.symlink_to(loop)
    secret = directory / "secret"
    secret.write_text("x")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(directory / "socket"))
    return [fifo, directory / "dir", loop, directory / "socket", "/dev/zero", "/dev/full",
            "/proc/self/mem", directory / "gone"]


def test_odd_files_as_registry(lab):
    for path in odd_files(lab.directory):
        done = weir.run("health", "registry", "validate", "--registry", str(path), env=lab.env,
                        timeout=20)
        assert done.returncode in (1, 66), (path, done)


@pytest.mark.parametrize("make", [
    lambda path: {"it": {"type": "process", "pid_file": path}},
    lambda path: {"it": {"type": "http", "url": "https://127.0.0.1:1/", "ca_cert": path}},
    lambda path: {"it": {"type": "exec", "command": "true", "cwd": path + "/x"}}])
def test_odd_files_in_checks(lab, make):
    """Beside each a service that is fine: none of them may hold it up."""
    for path in odd_files(lab.directory):
        lab.write({**make(str(path)), "fine": health.GOOD})
        done = lab.run("--once", "--json-output", timeout=60)
        rows = {row["service"]: row["status"] for row in json.loads(done.stdout)["services"]}
        assert rows["fine"] == "healthy" and rows["it"] in ("unhealthy", "unknown"), (path, rows)


def test_odd_side_files(lab):
    for path in odd_files(lab.directory):
        lab.write({"fine": health.GOOD}, None,
                  it={"current_host": "here", "deployment_type": "native",
                      "service_file": str(path)})
        done = lab.run("--once", "--json-output", timeout=60)
        rows = {row["service"]: row["status"] for row in json.loads(done.stdout)["services"]}
        assert rows == {"fine": "healthy", "it": "unknown"}, (path, rows)


# ---- A monitor that runs


def test_a_registry_that_turns_into_a_pipe(lab, serve):
    """It is refused like any broken file, and nobody waits for a writer."""
    switch = health.Switch(lab)
    path = lab.write({"it": switch.check})
    monitor = serve()
    monitor.wait_status("it", "healthy")
    for make in (os.mkfifo, lambda p: p.symlink_to("/dev/zero"), lambda p: p.symlink_to(p),
                 lambda p: p.mkdir()):
        path.unlink()
        make(path)
        assert monitor.ask("POST", "/api/registry/reload").status == 422
        assert monitor.service("it")["status"] == "healthy"
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        lab.write({"it": switch.check})
        assert monitor.ask("POST", "/api/registry/reload").status == 200


def test_ten_thousand_services(lab, serve):
    """Read, reloaded and shown; nothing is checked twice a second, and nobody waits."""
    switch = health.Switch(lab)
    rest = {f"s{i}": {"type": "process", "pid_file": "/gone.pid", "interval": 3600}
            for i in range(10000)}
    lab.write({**rest, "it": switch.check})
    monitor = serve()
    monitor.wait_status("it", "healthy", 30)
    page = monitor.get("/api/health/dashboard")
    assert page["total_services"] == 10001
    del rest["s77"]
    lab.write({**rest, "it": switch.check})
    eventually(lambda: monitor.get("/api/health/dashboard")["total_services"] == 10000, "read", 30)
    assert monitor.ask("GET", "/metrics").status == 200


BAD_EVENTS = [
    "", "null", "[]", "7", '"x"', "{", "{}", '{"type": 7}', '{"type": null}', '{"type": []}',
    '{"type": "health_status_change"}', '{"type": "deployment_started", "type": "x"}',
    '{"type": "deployment_log", "message": 7}', '{"type": "deployment_log", "message": {"a": []}}',
    '{"type": "deployment_started", "service": ["web"]}',
    '{"type": "deployment_completed", "results": "all"}',
    '{"type": "deployment_started", "total_operations": 1e400}',
    '{"type": "deployment_started", "service": "\\ud800"}',
    "[" * 30000, '{"a":' * 10000 + "1" + "}" * 10000]


def test_events_of_wrong_types(lab, serve):
    lab.write({})
    monitor = serve()
    for body in BAD_EVENTS:
        with socket.create_connection(("127.0.0.1", monitor.port), timeout=10) as raw:
            data = body.encode()
            raw.sendall(b"POST /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                        b"application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                        % len(data) + data)
            status = int(raw.recv(65536).split()[1])
        assert status in (400, 413, 422), (body[:60], status)
    assert monitor.events() == []


BAD_WORDS = [
    "", " ", "null", "7", "[]", "{}", "{", '{"type":7}', '{"type":"subscribe"}',
    '{"type":"subscribe","device_id":7}', '{"type":"subscribe","device_id":[7,null,[]]}',
    '{"type":"subscribe","device_id":{"a":"b"}}', '{"action":"subscribe","subscriptions":"x"}',
    '{"action":"subscribe","subscriptions":[7,"@","a@","@b","*@*@*","' + "x" * 5000 + '@y"]}',
    '{"action":"get_current"}', '{"action":"get_current","service":[],"machine":{}}',
    '{"action":["ping"]}', '{"action":"' + "a" * 60000 + '"}', "[" * 30000,
    '{"type":"unsubscribe","device_id":"never"}', '{"type":"subscribe","type":"ping"}']


@pytest.mark.parametrize("path", ["/ws", "/ws/devices", "/api/ws/metrics", "/api/metrics/ws",
                                  "/api/uptime/ws", "/api/cluster/ws/health"])
def test_sockets_that_are_spoken_to_badly(lab, serve, path):
    """Every dialect wrong: the monitor stays, and so do its other watchers."""
    lab.write({})
    monitor = serve()
    good = health_ws.Watcher(monitor, path)
    for word in BAD_WORDS:
        bad = health_ws.Watcher(monitor, path)
        bad.send(word)
        bad.close()
    good.send("ping")
    good.until("pong")
    good.close()
    eventually(lambda: monitor.metrics()["portoser_sockets"] == 0, "all have gone")
