# SPDX-License-Identifier: Apache-2.0
"""The command line of weir health: forms, exit codes, whom it asks, and --watch."""
import json
import os
import pathlib
import signal
import subprocess
import threading

import pytest

from lib import health, targets, weir
from lib.wait import eventually


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, **kwargs):
        running.append(health.Monitor(lab.directory / "registry.yml", *args, env=lab.env, **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


GOOD = health.GOOD
BAD = {"type": "exec", "command": "echo broken; exit 2", **health.PATIENT}
SLOW = {"type": "exec", "command": "sleep 0.05", "max_response_ms": 1, **health.PATIENT}


# ---- Forms and exit codes


@pytest.mark.parametrize("checks, code", [
    ({"a": GOOD}, 0),
    ({"a": GOOD, "b": SLOW}, 1),
    ({"a": GOOD, "b": SLOW, "c": BAD}, 2),
    ({"a": GOOD, "b": False}, 3),
    ({"a": SLOW, "b": False}, 1),
    ({}, 3),
])
def test_exit_codes(lab, checks, code):
    lab.write(checks)
    assert lab.run("--once").returncode == code
    assert lab.run("--once", "--exit-zero").returncode == 0
    done = lab.run("--once", "-q")
    assert (done.returncode, done.stdout) == (code, "")


def test_table(lab):
    lab.write({"web": GOOD, "db": BAD}, wrong={"current_host": "here", "health_check": {"type": "x"}})
    done = lab.run("--once")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("CLUSTER UNHEALTHY  score ")
    assert "1 healthy, 0 degraded, 1 unhealthy, 1 unknown  (3 services on 1 machines)  direct, " in lines[0]
    assert lines[2].split() == ["SERVICE", "MACHINE", "STATUS", "SCORE", "LATENCY", "LAST-CHECK", "ISSUE"]
    assert lines[3].split()[:4] == ["web", "here", "HEALTHY", "100"]
    assert lines[4].endswith("exit 2, expected 0: broken")
    assert "\033" not in done.stdout
    assert "1 mistake in " in done.stderr
    only = lab.run("--once", "--status", "unhealthy").stdout
    assert "db" in only and "web" not in only
    assert lab.run("--once", "--status", "sick").returncode == 64
    assert "there is no service" in lab.run("--once", "nobody").stderr


def test_nothing_steers_the_terminal(lab):
    lab.write({"a\u009b31mb\u001b]0;x": GOOD})
    assert "a?31mb?]0;x" in lab.run("--once").stdout


def test_older_forms(lab):
    lab.write({"web": GOOD, "db": BAD})

    def run(*words):
        done = lab.run(*words)
        return done.returncode, done.stdout

    assert run("check", "web") == (0, "✓ Service 'web' is healthy\n")
    assert run("check", "db") == (1, "✗ Service 'db' is unhealthy or unreachable\n")
    code, text = run("check-all")
    assert code == 1
    assert text.splitlines() == [
        "Checking health of all services...",
        "web                            ... ✓ Service 'web' is healthy", "✓ HEALTHY",
        "db                             ... ✗ Service 'db' is unhealthy or unreachable", "✗ UNHEALTHY",
        "✗ Some services are unhealthy",
    ]
    code, text = run("status", "web")
    assert code == 0
    assert text.splitlines() == [
        "Service: web", "  Type: docker", "  Host: here", "  Hostname: web.internal",
        "  Status: running", "  Health: ✓ Healthy",
    ]
    code, text = run("db", "here", "--once")
    assert code == 2
    assert text.splitlines()[:3] == ["Health Check: db on here", "Status: unhealthy", "Health Score: 59/100"]
    assert text.splitlines()[-1] == "  - [ERROR] exit 2, expected 0: broken"
    assert "No issues detected" in run("web", "here", "--once")[1]
    assert run("db", "elsewhere", "--once")[0] == 3
    # A service with the name of a command.
    lab.write({"check": GOOD})
    assert run("--once", "--", "check")[0] == 0


def test_json_is_always_one_document(lab):
    lab.write({"web": GOOD})
    one = json.loads(lab.run("web", "--once", "--json-output").stdout)
    assert {"service", "machine", "status", "health_score", "issues"} <= set(one)
    everything = json.loads(lab.run("--json-output", "--once", "--all").stdout)
    assert {"timestamp", "overall_status", "overall_health_score", "total_services", "healthy",
            "degraded", "unhealthy", "unknown", "source", "services", "machines"} == set(everything)
    done = lab.run("nobody", "--json", "--once")
    assert (list(json.loads(done.stdout)), done.returncode) == (["error"], 3)
    (lab.directory / "registry.yml").write_text("services: [")
    done = lab.run("--json-output")
    assert (list(json.loads(done.stdout)), done.returncode) == (["error"], 66)
    done = weir.run("health", "--json-output", env={"CADDY_REGISTRY_PATH": "/no/such"})
    assert (list(json.loads(done.stdout)), done.returncode) == (["error"], 66)


# ---- The registry


def test_which_registry(lab, tmp_path):
    names = ["flag", "caddy", "portoser", "file", "path", "config", "here"]
    paths = {}
    for name in names:
        directory = tmp_path / name
        directory.mkdir()
        paths[name] = directory / "registry.yml"
        paths[name].write_text("hosts: {}\nservices: {}\n")
    home = tmp_path / "home"
    (home / ".portoser").mkdir(parents=True)

    def path(env=None, *args, cwd=tmp_path / "here"):
        done = subprocess.run(
            [weir.binary(), "health", "registry", "path", *args], cwd=cwd, capture_output=True,
            text=True, check=False, env={**weir.base_environment(), "HOME": str(home), **(env or {})},
        )
        return done.stdout.strip() or done.stderr

    env = {"CADDY_REGISTRY_PATH": paths["caddy"], "PORTOSER_REGISTRY": paths["portoser"],
           "REGISTRY_FILE": paths["file"], "REGISTRY_PATH": paths["path"]}
    env = {k: str(v) for k, v in env.items()}
    assert path(env, "--registry", str(paths["flag"])) == str(paths["flag"])
    for name in list(env):
        assert path(env) == env[name]
        del env[name]
    assert path() == "./registry.yml"
    (home / ".portoser" / "config.yml").write_text(f"registry: {paths['config']}\n")
    assert path() == str(paths["config"])
    (home / ".portoser" / "config.yml").unlink()
    (home / ".portoser" / "registry.yml").write_text("services: {}\n")
    assert path(cwd=home) == str(home / ".portoser" / "registry.yml")
    # One that was named must be there.
    assert "does not exist (named by REGISTRY_FILE)" in path({"REGISTRY_FILE": "/no/such"})
    # A .env file, unless it is not wanted.
    (tmp_path / "here" / ".env").write_text(
        f"# a comment\nexport PORTOSER_REGISTRY='{paths['portoser']}'\r\nOTHER=1\n")
    assert path() == str(paths["portoser"])
    assert path({"PORTOSER_REGISTRY": str(paths["flag"])}) == str(paths["flag"])
    assert path({"PORTOSER_SKIP_ENV": "1"}) == "./registry.yml"


def test_validate(lab):
    lab.write({"web": {"type": "tcp", "port": 70000, "timout": 1}})
    done = lab.run("registry", "validate")
    path = lab.directory / "registry.yml"
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{path}:12: services.web.health_check.port: must be a whole number, 1-65535",
        f"{path}:13: warning: services.web.health_check.timout: is not a known key; did you mean "
        '"timeout"?',
        f"{path}: 1 services on 1 machines, 1 errors, 1 warnings",
    ]
    document = json.loads(lab.run("registry", "validate", "--json").stdout)
    assert document["valid"] is False
    assert document["notes"][0]["path"] == "services.web.health_check.port"
    lab.write({"web": GOOD})
    assert lab.run("registry", "validate").returncode == 0
    shown = lab.run("registry", "show").stdout
    path.write_text(shown)
    assert lab.run("registry", "show").stdout == shown


# ---- Whom it asks


def test_asks_a_running_monitor(lab, serve):
    lab.write({"web": GOOD, "db": {**BAD, "interval": "200ms", "timeout": "200ms"}})
    monitor = serve()
    monitor.wait_status("db", "unhealthy")
    eventually(lambda: monitor.service("web")["status"] == "healthy", "a pass")
    done = lab.run("--server", monitor.url, "--json-output")
    document = json.loads(done.stdout)
    assert (document["source"], done.returncode) == ("daemon", 2)
    assert [s["status"] for s in document["services"]] == ["healthy", "unhealthy"]
    assert document["services"][1]["issues"][0]["type"] == "error"
    assert document["services"][1]["consecutive_failures"] >= 3
    assert "  daemon, " in lab.run(env={"PORTOSER_URL": monitor.url}).stdout
    assert json.loads(lab.run("web", "--server", monitor.url, "--json").stdout)["status"] == "healthy"
    assert lab.run("nobody", "--server", monitor.url).returncode == 3
    # Not asked.
    assert json.loads(lab.run("--once", "--json", env={"PORTOSER_URL": monitor.url}).stdout)["source"] == "direct"


def test_a_monitor_that_is_not_there(lab):
    lab.write({"web": GOOD})
    done = lab.run("--server", f"http://127.0.0.1:{targets.free_port()}")
    assert done.returncode == 69
    assert "cannot be reached" in done.stderr
    done = lab.run("--server", f"http://127.0.0.1:{targets.free_port()}", "--json")
    assert (done.returncode, list(json.loads(done.stdout))) == (69, ["error"])


def test_a_monitor_that_wants_a_token(lab, serve):
    lab.write({"web": GOOD})
    tokens = lab.directory / "tokens"
    tokens.write_text("viewer-token-0123456 viewer\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "false", token="viewer-token-0123456")
    monitor.wait_status("web", "healthy")
    done = lab.run("--server", monitor.url)
    assert (done.returncode, "wants a token" in done.stderr) == (77, True)
    assert lab.run("--server", monitor.url, "--token", "viewer-token-0123456").returncode == 0
    env = {"PORTOSER_URL": monitor.url, "PORTOSER_TOKEN": "viewer-token-0123456"}
    assert lab.run(env=env).returncode == 0


def test_the_monitor_of_another_registry_is_not_asked(lab, serve, tmp_path_factory):
    """What runs at the usual port is believed only when it is about the same file."""
    lab.write({"web": GOOD})
    try:
        monitor = health.Monitor(lab.directory / "registry.yml", "--listen", "127.0.0.1:8988", env=lab.env)
    except AssertionError:
        pytest.fail("port 8988 of loopback is taken")
    other = health.Lab(tmp_path_factory.mktemp("other"))
    other.write({"mine": GOOD})
    try:
        monitor.wait_status("web", "healthy")
        assert json.loads(lab.run("--json").stdout)["source"] == "daemon"
        document = json.loads(other.run("--json").stdout)
        assert (document["source"], document["services"][0]["service"]) == ("direct", "mine")
    finally:
        monitor.stop()


# ---- --watch


def watch(lab, *args):
    return subprocess.Popen(
        [weir.binary(), "health", "--watch=1", "--registry", str(lab.directory / "registry.yml"), *args],
        env={**weir.base_environment(), **lab.env}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def test_watch_into_a_pipe_is_a_document_a_change(lab):
    switch = health.Switch(lab)
    lab.write({"web": switch.check})
    process = watch(lab, "--once", "--json-output")
    seen = []
    for line in process.stdout:
        document = json.loads(line)
        seen.append(document["services"][0]["status"])
        if document["overall_status"] == "healthy" and switch.path.exists():
            switch.off()
        if seen[-1] == "unhealthy":
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130
    assert [s for s in seen if s != "unknown"] == ["healthy", "degraded", "unhealthy"]


def test_watch_of_a_monitor(lab, serve):
    lab.write({"web": {**BAD, "interval": "200ms", "timeout": "200ms"}})
    monitor = serve()
    process = watch(lab, "--server", monitor.url, "--json-output")
    for line in process.stdout:
        document = json.loads(line)
        if document["services"][0]["status"] == "unhealthy":
            break
    assert document["source"] == "daemon"
    # A monitor that goes away is told, and waited for.
    monitor.stop()
    assert "cannot be reached" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 143


class Documents:
    """What a watch into a pipe tells of its only service, state by state."""

    def __init__(self, process):
        self.process = process
        self.patience = threading.Timer(60, process.kill)  # the pipe ends then
        self.patience.daemon = True
        self.patience.start()

    def until(self, status):
        for line in self.process.stdout:
            if json.loads(line)["services"][0]["status"] == status:
                return
        raise AssertionError(f"it is never {status}")


def end(process):
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 143


@pytest.mark.parametrize("where", ("http", "unix"))
def test_watch_hears_what_changes_at_once(lab, serve, where):
    """It would ask again after an hour only."""
    up = health.Switch(lab)
    lab.write({"web": {**up.check, "failure_threshold": 1}})
    monitor = serve()
    monitor.wait_status("web", "healthy")
    url = monitor.url if where == "http" else f"unix:{lab.directory}/run/portoser.sock"
    process = watch(lab, "--watch=3600", "--server", url, "--json-output")
    seen = Documents(process)
    seen.until("healthy")
    for turn, status in ((up.off, "unhealthy"), (up.on, "healthy")):
        turn()
        seen.until(status)
    assert monitor.metrics()["portoser_sockets"] == 1
    end(process)
    eventually(lambda: monitor.metrics()["portoser_sockets"] == 0, "the socket is closed")


def test_watch_finds_a_monitor_that_comes_back(lab, serve):
    up = health.Switch(lab)
    lab.write({"web": {**up.check, "failure_threshold": 1}})
    path = lab.directory / "run" / "portoser.sock"
    first = serve()
    first.wait_status("web", "healthy")
    process = watch(lab, "--watch=3600", "--server", f"unix:{path}", "--json-output")
    seen = Documents(process)
    seen.until("healthy")
    first.stop()
    up.off()
    serve().wait_status("web", "unhealthy")
    seen.until("unhealthy")
    end(process)


def test_watch_without_the_right_to_listen_asks_again_and_again(lab, serve):
    up = health.Switch(lab)
    lab.write({"web": {**up.check, "failure_threshold": 1}})
    tokens = lab.directory / "tokens"
    tokens.write_text("operator-token-01234 operator\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "true")
    eventually(lambda: monitor.get("/api/health/dashboard")["healthy_services"], "it is healthy")
    process = watch(lab, "--server", monitor.url, "--json-output")
    seen = Documents(process)
    seen.until("healthy")
    up.off()
    seen.until("unhealthy")
    end(process)


def test_watch_has_the_monitor_check_what_is_selected(lab, serve):
    up, other = health.Switch(lab, "up"), health.Switch(lab, "other")
    hour = {"interval": "1h", "failure_threshold": 1}
    lab.write({"first": {**other.check, **hour}, "second": {**up.check, **hour}})
    monitor = serve()
    for name in ("first", "second"):
        monitor.ask("POST", f"/api/health/check/{name}")
        monitor.wait_status(name, "healthy")
    command = f"{weir.binary()} health --watch=3600 --server {monitor.url}"
    screen = Screen(lab.directory, command, {**weir.base_environment(), **lab.env, "TERM": "tmux-256color"})
    try:
        screen.wait("CLUSTER HEALTHY")
        up.off()
        other.off()
        screen.keys("j", "r")
        lines = screen.wait("CLUSTER UNHEALTHY")
        assert "unhealthy" not in lines[3].lower() and "unhealthy" in lines[4].lower()
        screen.keys("q")
        screen.wait("ended with 2")
    finally:
        screen.close()


def test_watch_ends_when_nobody_reads(lab):
    lab.write({"web": GOOD})
    process = watch(lab, "--once")
    assert process.stdout.readline().startswith("CLUSTER")
    process.stdout.close()
    assert process.wait(10) == 1


class Screen:
    """A window of tmux in which a program runs."""

    def __init__(self, directory, command, env):
        self.socket = str(directory / "tmux")
        script = directory / "run.sh"
        exports = "".join(f"export {k}='{v}'\n" for k, v in env.items())
        script.write_text(f"{exports}trap : INT\n{command}\necho \"ended with $?\"\nexec sleep 60\n")
        self.tmux("new-session", "-d", "-x", "100", "-y", "12", f"sh {script}")

    def tmux(self, *args):
        done = subprocess.run(["tmux", "-f", "/dev/null", "-S", self.socket, *args],
                              capture_output=True, text=True, check=False,
                              env={**os.environ, "LC_ALL": "C.UTF-8"})
        return done.stdout

    def lines(self):
        return [line.rstrip() for line in self.tmux("capture-pane", "-p").splitlines()]

    def wait(self, text, absent=None):
        return eventually(
            lambda: (lines := self.lines()) and any(text in line for line in lines)
            and not (absent and any(absent in line for line in lines)) and lines,
            f"{text!r} on the screen: {self.lines()}",
        )

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def close(self):
        self.tmux("kill-server")


def test_watch_on_a_terminal(lab):
    checks = {f"web{i:02}": GOOD for i in range(20)}
    checks["zz-broken"] = {**BAD, "interval": "500ms", "timeout": "500ms", "failure_threshold": 1}
    lab.write(checks)
    command = f"{weir.binary()} health --watch=1 --once --registry {lab.directory}/registry.yml"
    screen = Screen(lab.directory, command, {**weir.base_environment(), **lab.env, "TERM": "tmux-256color"})
    try:
        lines = screen.wait("CLUSTER UNHEALTHY")
        assert len(lines) == 12
        assert lines[2].startswith("SERVICE")
        assert lines[3].startswith("web00") and lines[10].startswith("web07")
        assert lines[11].startswith("q quit  j/k move")
        screen.keys("s")
        assert screen.wait("registry order")[3].startswith("zz-broken")
        screen.keys("Enter")
        screen.wait("Health Check: zz-broken on here")
        screen.keys("Enter")
        screen.wait("web00")
        screen.keys("u")
        lines = screen.wait("zz-broken", absent="web")
        assert lines[4] == ""
        screen.keys("u", "s", "/", "1", "9", "Enter")
        lines = screen.wait("web19", absent="web18")
        assert lines[3].startswith("web19") and lines[4] == ""
        screen.keys("/", "BSpace", "BSpace", "Enter")
        screen.wait("web07")
        screen.keys("j", "j", "j", "j", "j", "j", "j", "j", "Down")
        assert screen.wait("web09", absent="web01")[10].startswith("web09")
        screen.tmux("resize-window", "-x", "40", "-y", "8")
        lines = screen.wait("web09", absent="web05")
        assert len(lines) == 8 and all(len(line) <= 40 for line in lines)
        screen.keys("q")
        lines = screen.wait("ended with 2")
        assert not any("CLUSTER" in line for line in lines)  # the screen before is back
    finally:
        screen.close()


def test_watch_gives_the_terminal_back_after_a_signal(lab):
    lab.write({"web": GOOD})
    command = f"{weir.binary()} health --watch --once --registry {lab.directory}/registry.yml"
    screen = Screen(lab.directory, command, {**weir.base_environment(), **lab.env, "TERM": "tmux-256color"})
    try:
        screen.wait("CLUSTER HEALTHY")
        screen.keys("C-c")
        lines = screen.wait("ended with 130")
        assert not any("CLUSTER" in line for line in lines)
    finally:
        screen.close()


# ---- By another name


def test_portoser(lab):
    lab.write({"web": GOOD, "db": BAD}, none={"current_host": "here", "hostname": "n.example", "port": 9})
    link = lab.directory / "portoser"
    link.symlink_to(pathlib.Path(weir.binary()).resolve())

    def run(*args):
        done = subprocess.run(
            [str(link), *args], capture_output=True, text=True, check=False,
            env={**weir.base_environment(), **lab.env,
                 "CADDY_REGISTRY_PATH": str(lab.directory / "registry.yml")},
        )
        return done.returncode, done.stdout

    assert run("--version") == (0, "Portoser v0.1.0\n")
    assert run("health", "check", "web")[0] == 0
    code, text = run("health", "--all", "--json-output")
    assert (code, len(json.loads(text)["services"])) == (2, 3)
    code, text = run("status")
    assert code == 0
    assert text.splitlines()[0] == f"{'SERVICE':25} {'TYPE':10} {'MACHINE':15} {'STATUS':10} HEALTH"
    assert text.splitlines()[2].split() == ["db", "docker", "here", "stopped", "✗"]
    code, text = run("cluster", "status", "--json")
    head, blank, document = text.split("\n", 2)
    assert (code, head, blank) == (2, "Getting cluster status...", "")
    document = json.loads(document)
    counts = [document[k] for k in ("healthy", "degraded", "down", "skipped", "total")]
    assert counts == [1, 0, 1, 1, 3]
    assert document["services"][2] == {"service": "none", "hostname": "n.example", "port": "9",
                                       "status": "skipped", "http_code": 0, "endpoint": "", "message": ""}
    assert run("registry", "validate")[0] == 0
    assert run("deploy", "x", "y")[0] == 64
