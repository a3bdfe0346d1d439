# SPDX-License-Identifier: Apache-2.0
"""The Unix socket between the commands of a user and his monitor."""
import json
import os
import signal
import socket
import stat
import subprocess

import pytest

from lib import health, weir
from lib.wait import eventually


def place(lab):
    return lab.directory / "run" / "portoser.sock"


def curl(path, target, *args):
    done = subprocess.run(["curl", "-sS", "--max-time", "10", "--unix-socket", str(path),
                           f"http://localhost{target}", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def quiet(lab):
    up = health.Switch(lab)
    lab.write({"it": {**up.check, "failure_threshold": 1}})
    return up


def test_commands_find_the_monitor(lab, serve):
    up = quiet(lab)
    monitor = serve()
    monitor.wait_status("it", "healthy")
    up.off()
    monitor.wait_status("it", "unhealthy")
    document = json.loads(lab.run("--json-output", env={"PORTOSER_URL": ""}).stdout)
    assert (document["source"], document["services"][0]["status"]) == ("daemon", "unhealthy")
    assert json.loads(weir.run("health", "machines", "--json", env=lab.env).stdout)["machines"][0]["machine"] == "here"
    done = weir.run("health", "event", "deployment_started", "--message", "release 7", env=lab.env)
    assert (done.returncode, done.stderr) == (0, "")
    assert monitor.events(type="diagnostic_run")[0]["message"] == "deployment_started: release 7"
    # By name, too; and not when the checks are to be made now.
    named = lab.run("--json-output", "--server", f"unix:{place(lab)}")
    assert json.loads(named.stdout)["source"] == "daemon"
    assert json.loads(lab.run("--json-output", "--once").stdout)["source"] == "direct"


def test_only_about_the_registry_that_is_meant(lab, serve, tmp_path_factory):
    quiet(lab)
    monitor = serve()
    monitor.wait_status("it", "healthy")
    other = tmp_path_factory.mktemp("other") / "registry.yml"
    other.write_text((lab.directory / "registry.yml").read_text())
    done = weir.run("health", "--json-output", "--registry", str(other), env=lab.env)
    assert json.loads(done.stdout)["source"] == "direct"


def test_it_is_the_users_alone_and_asks_for_no_token(lab, serve):
    quiet(lab)
    tokens = lab.directory / "tokens"
    tokens.write_text("operator-token-01234 operator\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "false")
    assert monitor.ask("GET", "/api/health/dashboard").status == 401
    mode = os.lstat(place(lab)).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    eventually(lambda: json.loads(curl(place(lab), "/api/health/dashboard"))["healthy_services"],
               "it answers")
    answer = json.loads(curl(place(lab), "/api/health/maintenance/it", "-X", "POST"))
    assert answer["maintenance"] is True
    # Also what only an administrator may, and under whatever name.
    assert "success" in curl(place(lab), "/api/metrics/cleanup?days=1", "-X", "DELETE", "-H", "Host: x")


def test_a_path_of_its_own_and_none(lab, serve):
    quiet(lab)
    path = lab.directory / "mine.sock"
    monitor = serve("--socket", str(path))
    assert json.loads(curl(path, "/ping")) == {"status": "ok"}
    assert not place(lab).exists()
    none = serve("--socket", "none")
    assert not place(lab).exists()
    for one in (monitor, none):
        assert one.get("/ping") == {"status": "ok"}


def test_it_goes_with_the_monitor(lab, serve):
    quiet(lab)
    monitor = serve()
    assert place(lab).exists()
    monitor.stop()
    assert not place(lab).exists()


def test_what_a_crash_left_is_replaced(lab, serve):
    quiet(lab)
    first = serve()
    first.signal(signal.SIGKILL)
    first.process.wait(10)
    assert place(lab).exists()
    # Nobody listens: commands check by themselves.
    assert json.loads(lab.run("--json-output").stdout)["source"] == "direct"
    second = serve()
    second.wait_status("it", "healthy")
    assert json.loads(lab.run("--json-output").stdout)["source"] == "daemon"
    first.reader.join(5)
    first.stop = lambda: None  # it was killed


def test_of_two_the_first_has_it_and_the_next_takes_over(lab, serve):
    quiet(lab)
    first = serve()
    second = serve()

    def who():
        return json.loads(curl(place(lab), "/api/health/timeline?limit=1"))["total_events"]

    first.wait_status("it", "healthy")
    second.wait_status("it", "healthy")
    curl(place(lab), "/api/health/maintenance/it", "-X", "POST")
    assert first.events(type="maintenance_started") and not second.events(type="maintenance_started")
    first.stop()
    eventually(place(lab).exists, "the second has it")
    assert who() and json.loads(curl(place(lab), "/api/health/dashboard"))["services"][0]["maintenance"] is False


@pytest.mark.parametrize("what", ("a file", "no directory", "too long"))
def test_one_that_cannot_be_had_is_told_and_harms_nothing(lab, serve, what):
    quiet(lab)
    path = lab.directory / {"a file": "file", "no directory": "none/sock", "too long": "x" * 120}[what]
    if what == "a file":
        path.write_text("mine")
    monitor = serve("--socket", str(path))
    assert monitor.log.wait("health_socket_failed")["details"]["path"] == str(path)
    monitor.wait_status("it", "healthy")
    if what == "a file":
        assert path.read_text() == "mine"


def test_who_connects_and_is_silent_keeps_nobody_out(lab, serve):
    quiet(lab)
    serve()
    silent = []
    for _ in range(30):
        silent.append(socket.socket(socket.AF_UNIX))
        silent[-1].connect(str(place(lab)))
    assert json.loads(curl(place(lab), "/ping")) == {"status": "ok"}
    for one in silent:
        one.close()


def test_a_named_one_that_is_not_there(lab):
    quiet(lab)
    done = lab.run("--server", f"unix:{lab.directory}/none.sock")
    assert done.returncode == 69 and "cannot be reached" in done.stderr
