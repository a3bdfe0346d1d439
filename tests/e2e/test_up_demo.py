# SPDX-License-Identifier: Apache-2.0
"""`weir up --demo`: everything at once on loopback, and something that moves in each part."""
import json
import os
import pathlib
import pty
import re
import shlex
import signal
import socket
import subprocess
import urllib.request

import pytest

from lib import browser as chromium
from lib import weir
from lib.wait import eventually

# Of the check that fails on purpose, as short as it may be.
PERIOD_S = 36
LONG_S = 60  # two checks one after the other, and a machine with more to do


class Demo(weir.Relay):
    """All ports are those that the kernel chose. `self.page()` is what was printed."""

    def __init__(self, state_dir, *more):
        self.state_dir = state_dir
        env = {name: None for name in (
            "RELAY_TLS", "RELAY_ADMIN_TOKEN", "RELAY_ENABLE_ADMIN_HTTP", "RELAY_LISTEN_PORT",
            "RELAY_BACKPLANE_MODE")}
        super().__init__(env, args=(
            "up", "--demo", "--state-dir", str(state_dir), "--listen", "127.0.0.1:0",
            "--engine-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0",
            "--demo-period", str(PERIOD_S), *more))
        weir.live.remove(self)  # its own peers never leave

    def page(self):
        return eventually(
            lambda: self.stderr() if "weir token relay" in self.stderr() else None, "the page")

    def commands(self):
        lines = re.findall(r"^    (.+)$", self.page(), re.MULTILINE)
        return [line for line in lines if not line.startswith("wss://")]

    def command(self, words):
        return next(line for line in self.commands() if words in line)

    def base(self):
        return re.search(r"Open (http://\S+)/health\n", self.page())[1]

    def monitor(self, path):
        with urllib.request.urlopen(self.base() + path, timeout=10) as answer:
            return json.load(answer)

    def services(self):
        rows = self.monitor("/api/health/dashboard")["services"]
        return {row["service"]: row for row in rows}

    def numbers(self):
        secret = (self.state_dir / "admin-token").read_text().strip()
        port = self.port
        answer = subprocess.run(
            ["curl", "-sSf", "--cacert", self.state_dir / "localhost.crt", "-H",
             f"Authorization: Bearer {secret}", f"https://localhost:{port}/metrics"],
            capture_output=True, text=True, timeout=20, check=True)
        return weir.parse_metrics(answer.stdout)


@pytest.fixture(scope="module", name="demo")
def demo_fixture(tmp_path_factory):
    running = Demo(tmp_path_factory.mktemp("demo") / "state")
    yield running
    running.stop()


def shell(line, stdin=None):
    """What a person would see who has pasted the line."""
    return subprocess.run(
        ["bash", "-c", line], env=weir.base_environment(), input=stdin, capture_output=True,
        text=True, timeout=30, check=False)


def test_the_published_service_is_reached_by_curl(demo):
    demo.log.wait("demo_published")
    line = demo.command("curl ")
    assert re.fullmatch(r"curl --cacert \S+/edge\.crt https://hello\.t\.localhost:\d+/", line)
    first, second = shell(line), shell(line + " -H 'X-Mark: <b>'")
    assert first.returncode == 0, first.stderr
    assert "hello from behind a tunnel" in first.stdout and "x-forwarded-proto: https" in first.stdout
    assert "x-mark: <b>" in second.stdout
    asked = [int(re.search(r"number (\d+)", answer.stdout)[1]) for answer in (first, second)]
    assert asked[1] > asked[0]


def test_a_browser_gets_a_page_with_nothing_of_its_own_request_in_markup(demo):
    demo.log.wait("demo_published")
    page = shell(demo.command("curl ") + " -H 'Accept: text/html' -H 'X-Mark: <b>&' -i").stdout
    assert "text/html; charset=utf-8" in page and "<h1>hello from behind a tunnel</h1>" in page
    assert "x-mark: &lt;b&gt;&amp;" in page and "<b>" not in page


def test_the_page_says_that_it_is_a_demo(demo):
    page = shell(f"curl -sSf -H 'Accept: text/html' {demo.base()}/health").stdout
    assert re.search(r'<header class="banner .*<p class="notice">This is a demo, made by weir up', page,
                     re.DOTALL)


def texts(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector)


def show(browser, view):
    def there():
        return browser.execute_script(
            "const e = [...document.querySelectorAll('.views button')]"
            ".find(e => e.innerText.endsWith(arguments[0])); e?.click(); return e !== undefined", view)
    eventually(there, f"the view {view}", LONG_S)


def test_a_browser_sees_all_three(demo, tmp_path):
    """It knows names below localhost by itself; the certificate it would have to be told of."""
    browser = chromium.start(tmp_path / "chromium", "--ignore-certificate-errors")
    try:
        browser.get(demo.base() + "/health")
        eventually(lambda: any("This is a demo" in text for text in texts(browser, ".banner .notice")),
                   "the notice", LONG_S)
        show(browser, "relay")
        eventually(lambda: "weir-demo:echo" in texts(browser, ".rows .name"), "the cell", LONG_S)
        show(browser, "tunnels")
        eventually(lambda: any("hello.t.localhost" in row for row in texts(browser, ".rows .row")),
                   "the tunnel", LONG_S)
        browser.get(re.search(r"https://hello\.t\.localhost:\d+/", demo.page())[0])
        eventually(lambda: texts(browser, "h1") == ["hello from behind a tunnel"], "the service", LONG_S)
    finally:
        browser.quit()


def test_frames_of_the_session_move(demo):
    def frames():
        return sum(value for name, value in demo.numbers().items()
                   if name.startswith("relay_frames_") and "_total" in name)

    before = eventually(frames, "a frame")
    eventually(lambda: frames() > before + 4, "more frames", timeout=LONG_S)


def test_every_check_is_fine(demo):
    names = {"relay", "relay-session", "platform", "engine", "hello-service", "hello",
             "state-directory", "moody"}
    assert set(demo.services()) == names
    eventually(lambda: {name for name, row in demo.services().items()
                        if row["status"] == "healthy"} >= names - {"moody"},
               "all but the moody one are healthy", timeout=LONG_S)


def test_the_moody_one_fails_on_purpose_says_so_and_comes_back(demo):
    def status():
        return demo.services()["moody"]

    row = eventually(lambda: status() if status()["status"] == "unhealthy" else None,
                     "it is unhealthy", timeout=3 * PERIOD_S)
    assert "fails on purpose: 6 s of every 36 s" in str(row["issues"])
    eventually(lambda: status()["status"] == "healthy", "it is back", timeout=PERIOD_S)
    events = [line["details"] for line in demo.log.all("health_event")
              if line["details"].get("service") == "moody"]
    assert {"degraded", "unhealthy", "healthy"} <= {event["status"] for event in events}


def test_what_is_printed_works(demo):
    demo.log.wait("demo_published")
    health = shell(demo.command(" health "))
    assert re.search(r"^hello +demo ", health.stdout, re.MULTILINE), health.stderr
    tunnels = shell(demo.command(" tunnels "))
    assert tunnels.returncode == 0 and "hello.t.localhost" in tunnels.stdout, tunnels.stderr
    minted = shell(demo.command(" token relay "))
    assert minted.returncode == 0 and minted.stdout.count(".") == 2
    echoed = shell(demo.command(" relay demo --state-dir "), stdin="first line\n")
    assert echoed.returncode == 0 and "echo: first line" in echoed.stdout, echoed.stderr


def test_events_and_another_published_port(demo, tmp_path):
    demo.log.wait("demo_published")
    said = {name: tmp_path / name for name in ("events", "forward")}
    running = []

    def begin(name):
        with open(said[name], "wb") as out:
            running.append(subprocess.Popen(
                shlex.split(demo.command(f" {name} ")), env=weir.base_environment(), stdout=out))

    try:
        begin("events")
        eventually(lambda: b"state.initial" in said["events"].read_bytes(), "the state", LONG_S)
        begin("forward")
        url = demo.command("curl ").replace("hello.t.", "again.t.")
        eventually(lambda: "hello from behind" in shell(url).stdout, "the other tunnel", LONG_S)
        eventually(lambda: b"again.t.localhost" in said["events"].read_bytes(), "an event of it", LONG_S)
    finally:
        for process in running:
            process.terminate()
            process.wait(20)


def test_keys_and_secrets_are_for_the_owner_only(demo):
    assert (demo.state_dir / "demo").stat().st_mode & 0o077 == 0
    for name in ("agent.yml", "edge.key", "engine-secret", "weir.yml"):
        assert (demo.state_dir / "demo" / name).stat().st_mode & 0o077 == 0, name


def test_the_weir_yml_that_was_made_is_a_good_one(demo):
    checked = weir.run("config", "check", "up", "-c", str(demo.state_dir / "demo/weir.yml"))
    assert checked.returncode == 0 and "up: fine" in checked.stdout, checked.stderr


def test_a_terminal_shows_what_to_do_and_no_log(tmp_path):
    """The state directory needs quotes, too."""
    master, slave = pty.openpty()
    state = tmp_path / "it's here"
    said = tmp_path / "said"
    with open(said, "wb") as out:
        process = subprocess.Popen(
            [weir.binary(), "up", "--demo", "--state-dir", state, "--listen", "127.0.0.1:0",
             "--engine-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"],
            env=weir.base_environment(), stdin=subprocess.DEVNULL, stdout=slave, stderr=out)
    os.close(slave)
    try:
        eventually(lambda: "weir token relay" in said.read_text(), "what to do", LONG_S)
        line = re.search(r"^    (curl .*)$", said.read_text(), re.MULTILINE)[1]
        assert "Warnings of the log appear here" in said.read_text()
        eventually(lambda: "hello from behind" in shell(line).stdout, "the service", LONG_S)
    finally:
        process.terminate()
        assert process.wait(weir.STOP_TIMEOUT_S) == 0, said.read_text()
    shown = b""
    while True:
        try:
            more = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        shown += more
    os.close(master)
    assert b'"level":"info"' not in shown


def test_a_second_start_keeps_keys_and_certificates(tmp_path):
    kept = ("localhost.crt", "signing.pem", "admin-token", "demo/edge.crt", "demo/engine-secret")
    seen = []
    for _ in range(2):
        with Demo(tmp_path / "state") as demo:
            demo.log.wait("demo_published")
            seen.append([(demo.state_dir / name).read_bytes() for name in kept])
            assert "hello from behind" in shell(demo.command("curl ")).stdout
    assert seen[0] == seen[1]


def command_lines():
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            pass


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_while_everything_moves(tmp_path, signal_number):
    with Demo(tmp_path / "state") as demo:
        eventually(lambda: demo.services()["hello"]["status"] == "healthy", "a check", LONG_S)
        demo.signal(signal_number)
        assert demo.wait() == 0, demo.stderr()
    assert not demo.log.all("drain_timeout")
    events = [line["event"] for line in demo.log.lines]
    # What ends on purpose has not failed.
    late = [line["details"] for line in demo.log.lines[events.index("health_stopping"):]
            if line["event"] == "health_event"]
    assert not late, json.dumps(late)
    mark = re.search(r"date \+%s\) - \d+", (demo.state_dir / "demo/registry.yml").read_text())[0]
    assert not [line for line in command_lines() if mark in line]  # of a check


def children(pid):
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = path.read_text().split(" (", 1)
        except OSError:
            continue
        if rest.rpartition(") ")[2].split()[1] == str(pid):
            yield int(number)


def test_the_end_of_its_child_is_noticed_and_said(tmp_path):
    """Of the process that starts programs; the rest goes on without it."""
    with Demo(tmp_path / "state") as demo:
        eventually(lambda: demo.services()["moody"]["status"] == "healthy", "a check", LONG_S)
        for child in children(demo.pid):
            os.kill(child, signal.SIGKILL)
        eventually(lambda: "weir-spawner, which starts programs, has ended; start weir again" in
                   str(demo.services()["moody"]["issues"]), "the check says so", LONG_S)
        assert "hello from behind" in shell(demo.command("curl ")).stdout


def test_ports_that_are_taken_are_named_with_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [held.getsockname()[1] for held in (one, two)]
        ended = weir.run(
            "up", "--demo", "--state-dir", str(tmp_path / "state"), "--listen", "127.0.0.1:0",
            "--engine-listen", f"127.0.0.1:{ports[0]}", "--health-listen", f"127.0.0.1:{ports[1]}")
    assert ended.returncode == 1
    for port, option in zip(ports, ("--engine-listen", "--health-listen")):
        assert (f"port {port} of 127.0.0.1 is taken, perhaps by another weir; "
                f"{option} 127.0.0.1:0 takes one that is free") in ended.stderr


def test_two_demos_do_not_share_a_port(demo, tmp_path):
    ended = weir.run("up", "--demo", "--state-dir", str(tmp_path / "state"), "--listen",
                     f"127.0.0.1:{demo.port}", "--engine-listen", "127.0.0.1:0",
                     "--health-listen", "127.0.0.1:0")
    assert ended.returncode == 1 and f"port {demo.port} of 127.0.0.1 is taken" in ended.stderr


@pytest.mark.parametrize("words,said", [
    (["--demo", "-c", "weir.yml"], "--demo makes a weir.yml of its own; leave out -c, or --demo"),
    (["--demo-period", "60"], "--demo-period is for --demo"),
    (["--engine-listen", "127.0.0.1:0"], "engine and health run with --demo, or -c FILE"),
    (["--demo", "--demo-period", "35"], '--demo-period "35" is not usable; allowed: 36-3600'),
    (["--demo", "--demo-period", "soon"], '--demo-period "soon" is not usable; allowed: 36-3600'),
    (["--demo", "--engine-listen", "here"], 'weir: --engine-listen "here" is not usable; allowed: ADDR'),
    (["--demo", "--health-listen", "here"], '"here" is not usable to listen on'),
])
def test_what_makes_no_sense_is_refused(tmp_path, words, said):
    ended = weir.run("up", *words, "--state-dir", str(tmp_path / "state"))
    assert ended.returncode == 64 and said in ended.stderr


def test_a_state_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    ended = weir.run("up", "--demo", "--state-dir", str(tmp_path / "file"))
    assert ended.returncode == 1 and str(tmp_path / "file") in ended.stderr
