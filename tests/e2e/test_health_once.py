# SPDX-License-Identifier: Apache-2.0
"""weir health without a monitor: every kind of check against real servers, and bad ones."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from lib import health, targets, weir
from lib.wait import eventually

REMOTE = "198.51.100.7"  # an address that is nobody's


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("health")


@pytest.fixture(scope="module")
def nginx(place):
    server = targets.nginx(place)
    yield server
    server.stop()


@pytest.fixture
def bad():
    servers = []

    def start(behave, tls=None):
        servers.append(targets.BadServer(behave, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


# ---- http


def all_at_once(lab, checks, hosts=None, env=None):
    """The document of one round."""
    lab.write({f"s{i}": {**health.PATIENT, **check} for i, check in enumerate(checks)}, hosts)
    return json.loads(lab.run("--json-output", "--once", env=env, timeout=health.PATIENCE_S).stdout)


def http(port, path="/ok", **more):
    return {"type": "http", "url": f"http://127.0.0.1:{port}{path}", **more}


def test_http_status(lab, nginx):
    port = nginx.port
    rows = [
        (http(port), "healthy", "HTTP 200"),
        (http(port, "/sick"), "unhealthy", "HTTP 503, expected 200"),
        (http(port, "/sick", expected_status=[200, "500-599"]), "healthy", "HTTP 503"),
        (http(port, "/"), "unhealthy", "HTTP 302, expected 200"),
        (http(port, "/", expected_status="3xx"), "healthy", "HTTP 302"),
        (http(port, "/", follow_redirects=True), "healthy", "HTTP 200"),
        (http(port, body_contains="thanks"), "healthy", "HTTP 200"),
        (http(port, body_contains="sorry"), "unhealthy",
         'HTTP 200, but the body does not contain "sorry"'),
        (http(port, body_regex="^fine, [a-z]+"), "healthy", "HTTP 200"),
        (http(port, body_regex="^thanks"), "unhealthy",
         'HTTP 200, but the body does not match "^thanks"'),
        (http(port, method="HEAD"), "healthy", "HTTP 200"),
        (http(port, method="DELETE", expected_status=200), "healthy", "HTTP 200"),
    ]
    document = all_at_once(lab, [check for check, _, _ in rows])
    for (check, status, message), seen in zip(rows, document["services"]):
        assert (seen["status"], seen["last_result"]["message"]) == (status, message), check
        assert seen["state_reason"] == "single check"
    assert document["source"] == "direct"
    assert document["overall_status"] == "unhealthy"
    assert document["healthy"] + document["unhealthy"] == document["total_services"] == len(rows)


def test_http_request_on_the_wire(lab, bad):
    heard = []

    def listen(connection):
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = bad(listen)
    seen = lab.check(http(server.port, "/a?b", method="POST", body="hi", headers={"X-Key": "1"}))
    assert seen["status"] == "healthy"
    head, body = heard[0].split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a?b HTTP/1.1"
    assert sorted(lines[1:]) == sorted([
        b"Host: 127.0.0.1:%d" % server.port,
        b"X-Key: 1",
        b"User-Agent: portoser-health/" + weir.run("--version").stdout.strip().encode(),
        b"Accept: */*",
        b"Connection: close",
        b"Content-Length: 2",
    ])
    assert body == b"hi"


def test_the_plain_way_sends_what_libcurl_sends(lab, bad):
    """Following redirects takes libcurl; without, we ask ourselves. Nobody may see a difference."""
    heard = []

    def listen(connection):
        heard.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = bad(listen)
    specs = [
        ("", {}),
        ("/", {"method": "HEAD"}),
        ("?only=query", {}),
        ("/a/../b//c;d?e=%20&f#fragment", {}),
        ("/", {"headers": {"Host": "another.example", "User-Agent": "me", "accept": "text/plain"}}),
        ("/", {"headers": {"X-Empty": "", "Connection": "keep-alive", "X-Long": "x" * 3000}}),
        ("/", {"headers": {"X-Too-Long": "x" * 5000}}),
        ("/", {"headers": {"Accepted": "by nobody"}}),
    ]
    for path, more in specs:
        for follow in (False, True):
            check = http(server.port, path, follow_redirects=follow, **more)
            assert lab.check(check)["status"] == "healthy", check
    for (path, more), plain, over_curl in zip(specs, heard[::2], heard[1::2]):
        assert plain == over_curl, (path, more)


def test_http_over_ipv6(lab):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert lab.message({"type": "http", "url": f"http://[::1]:{port}/", "timeout": 2}) == \
            "timeout after 2.0 s while waiting for an answer"
        connection = server.accept()[0]
        assert b"\r\nHost: [::1]:%d\r\n" % port in connection.recv(65536)
        connection.close()


def test_a_dead_address_delays_the_next_only_a_moment(lab):
    """The first address of the name takes nobody in; the second has a server."""
    deaf = targets.Deaf()
    hosts = lab.directory / "hosts"
    hosts.write_text("127.0.0.1 two.test\n127.0.0.2 two.test\n")
    lab.write({"it": {"type": "tcp", "host": "two.test", "port": deaf.port, "timeout": 5}})
    try:
        with socket.create_server(("127.0.0.2", deaf.port)):
            done = targets.run_with_file(
                hosts, "/etc/hosts",
                [weir.binary(), "health", "it", "--once", "--json-output", "--registry",
                 str(lab.directory / "registry.yml")], {**weir.base_environment(), **lab.env})
    finally:
        deaf.stop()
    seen = json.loads(done.stdout)
    assert seen["last_result"]["message"] == "connected"
    assert 200 < seen["last_result"]["latency_ms"] < 4500


def test_http_answers_as_soon_as_the_head_is_there(lab, bad):
    server = bad(targets.trickles_body)
    begun = time.monotonic()
    assert lab.check(http(server.port, timeout=30))["status"] == "healthy"
    assert time.monotonic() - begun < 20  # the body would take longer


@pytest.mark.parametrize("behave, message", [
    (targets.never_answers, "timeout after 2.0 s while waiting for an answer"),
    (targets.trickles, "timeout after 2.0 s while reading the answer"),
    (targets.resets, "http: reset by the peer"),
    (targets.closes, "http: closed by the peer without an answer"),
    (targets.talks_nonsense, "http: the answer is no HTTP/1"),
    (targets.says(b"HTTP/1.1 200 OK\r\nA: b\r\n"), "http: closed by the peer inside the head"),
    (targets.says(b"HTTP/1.1 200 OK\r\n", b"x" * 70000),
     "http: the head of the answer is too large"),
    (targets.says(b"HTTP/1.1 103 Early Hints\r\n\r\nHT", b"TP/1.1 500 No\r\n\r", b"\n"),
     "HTTP 500, expected 200"),
])
def test_http_bad_servers(lab, bad, behave, message):
    seen = lab.check(http(bad(behave).port, timeout=2))
    assert seen["last_result"]["message"] == message
    assert seen["status"] == "unhealthy"
    assert seen["last_result"]["latency_ms"] < 4000


def test_http_names_and_ports(lab):
    port = targets.free_port()
    assert lab.message(http(port)) == "connect: refused"
    check = {"type": "http", "url": "http://no-such-name.invalid/"}
    assert lab.message(check) == "dns: name not found"
    assert lab.check(http(targets.free_port()))["last_result"]["problem_type"] == \
        "connection_refused"


def test_http_tls(lab, place, authority, bad):
    cert = authority.issue("localhost", stem="good")
    server = targets.nginx(place, tls=cert)
    try:
        check = {"type": "http", "url": f"https://localhost:{server.port}/ok"}
        assert lab.message(check) == "tls: unable to get local issuer certificate"
        assert lab.message({**check, "ca_cert": str(authority.path)}) == "HTTP 200"
        assert lab.message({**check, "verify_tls": False}) == "HTTP 200"
    finally:
        server.stop()
    expired = bad(targets.never_answers, targets.expired(authority, 3))
    check = {"type": "http", "url": f"https://localhost:{expired.port}/",
             "ca_cert": str(authority.path)}
    seen = lab.check(check)
    assert seen["last_result"]["message"] == "tls: certificate expired 3 days ago"
    assert seen["last_result"]["problem_type"] == "tls"
    silent = bad(lambda connection: time.sleep(30))
    check = {"type": "http", "url": f"https://127.0.0.1:{silent.port}/", "timeout": 2}
    assert lab.message(check) == "timeout after 2.0 s while TLS handshaking"


# ---- tcp


def test_tcp(lab, bad, place):
    server = targets.redis(place)
    silent = bad(targets.never_answers)
    closing = bad(lambda connection: connection.close())
    rows = [
        ({"port": server.port}, "connected"),
        ({"host": "localhost", "port": server.port}, "connected"),
        ({"port": server.port, "send": "PING\r\n", "expect": "+PONG"},
         "connected, and the answer is as expected"),
        ({"port": silent.port, "expect": "x", "timeout": 2},
         "timeout after 2.0 s while waiting for the answer"),
        ({"port": closing.port, "expect": "x"}, 'closed by the peer before "x" arrived'),
        ({"port": targets.free_port()}, "connect: refused"),
        ({"host": "no-such-name.invalid", "port": 1}, "dns: name not found"),
    ]
    try:
        document = all_at_once(lab, [{"type": "tcp", **check} for check, _ in rows])
    finally:
        server.stop()
    for (check, message), seen in zip(rows, document["services"]):
        assert seen["last_result"]["message"] == message, check


# ---- process


def test_process(lab):
    alive = subprocess.Popen(["sleep", "60"])
    zombie = subprocess.Popen(["true"])
    eventually(lambda: not targets.is_running(zombie.pid), "a zombie")
    dead = targets.dead_pid()
    contents = {
        "good": f" {alive.pid}\n", "dead": str(dead), "zombie": str(zombie.pid), "text": "abc",
        "init": "1", "long": "1" * 40, "empty": "", "negative": "-5",
    }
    for name, text in contents.items():
        (lab.directory / f"{name}.pid").write_text(text)
    no_id = "pid file does not hold a process id"
    rows = [
        ({"pid_file": "good.pid"}, f"pid {alive.pid} is running"),
        ({"pid_file": "good.pid", "process_name": "sleep"}, f"pid {alive.pid} is running"),
        ({"pid_file": "good.pid", "process_name": "nginx"},
         f"pid {alive.pid} is sleep, expected nginx"),
        ({"pid_file": "dead.pid"}, f"pid {dead} not running"),
        ({"pid_file": "zombie.pid"}, f"pid {zombie.pid} is a zombie"),
        ({"pid_file": "missing.pid"}, "pid file missing"),
        ({"pid_file": "text.pid"}, no_id),
        ({"pid_file": "init.pid"}, no_id),
        ({"pid_file": "long.pid"}, no_id),
        ({"pid_file": "empty.pid"}, no_id),
        ({"pid_file": "negative.pid"}, no_id),
    ]
    document = all_at_once(lab, [{"type": "process", **check} for check, _ in rows])
    alive.kill()
    alive.wait()
    zombie.wait()
    for (check, message), seen in zip(rows, document["services"]):
        assert seen["last_result"]["message"] == message, check


# ---- exec


def test_exec(lab):
    rows = [
        ({"command": "echo one; echo two"}, "exit 0: two"),
        ({"command": ["/bin/sh", "-c", "exit $0", "7"]}, "exit 7, expected 0"),
        ({"command": "exit 7", "expected_exit": 7}, "exit 7"),
        ({"command": "kill -SEGV $$$$"}, "killed by signal 11 (Segmentation fault)"),
        ({"command": "echo oops >&2; false"}, "exit 1, expected 0: oops"),
        ({"command": "pwd; echo $$GREETING", "cwd": "/usr", "env": {"GREETING": "hi"}},
         "exit 0: hi"),
        ({"command": ["/no/such/program"]}, "cannot run /no/such/program: not found"),
        ({"command": "printf 'a\\033[31mb\\000c\\n'"}, "exit 0: c"),
        ({"command": "printf 'a\\033[31mb'"}, "exit 0: a [31mb"),
        ({"command": "yes | head -c 3000000 >&2; echo end"}, "exit 0: end"),
        ({"command": "ls -l /proc/self/fd | wc -l"}, "exit 0: 5"),  # 0, 1, 2, the directory, total
        ({"command": "cat"}, "exit 0"),  # standard input is empty
        ({"command": "id -un", "user": "nobody"}, "exit 0: nobody"),
        ({"command": "true", "user": "nobody-knows"}, "cannot run /bin/sh: not found"),
    ]
    document = all_at_once(lab, [{"type": "exec", **check} for check, _ in rows])
    for (check, message), seen in zip(rows, document["services"]):
        assert seen["last_result"]["message"] == message, check


def pid_in(path):
    return int(eventually(lambda: path.exists() and path.read_text().strip(), f"a pid in {path}"))


@pytest.mark.parametrize("script", [
    "echo $$$$ >PIDS; sleep 60",
    "trap '' TERM; echo $$$$ >PIDS; sleep 60; sleep 60",  # SIGTERM does not move it
    "(trap '' TERM; sh -c 'echo $$PPID >PIDS'; sleep 60; sleep 60) & wait",  # nor its child
    "setsid sh -c 'trap \"\" TERM; echo $$$$ >PIDS; sleep 60; sleep 60'",  # in another session
    "(setsid sh -c 'echo $$$$ >PIDS; sleep 60' &) & sleep 60",  # and without a parent
    "env -i setsid sh -c 'echo $$$$ >PIDS; kill -STOP $$$$; sleep 60'",  # stopped, without a name
    "echo $$$$ >PIDS; kill -STOP $$$$",
    "echo $$$$ >PIDS; yes",  # nor one that floods us
])
def test_exec_never_outlives_its_timeout(lab, script):
    pids = lab.directory / "pids"
    begun = time.monotonic()
    seen = lab.check({"type": "exec", "command": script.replace("PIDS", str(pids)), "timeout": 2})
    assert time.monotonic() - begun < 30  # of the minute that it would sleep
    assert seen["last_result"]["message"] == "timeout after 2.0 s"
    assert seen["last_result"]["problem_type"] == "timeout"
    assert not targets.is_running(pid_in(pids))


@pytest.mark.parametrize("script", [
    "sleep 60 & echo $! >PIDS",
    "setsid sh -c 'echo $$$$ >PIDS; sleep 60' & while [ ! -s PIDS ]; do :; done",
    "(setsid sh -c '(trap \"\" TERM; sh -c \"echo \\$$PPID >PIDS; exec sleep 60\"; sleep 60) &' &); "
    "while [ ! -s PIDS ]; do :; done",
])
def test_exec_leaves_nothing_in_the_background(lab, script):
    pids = lab.directory / "pids"
    seen = lab.check({"type": "exec", "command": script.replace("PIDS", str(pids)) + "; echo done"})
    assert seen["last_result"]["message"] == "exit 0: done"
    assert not targets.is_running(pid_in(pids))


def test_an_interrupt_ends_what_runs(lab):
    pids = lab.directory / "pids"
    lab.write({"it": {"type": "exec", "command": f"echo $$$$ >{pids}; sleep 60", "timeout": 9}})
    process = subprocess.Popen(
        [weir.binary(), "health", "--once", "--registry", str(lab.directory / "registry.yml")],
        env={**weir.base_environment(), **lab.env}, stdout=subprocess.PIPE,
    )
    pid = pid_in(pids)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[0] == b""
    assert process.returncode == 130
    assert not targets.is_running(pid)


@pytest.fixture
def postgres():
    # Not below pytest's own directory: another run closes that to other users at its start.
    with tempfile.TemporaryDirectory(prefix="weir-postgres-") as directory:
        server = targets.postgres(pathlib.Path(directory))
        yield server
        if server.process.poll() is None:
            server.stop()


def test_postgres_by_pg_isready(lab, postgres):
    check = {"type": "exec", "command": f"pg_isready -h 127.0.0.1 -p {postgres.port}"}
    eventually(lambda: lab.check(check)["status"] == "healthy", "postgres is ready", 60)
    assert lab.message(check) == f"exit 0: 127.0.0.1:{postgres.port} - accepting connections"
    postgres.stop()
    assert lab.message(check) == \
        f"exit 2, expected 0: 127.0.0.1:{postgres.port} - no response"


# ---- ssh


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    server = targets.Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


def far(sshd, **more):
    return {"far": {"ip": REMOTE, "ssh_hostname": "127.0.0.1", "ssh_port": sshd.port,
                    "ssh_user": "root", "ssh_key": str(sshd.key), **more}}


def end_masters(lab, sshd):
    for path in (lab.directory / "run" / "weir-ssh").glob("*"):
        subprocess.run(["/usr/bin/ssh", "-O", "exit", "-S", path, "x"], check=False,
                       stderr=subprocess.DEVNULL)


def test_checks_over_ssh(lab, sshd):
    alive = subprocess.Popen(["sleep", "60"])
    (lab.directory / "it's.pid").write_text(f"{alive.pid}\n")
    dead = targets.dead_pid()
    (lab.directory / "dead.pid").write_text(f"{dead}\n")
    here = str(lab.directory)
    rows = [
        ({"type": "exec", "command": "echo \"it's $$SSH_CONNECTION\" | wc -w"}, "exit 0: 5"),
        ({"type": "exec", "command": ["printf", "%s|", "a b", "'", "$$x;`", ""]},
         "exit 0: a b|'|$x;`||"),
        ({"type": "exec", "command": "pwd; exit 3", "cwd": "/usr", "env": {"A": "b c"}},
         "exit 3, expected 0: /usr"),
        ({"type": "process", "pid_file": f"{here}/it's.pid", "process_name": "sleep"},
         f"pid {alive.pid} is running"),
        ({"type": "process", "pid_file": f"{here}/it's.pid", "process_name": "nginx"},
         f"pid {alive.pid} is sleep, expected nginx"),
        ({"type": "process", "pid_file": f"{here}/dead.pid"}, f"pid {dead} not running"),
        ({"type": "process", "pid_file": "~/no.pid"}, "pid file missing"),
        ({"type": "exec", "command": "pwd", "cwd": "~/"}, f"exit 0: {os.path.expanduser('~root')}"),
        ({"type": "exec", "command": "echo local $$SSH_CONNECTION", "run_on": "monitor"},
         "exit 0: local"),
    ]
    env = {"PATH": f"{sshd.path}:{os.environ['PATH']}"}
    document = all_at_once(lab, [check for check, _ in rows], far(sshd), env)
    before = sshd.logins()
    again = all_at_once(lab, [check for check, _ in rows], far(sshd), env)
    shared = sshd.logins() == before
    end_masters(lab, sshd)
    alive.kill()
    alive.wait()
    for (check, message), seen, later in zip(rows, document["services"], again["services"]):
        assert seen["last_result"]["message"] == message, check
        assert later["last_result"]["message"] == message, check
    assert shared  # the second run found the connection of the first


def test_a_machine_that_ssh_does_not_reach(lab, sshd):
    hosts = far(sshd)
    hosts["far"]["ssh_port"] = targets.free_port()
    env = {"PATH": f"{sshd.path}:{os.environ['PATH']}"}
    seen = lab.check({"type": "exec", "command": "true"}, env=env, hosts=hosts)
    assert seen["last_result"]["problem_type"] == "ssh_unreachable"
    assert seen["last_result"]["message"].startswith("ssh: ")
    assert "Connection refused" in seen["last_result"]["message"]


def test_a_timeout_over_ssh_ends_the_command_there(lab, sshd):
    pids = lab.directory / "pids"
    env = {"PATH": f"{sshd.path}:{os.environ['PATH']}"}
    # The connection is there before, so that it takes nothing of the time.
    assert lab.check({"type": "exec", "command": "true"}, env, far(sshd))["status"] == "healthy"
    check = {"type": "exec", "command": f"echo $$$$ >{pids}; exec sleep 60", "timeout": 3}
    seen = lab.check(check, env=env, hosts=far(sshd))
    end_masters(lab, sshd)
    assert seen["last_result"]["message"] == "timeout after 3.0 s"
    eventually(lambda: not targets.is_running(pid_in(pids)), "the end of the remote command")


# ---- All together


def test_slow_checks_hold_up_nobody(lab, bad, nginx):
    """Fifty that hang and a hundred that do not: the whole takes as long as one timeout."""
    server = bad(targets.never_answers)
    checks = {f"hang{i}": http(server.port, timeout=5) for i in range(50)}
    checks.update({f"fine{i}": {**health.PATIENT, **http(nginx.port)} for i in range(100)})
    lab.write(checks)
    begun = time.monotonic()
    document = json.loads(lab.run("--json-output", "--once", timeout=60).stdout)
    assert time.monotonic() - begun < 30  # one after the other they would take 250 s
    assert (document["healthy"], document["unhealthy"]) == (100, 50)
    ended = {status: [s["last_checked"] for s in document["services"] if s["status"] == status]
             for status in ("healthy", "unhealthy")}
    assert max(ended["healthy"]) < min(ended["unhealthy"])  # nobody waited for those that hang


def test_nothing_is_left_over_when_names_do_not_resolve(lab):
    """A name server that never answers costs a check its timeout, and the program nothing more."""
    lab.write({
        "http": {"type": "http", "url": "http://weir-test.example.com/", "timeout": 2},
        "tcp": {"type": "tcp", "host": "weir-test.example.com", "port": 80, "timeout": 2},
    })
    silent = targets.SilentNameServer()
    try:
        begun = time.monotonic()
        done = silent.run([weir.binary(), "health", "--once", "--json-output", "--registry",
                           str(lab.directory / "registry.yml")],
                          {**weir.base_environment(), **lab.env}, lab.directory)
        took = time.monotonic() - begun
        assert silent.asked > 0
    finally:
        silent.stop()
    for seen in json.loads(done.stdout)["services"]:
        assert seen["last_result"]["message"] == \
            "timeout after 2.0 s while resolving the name", done.stdout
    assert took < 10  # a resolver that is waited for takes at least that
