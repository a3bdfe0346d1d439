#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tests/chroot_upgrade.py ROOT PACKAGE.deb

Upgrades weir in ROOT, where it is installed, while it serves. There is no systemd in ROOT: this script
stands in for it. It holds the socket of weir-relay.socket, runs weir-relay.service as that unit says,
and does what the maintainer scripts ask of systemctl. Whoever connects meanwhile has to be answered.
What it does not show is systemd's own part: its sandbox, and its ordering of units.
"""
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

WAIT_S = 180
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/run/systemctl.calls
case "$*" in *try-restart*) echo "$*" >/run/systemctl.ask; read -r _ </run/systemctl.done ;; esac
"""


def settings(path, key):
    return re.findall(rf"^{key}=(.*)$", path.read_text(), re.M)


class Service:
    """weir-relay.service of a root, with the socket of weir-relay.socket on a port of our own."""

    def __init__(self, root):
        self.root = root
        self.units = root / "lib/systemd/system"
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.socket.getsockname()[1]
        with open(root / "etc/weir/relay.env", "a") as file:
            file.write(f"RELAY_LISTEN_PORT={self.port}\nRELAY_TLS=0\n"
                       "RELAY_VALIDATE_URL=http://127.0.0.1:9/validate\n")
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.bind(str(root / "run/notify"))
        os.chmod(root / "run/notify", 0o666)
        self.told.settimeout(1)
        self.pid = None

    def environment(self):
        unit = self.units / "weir-relay.service"
        lines = settings(unit, "Environment")
        for file in settings(unit, "EnvironmentFile"):
            text = (self.root / file.lstrip("-/")).read_text()
            lines += [line for line in text.splitlines() if re.match(r"\w+=", line)]
        return dict(line.split("=", 1) for line in lines)

    def start(self):
        unit = self.units / "weir-relay.service"
        (user,), (command,) = settings(unit, "User"), settings(unit, "ExecStart")
        entry = re.search(rf"^{user}:[^:]*:(\d+):(\d+):", (self.root / "etc/passwd").read_text(), re.M)
        env = {"PATH": PATH, "NOTIFY_SOCKET": "/run/notify", "LISTEN_FDS": "1", **self.environment(),
               "LISTEN_FDNAMES": settings(self.units / "weir-relay.socket", "FileDescriptorName")[0]}
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(self.socket.fileno(), 3)
            os.set_inheritable(3, True)  # when it was there already
            for number in (1, 2):
                os.dup2(os.open(self.root / "relay.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            os.chroot(self.root)
            os.chdir("/")
            os.setgroups([])
            os.setgid(int(entry[2]))
            os.setuid(int(entry[1]))
            words = command.split()
            os.execve(words[0], words, {**env, "LISTEN_PID": str(os.getpid())})
        while not self.is_ready():
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            assert not ended, (status, (self.root / "relay.log").read_text())

    def is_ready(self):
        try:
            return b"READY=1" in self.told.recv(4096).split(b"\n")
        except TimeoutError:
            return False

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, (status, (self.root / "relay.log").read_text())

    def program(self):
        return os.stat(self.root / f"proc/{self.pid}/exe").st_ino

    def asked(self):
        """Does what systemctl is asked, once."""
        words = (self.root / "run/systemctl.ask").read_text().split()
        assert "weir-relay.service" in words and not [w for w in words if w.endswith(".socket")], words
        self.stop()
        self.start()
        (self.root / "run/systemctl.done").write_text("\n")


class Visitor(threading.Thread):
    """Asks again and again, on connections of its own."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.answers, self.failures, self.enough = port, 0, [], threading.Event()

    def run(self):
        while not self.enough.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
            try:
                connection.request("GET", "/health", headers={"Connection": "close"})
                connection.getresponse().read()
                self.answers += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            connection.close()
            self.enough.wait(0.003)  # others want a processor, too


def main():
    root, package = map(pathlib.Path, sys.argv[1:])
    (root / "usr/bin/systemctl").write_text(SYSTEMCTL)
    os.chmod(root / "usr/bin/systemctl", 0o755)
    (root / "run/systemd/system").mkdir(parents=True)
    (root / "usr/sbin/policy-rc.d").unlink()
    for name in ("ask", "done"):
        os.mkfifo(root / f"run/systemctl.{name}")
    service = Service(root)
    service.start()
    before = service.program()
    visitors = [Visitor(service.port) for _ in range(3)]
    for visitor in visitors:
        visitor.start()
    manager = threading.Thread(target=service.asked, daemon=True)
    manager.start()
    subprocess.run(
        ["chroot", root, "dpkg", "--force-confdef", "--force-confold", "-i", f"/{package.name}"],
        env={"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL,
        timeout=WAIT_S, check=True)
    manager.join(WAIT_S)
    counts = [visitor.answers for visitor in visitors]
    while any(visitor.answers < count + 20 and visitor.is_alive() and not visitor.failures
              for visitor, count in zip(visitors, counts)):
        manager.join(0.01)
    for visitor in visitors:
        visitor.enough.set()
        visitor.join(WAIT_S)
    assert service.program() == os.stat(root / "usr/bin/weir").st_ino != before, "the old one runs on"
    service.stop()
    calls = (root / "run/systemctl.calls").read_text().splitlines()
    assert [call for call in calls if "restart" in call or "stop" in call or "start" in call] == [
        call for call in calls if call.startswith("try-restart")] and len(calls) == 2, calls
    assert calls[0] == "--system daemon-reload", calls
    failures = [failure for visitor in visitors for failure in visitor.failures]
    assert not failures, failures[:5]
    print(f"{sum(visitor.answers for visitor in visitors)} connections meanwhile, none refused")


if __name__ == "__main__":
    main()
