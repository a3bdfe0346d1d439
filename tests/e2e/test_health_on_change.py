# SPDX-License-Identifier: Apache-2.0
"""The on_change hook: whoever is to know of a change of state is told, once, and of what holds."""
import http.server
import json
import signal
import threading

import pytest

from lib import health
from lib.wait import eventually

SCRIPT = """#!/bin/sh
printf '%s|%s|%s|%s|%s\\n' "$WEIR_SERVICE" "$WEIR_MACHINE" "$WEIR_PREVIOUS_STATUS" "$WEIR_STATUS" "$WEIR_MESSAGE" >>'{told}'
"""


@pytest.fixture
def hook(lab):
    """A command that writes down what it is told, and what it has written."""
    path, told = lab.directory / "hook.sh", lab.directory / "told"
    path.write_text(SCRIPT.format(told=told))
    path.chmod(0o755)

    def lines():
        return told.read_text().splitlines() if told.exists() else []

    return str(path), lines


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.got.append((self.headers["Content-Type"], json.loads(self.rfile.read(length))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.status = [], 204
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def count(monitor, name):
    return monitor.metrics()[name]


def test_a_command_is_told(lab, serve, hook):
    command, lines = hook
    up, other = health.Switch(lab, "up"), health.Switch(lab, "other")
    lab.write({"it": {**up.check, "interval": "1s", "failure_threshold": 1}, "well": {**other.check, "interval": "1s"}})
    monitor = serve("--on-change", command, "--on-change-quiet", "1")
    monitor.wait_status("it", "healthy")
    up.off()
    monitor.wait_status("it", "unhealthy")
    eventually(lambda: len(lines()) == 1, "it is told")
    service, machine, before, now, message = lines()[0].split("|")
    assert (service, machine, before, now) == ("it", "here", "healthy", "unhealthy")
    assert message == "failed (1 in a row): pid file missing"
    up.on()
    eventually(lambda: len(lines()) == 2, "the end is told")
    assert lines()[1].startswith("it|here|unhealthy|healthy|passing: ")
    # A service that is well from the beginning is no news, and neither is one state twice.
    assert count(monitor, "portoser_hook_calls_total") == 2
    assert count(monitor, "portoser_hook_failures_total") == 0


def test_who_flaps_is_told_once(lab, serve, hook):
    command, lines = hook
    up = health.Switch(lab)
    lab.write({"it": {**up.check, "interval": "1s", "failure_threshold": 1}})
    monitor = serve("--on-change", command, "--on-change-quiet", "86400")
    for _ in range(3):
        monitor.wait_status("it", "healthy")
        up.off()
        monitor.wait_status("it", "unhealthy")
        up.on()
    monitor.wait_status("it", "healthy")
    eventually(lambda: len(lines()) == 1, "it is told")
    assert count(monitor, "portoser_hook_calls_total") == 1


def test_what_holds_is_told_in_the_end(lab, serve, hook):
    command, lines = hook
    up = health.Switch(lab)
    lab.write({"it": {**up.check, "interval": "1s", "failure_threshold": 1}})
    monitor = serve("--on-change", command, "--on-change-quiet", "2")
    monitor.wait_status("it", "healthy")
    up.off()
    eventually(lambda: len(lines()) == 1, "the first is told")
    up.on()
    monitor.wait_status("it", "healthy")
    eventually(lambda: len(lines()) == 2, "the last is told")
    assert lines()[1].split("|")[2:4] == ["unhealthy", "healthy"]


def test_maintenance_is_silent_until_it_is_over(lab, serve, hook):
    command, lines = hook
    up, sign = health.Switch(lab), health.Switch(lab, "sign")
    lab.write({"it": {**up.check, "interval": "1s", "failure_threshold": 1}, "sign": {**sign.check, "interval": "1s", "failure_threshold": 1}})
    monitor = serve("--on-change", command)
    monitor.wait_status("it", "healthy")
    monitor.wait_status("sign", "healthy")
    monitor.ask("POST", "/api/health/maintenance/it")
    up.off()
    monitor.wait_status("it", "unhealthy")
    sign.off()
    eventually(lambda: [l.split("|")[0] for l in lines()] == ["sign"], "only the other is told")
    monitor.ask("DELETE", "/api/health/maintenance/it")
    eventually(lambda: [l.split("|")[0] for l in lines()] == ["sign", "it"], "it is told now")


def test_an_address_is_told(lab, serve, receiver):
    up = health.Switch(lab, on=False)
    lab.write({"it": {**up.check, "interval": "1s", "failure_threshold": 1}})
    monitor = serve("--on-change", f"http://127.0.0.1:{receiver.server_port}/told",
                    "--on-change-quiet", "1")
    eventually(lambda: receiver.got, "it is told")
    kind, body = receiver.got[0]
    assert kind == "application/json"
    assert body.pop("timestamp").endswith("Z")
    assert body == {"type": "health_status_change", "service": "it", "machine": "here",
                    "previous_status": "healthy", "new_status": "unhealthy",
                    "message": "failed (1 in a row): pid file missing"}
    receiver.status = 500
    up.on()
    assert monitor.log.wait("health_hook_failed")["details"] == {"service": "it", "problem": "HTTP 500"}
    assert count(monitor, "portoser_hook_failures_total") == 1


def test_a_hook_that_fails_says_so_and_harms_nobody(lab, serve):
    up = health.Switch(lab, on=False)
    lab.write({"it": {**up.check, "interval": "1s", "failure_threshold": 1}})
    monitor = serve("--on-change", "echo 'no network' >&2; exit 7")
    failed = monitor.log.wait("health_hook_failed")["details"]
    assert failed == {"service": "it", "problem": "exit 7: no network"}
    up.on()
    monitor.wait_status("it", "healthy")


def test_many_at_once_wait_for_their_turn(lab, serve, hook):
    command, lines = hook
    up = health.Switch(lab, on=False)
    names = [f"s{i}" for i in range(40)]
    lab.write({name: {**up.check, "interval": "1s", "failure_threshold": 1} for name in names})
    monitor = serve("--on-change", command)
    eventually(lambda: len(lines()) == len(names), "all are told", 30)
    assert sorted(line.split("|")[0] for line in lines()) == sorted(names)
    assert count(monitor, "portoser_hook_failures_total") == 0


def test_what_hangs_ends_with_the_monitor(lab, serve):
    pid = lab.directory / "hook.pid"
    up = health.Switch(lab, on=False)
    lab.write({"it": {**up.check, "interval": "1s", "failure_threshold": 1}})
    monitor = serve("--on-change", f"trap '' TERM; echo $$ >{pid}.new; mv {pid}.new {pid}; sleep 600")
    process = int(eventually(lambda: pid.exists() and pid.read_text(), "it hangs"))
    # The checks go on meanwhile.
    up.on()
    monitor.wait_status("it", "healthy")
    monitor.signal(signal.SIGTERM)
    assert monitor.process.wait(20) == 0
    eventually(lambda: not health.alive(process), "nothing is left")


def test_a_quiet_time_that_is_none(lab):
    lab.write({})
    done = lab.run("serve", "--on-change", "true", "--on-change-quiet", "0")
    assert done.returncode == 64 and "--on-change-quiet" in done.stderr
