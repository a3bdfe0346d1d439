# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, fails in the life of a monitor. Whatever N is, it
refuses to start and says why, or it goes on and drains with exit code 0; nothing leaks, and no
program it started stays behind. Every STRIDE-th N is tried: neighbours fail in the same place."""
import concurrent.futures
import http.client
import json
import re
import signal
import subprocess
import time

import pytest

from lib import health, targets, weir, ws

STRIDE = 5
NUMBER_MAX = 3000
AT_ONCE = 4
END_S = 20


def answers(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = health.Lab(tmp_path_factory.mktemp("faults"))
    server = targets.BadServer(answers)
    redis = targets.redis(lab.directory)
    lab.env["REDIS_URL"] = f"redis://127.0.0.1:{redis.port}"
    quick = {"interval": "150ms", "timeout": "100ms"}
    (lab.directory / "pid").write_text("2")
    lab.write({
        "http": {"type": "http", "url": f"http://127.0.0.1:{server.port}/", "body_contains": "ok", **quick},
        "name": {"type": "tcp", "host": "localhost", "port": server.port, **quick},
        "tcp": {"type": "tcp", "port": server.port, "send": "x", "expect": "HTTP", **quick},
        "pid": {"type": "process", "pid_file": "pid", **quick},
        "exec": {"type": "exec", "command": "echo fine", "env": {"A": "b"}, **quick},
        "user": {"type": "exec", "command": "echo fine", "user": "root", **quick},
        "hang": {"type": "exec", "command": "sleep 60", **quick},
    }, wrong={"current_host": "nowhere"})
    yield lab
    server.stop()
    redis.stop()


def ask(port, method, path, body=None):
    headers = {"Accept-Encoding": "gzip"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request(method, path, body, headers)
        connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def watch(port):
    """WebSockets that subscribe, and stay open until they are closed."""
    peers = []
    try:
        for _ in range(3):
            peers.append(ws.Peer("127.0.0.1", port))
        peer, events, page = peers
        peer.send_raw(ws.upgrade_request("/api/ws/metrics", host="localhost"))
        for text in ('{"type":"subscribe","device_id":"*"}',
                     '{"action":"subscribe","subscriptions":["*@*","no"]}',
                     '{"action":"list_subscriptions"}', '{"action":"unsubscribe"}'):
            peer.send_raw(ws.frame(ws.TEXT, text))
        events.send_raw(ws.upgrade_request("/ws?hello=1", host="localhost"))
        page.send_raw(ws.upgrade_request("/ws/page", host="localhost"))
    except OSError:
        pass
    return peers


def session(port):
    """Any step may fail because of the fault; none may take long."""
    peers = watch(port)
    ask(port, "GET", "/api/health/dashboard")
    ask(port, "POST", "/api/events", '{"type":"deployment_started"}')
    ask(port, "POST", "/api/devices/here/heartbeat", '{"metrics":{"cpu":1}}')
    ask(port, "POST", "/api/health/check/exec")
    ask(port, "POST", "/api/health/maintenance/tcp", '{"for_seconds": 9}')
    ask(port, "POST", "/api/registry/reload")
    ask(port, "POST", "/api/deployment/execute",
        '{"dry_run":false,"moves":[{"service_name":"tcp","to_machine":"here"}]}')
    time.sleep(0.35)  # two intervals: what is tested is that checks go on, not when
    for path in ("/metrics", "/api/health/timeline", "/api/health/heatmap", "/api/cluster/health",
                 "/api/metrics/all", "/api/metrics/health", "/api/devices", "/openapi.json", "/docs",
                 "/api/health/services/exec/history", "/api/page"):
        ask(port, "GET", path)
    for peer in peers:
        peer.reset()
        ws.opened.remove(peer)


def run_under(lab, name, number):
    """What the monitor said of its calls at the end; None if it did not get to run."""
    port = targets.free_port()
    process = subprocess.Popen(
        [weir.binary(), "health", "serve", "--registry", str(lab.directory / "registry.yml"),
         "--listen", f"127.0.0.1:{port}", "--metrics-interval", "1", "--deploy-command", "echo moved",
         "--on-change", "echo told", "--relay", "http://127.0.0.1:1", "--engine", "http://127.0.0.1:1",
         "--state-dir", str(lab.directory / f"state-{name}-{number}")],
        env={**weir.base_environment(), **lab.env, name: str(number)},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    end = time.monotonic() + 5
    while process.poll() is None and time.monotonic() < end and not ask(port, "GET", "/ping"):
        time.sleep(0.01)
    ran = process.poll() is None
    if ran:
        session(port)
        process.send_signal(signal.SIGTERM)
    try:
        errors = process.communicate(timeout=END_S)[1]
    finally:
        process.kill()
    expected = (0,) if ran else (0, 1)
    assert process.returncode in expected, f"{name}={number}: {process.returncode}\n{errors}"
    assert "Sanitizer" not in errors and "assertion" not in errors, f"{name}={number}: {errors}"
    assert process.returncode == 0 or errors.strip(), f"{name}={number}: ended without a word"
    counted = re.search(r"(\d+) allocations, (\d+) system calls", errors)
    return counted and (int(counted[1]), int(counted[2]))


@pytest.mark.parametrize("name, which", [("WEIR_FAIL_ALLOCATION", 0), ("WEIR_FAIL_SYSCALL", 1)])
def test_every_failure_has_a_good_end(lab, name, which):
    whole = run_under(lab, name, 1_000_000_000)
    assert whole, "this build has no fault seams"
    last = min(whole[which], NUMBER_MAX)
    assert last > 100, whole
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda n: run_under(lab, name, n), range(1, last, STRIDE)))
    left = [p for p in subprocess.run(["ps", "-eo", "ppid=,args="], capture_output=True, text=True,
                                      check=True).stdout.splitlines()
            if p.split()[0] == "1" and p.split()[1:] == ["sleep", "60"]]
    assert not left, json.dumps(left)
