# SPDX-License-Identifier: Apache-2.0
"""Checks on other machines when something is wrong with ssh: its shared connection hangs, is killed
or outlives the monitor; the machine has another key; and when there are many machines."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib import health, targets
from lib.wait import eventually

REMOTE = "198.51.100.7"  # another machine's address; ssh_hostname leads here


@pytest.fixture
def sshd(tmp_path_factory):
    server = targets.Sshd(tmp_path_factory.mktemp("sshd"), hosts=16)
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.fixture
def far(lab, sshd):
    """A lab whose `hosts` are behind that sshd."""
    lab.env["PATH"] = f"{sshd.path}:{os.environ['PATH']}"
    lab.runtime = tempfile.mkdtemp(prefix="weir-")  # short: a socket's name has no room for pytest's
    lab.env["XDG_RUNTIME_DIR"] = lab.runtime
    lab.hosts = {f"far{i}": {"ip": f"198.51.100.{i + 1}", "ssh_hostname": f"127.0.0.{i + 1}",
                             "ssh_port": sshd.port, "ssh_user": "root", "ssh_key": str(sshd.key)}
                 for i in range(16)}
    yield lab
    for path in sockets(lab):
        subprocess.run(["/usr/bin/ssh", "-O", "exit", "-S", path, "x"], check=False,
                       stderr=subprocess.DEVNULL)
    shutil.rmtree(lab.runtime)


def sockets(lab):
    return list((pathlib.Path(lab.runtime) / "weir-ssh").glob("*"))


def masters(lab):
    """Processes that hold the shared connections: OpenSSH shows the socket's path as their name."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if line.startswith(b"ssh: " + lab.runtime.encode()):
            found.append(int(path.parent.name))
    return found


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def one(lab, **check):
    lab.write({"it": {"type": "exec", "command": "echo here", "interval": "4s", "timeout": "4s",
                      "failure_threshold": 1, **check}},
              {"far0": lab.hosts["far0"], "here": {"ip": "127.0.0.1"}},
              near={"current_host": "here", "health_check": health.GOOD})


def test_a_shared_connection_that_hangs_and_comes_back(far, serve):
    one(far)
    monitor = serve()
    monitor.wait_status("it", "healthy", 60)
    (master,) = eventually(lambda: masters(far), "a shared connection")
    os.kill(master, signal.SIGSTOP)
    try:
        seen = monitor.wait_status("it", "unhealthy", 60)
        assert seen["issues"] == ["timeout after 4.0 s"]
        # Nobody else is held up, and nothing piles up.
        monitor.wait_status("near", "healthy")
        before = monitor.service("it")["last_checked"]
        eventually(lambda: monitor.service("it")["last_checked"] != before, "it is tried again", 30)
    finally:
        os.kill(master, signal.SIGCONT)
    monitor.wait_status("it", "healthy", 60)


def test_a_shared_connection_that_is_killed_is_made_again(far, serve):
    one(far)
    monitor = serve()
    monitor.wait_status("it", "healthy", 60)
    (master,) = eventually(lambda: masters(far), "a shared connection")
    left = sockets(far)
    os.kill(master, signal.SIGKILL)  # its socket stays
    assert left
    eventually(lambda: [m for m in masters(far) if m != master], "another connection", 60)
    monitor.wait_status("it", "healthy", 60)


def test_a_killed_monitors_connection_serves_the_next_one(far, serve, sshd):
    one(far)
    first = serve()
    first.wait_status("it", "healthy", 60)
    eventually(lambda: masters(far), "a shared connection")
    first.signal(signal.SIGKILL)
    first.process.wait(10)
    first.reader.join(5)
    first.stop = lambda: None  # it was killed
    before = sshd.logins()
    second = serve()
    second.wait_status("it", "healthy", 60)
    assert sshd.logins() == before


def test_a_machine_with_another_key(far, serve, sshd):
    one(far, timeout="8s", interval="8s")
    sshd.stop()
    sshd.new_host_key()
    monitor = serve()
    seen = monitor.wait_status("it", "unhealthy", 60)
    (issue,) = seen["issues"]
    assert issue.startswith("ssh: ") and "Host key verification failed" in issue
    assert seen["last_result"]["problem_type"] == "ssh_unreachable"


def test_sixteen_machines_and_one_that_is_not_there(far, sshd):
    """Each has its own connection; the one that does not answer holds up no other."""
    checks = {}
    hosts = {**far.hosts, "gone": {**far.hosts["far0"], "ip": REMOTE, "ssh_hostname": "127.0.0.1",
                                   "ssh_port": targets.free_port()}}
    for name in hosts:
        for number in range(2):
            checks[f"{name}-{number}"] = {"current_host": name, "health_check": {
                "type": "exec", "command": f"echo {name}", **health.PATIENT}}
    far.write({}, hosts, **checks)
    document = json.loads(far.run("--once", "--json-output", timeout=health.PATIENCE_S).stdout)
    for row in document["services"]:
        if row["machine"] == "gone":
            assert row["status"] == "unhealthy" and "Connection refused" in row["issues"][0]["message"]
        else:
            assert (row["status"], row["last_result"]["message"]) == (
                "healthy", f"exit 0: {row['machine']}"), row
    assert len(document["services"]) == 34 and len(masters(far)) == 16


def test_the_first_process_reaps_everybodys_children(far, tmp_path_factory):
    """As PID 1 of a container: what ssh and programs leave behind becomes its child, and no zombie."""
    up = far.directory / "ready"
    far.write({"far": {"type": "exec", "command": "true", "interval": "1s", "timeout": "10s"}},
              {"far0": far.hosts["far0"], "here": {"ip": "127.0.0.1"}},
              near={"current_host": "here", "health_check": {
                  "type": "exec", "interval": "1s", "timeout": "10s",
                  "command": "(setsid sleep 0.3 &) ; (sleep 0.2 &) ; exit 0"}},
              marks={"current_host": "here", "health_check": {
                  "type": "exec", "interval": "1s", "command": f"ps -eo stat= | sort >{up}.new; mv {up}.new {up}"}})
    monitor = health.Monitor(
        far.directory / "registry.yml", env=far.env,
        around=["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"])
    try:
        monitor.wait_status("far", "healthy", 60)
        monitor.wait_status("near", "healthy", 60)
        for master in eventually(lambda: masters(far), "a shared connection"):
            os.kill(master, signal.SIGKILL)

        def zombies():
            up.unlink(missing_ok=True)
            states = eventually(lambda: up.exists() and up.read_text().split(), "a look inside", 30)
            return sum(state.startswith("Z") for state in states)

        eventually(lambda: zombies() == 0, "all are reaped", 30)
        monitor.wait_status("far", "healthy", 60)
        # The first process hands SIGTERM on, and ends as the monitor does.
        (first,) = children(monitor.pid)
        os.kill(first, signal.SIGTERM)
        monitor.log.wait("health_stopped", timeout=20)
        assert monitor.process.wait(20) == 0
    finally:
        monitor.process.kill()
        monitor.process.wait(10)
        monitor.reader.join(5)
