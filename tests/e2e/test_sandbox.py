# SPDX-License-Identifier: Apache-2.0
"""What servers confine themselves to, as the kernel tells it of them (docs/operations.md). What they say
themselves is held against that, on whatever machine the test runs."""
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import ssl
import tempfile

import pytest

from lib import certs, health, weir
from lib.agent import Agent
from lib.engine import Engine
from lib.selfhosted import Platform
from lib.wait import eventually

ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")


def status(pid, thread=None):
    """Of a process, or of one of its threads."""
    path = f"/proc/{pid}/status" if thread is None else f"/proc/{pid}/task/{thread}/status"
    lines = pathlib.Path(path).read_text().splitlines()
    return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}


def is_user(name):
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def said(running):
    return running.log.wait("sandbox")["details"]


@pytest.fixture(name="shared")
def shared_fixture():
    """A directory that every user may look into, as those of pytest are not."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="weir-sandbox-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(name="begin")
def begin_fixture(platform, shared):
    running = []

    def begin(what, *args, **env):
        if what == "platform":
            running.append(Platform(shared / "state", env=env, args=args))
        else:
            running.append(weir.Relay({"SERVER_URL": platform.origin, **env}, args=("relay", *args)))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.stop()


def check_confined(pid, details):
    """Every thread, not only the first."""
    numbers = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12}
    kept = sum(1 << numbers[name] for name in details["kept"].split(", ") if name)
    for thread in os.listdir(f"/proc/{pid}/task"):
        seen = status(pid, thread)
        assert seen["NoNewPrivs"] == ["1"]
        assert details["noNewPrivs"] and details["capabilitiesDropped"]
        for name, value in (("CapEff", kept), ("CapPrm", kept), ("CapInh", 0), ("CapAmb", 0)):
            assert int(seen[name][0], 16) == value, name
        if ROOT:
            assert int(seen["CapBnd"][0], 16) == 0
        assert details["seccomp"] == (seen["Seccomp"] == ["2"])
        assert set(seen["Uid"]) == {str(details["uid"])}


# ---- What all have


def check_by_default(running):
    details = said(running)
    assert details["mode"] == "on"
    check_confined(running.pid, details)
    gaps = {line["details"]["layer"] for line in running.log.all("sandbox_gap")}
    assert ("landlock" in gaps) == (details["landlock"] == 0)
    assert ("seccomp" in gaps) == (not details["seccomp"])
    assert "user" not in gaps  # whom to be is said (weir.base_environment)


@pytest.mark.parametrize("what", ["relay", "platform"])
def test_it_is_closed_by_default(begin, what):
    check_by_default(begin(what))


def test_the_engine_has_one(engine):
    check_by_default(engine)


def test_two_in_one_process_have_one(shared):
    # relay and platform: what one of them may, the process may
    with weir.Relay(
        {"RELAY_TLS": None, "RELAY_ADMIN_TOKEN": None, "RELAY_BACKPLANE_MODE": None},
        args=("up", "--state-dir", str(shared / "state"), "--listen", "127.0.0.1:0"),
    ) as running:
        weir.live.remove(running)
        check_by_default(running)


def test_root_that_has_nobody_to_be_stays_and_says_so(begin):
    running = begin("relay", WEIR_USER="")
    said(running)
    stays = ROOT and not is_user("weir")
    gaps = [line["details"]["layer"] for line in running.log.all("sandbox_gap")]
    assert gaps.count("user") == stays


# ---- Options


@pytest.mark.parametrize("args, env", [(["--no-sandbox"], {}), ([], {"WEIR_SANDBOX": "off"})])
def test_without_it_the_process_is_as_it_was_started(begin, args, env):
    running = begin("relay", *args, **env)
    assert said(running) == {
        "mode": "off", "uid": os.geteuid(), "noNewPrivs": False, "capabilitiesDropped": False,
        "kept": "", "landlock": 0, "seccomp": False}
    ours = status("self")
    seen = status(running.pid)
    for name in ("NoNewPrivs", "Seccomp", "CapEff", "CapBnd", "Uid"):
        assert seen[name] == ours[name], name


def test_what_is_required_and_not_there_ends_the_start(shared):
    # a library under that name that can make no filter
    maps = pathlib.Path("/proc/self/maps").read_text()
    shutil.copy(re.search(r"/\S+/libc\.so\.6", maps)[0], shared / "libseccomp.so.2")
    ended = weir.run("platform", env={
        "WEIR_SANDBOX": "require", "WEIR_STATE_DIR": str(shared / "state"),
        "WEIR_PLATFORM_LISTEN": "127.0.0.1:0", "LD_LIBRARY_PATH": str(shared)})
    assert ended.returncode == 1
    assert "WEIR_SANDBOX=require, but libseccomp.so.2 is not there" in ended.stderr
    assert "platform_started" not in ended.stdout


def test_other_words_are_refused():
    ended = weir.run("relay", env={"WEIR_SANDBOX": "yes"})
    assert ended.returncode == 64
    assert "allowed: on, require, off" in ended.stderr


def test_a_user_who_is_not_there():
    ended = weir.run("relay", "--user", "nobody-knows-this-one")
    assert ended.returncode == 64
    assert ("there is no user nobody-knows-this-one" if ROOT else "only root can") in ended.stderr


# ---- Becoming a user. Who is not root cannot, and is told.


def become_nobody(begin, what, **env):
    """The process, as nobody; None where that is refused."""
    if ROOT:
        running = begin(what, "--user", "nobody", **env)
        check_confined(running.pid, said(running))
        seen = status(running.pid)
        assert seen["Uid"] == [str(NOBODY.pw_uid)] * 4
        assert seen["Gid"] == [str(NOBODY.pw_gid)] * 4
        assert seen["Groups"] in ([str(NOBODY.pw_gid)], [])
        return running
    ended = weir.run(what, "--user", "nobody")
    assert ended.returncode == 64 and "only root can become somebody else" in ended.stderr
    return None


def install(pair, directory):
    """As a certificate tool does: the new files take the place of the old ones."""
    for source, name in zip(pair, ("crt", "key")):
        new = directory / f"{name}.new"
        shutil.copy(source, new)
        new.chmod(0o644)
        os.replace(new, directory / f"relay.{name}")


def served(port):
    certificate = ssl.get_server_certificate(("127.0.0.1", port), timeout=20)
    return ssl.PEM_cert_to_DER_cert(certificate)


def test_certificates_are_read_again(begin, shared, tmp_path):
    """Whether the process is somebody else by then or not."""
    authority = certs.Authority(tmp_path)
    files = shared / "certs"
    files.mkdir()
    install(authority.issue("first"), files)
    env = {
        "RELAY_TLS": "1", "RELAY_TLS_CERT_PATH": files / "relay.crt",
        "RELAY_TLS_KEY_PATH": files / "relay.key"}
    running = become_nobody(begin, "relay", **env) or begin("relay", **env)
    running.tls = ssl.create_default_context(cafile=str(authority.path))
    before = served(running.port)
    install(authority.issue("second"), files)
    running.signal(signal.SIGHUP)
    eventually(lambda: served(running.port) != before, "the new certificate")


def test_a_key_that_the_user_cannot_read_ends_the_start(shared, tmp_path):
    certificate, key = certs.Authority(tmp_path).issue("first")
    for source, name in ((certificate, "relay.crt"), (key, "relay.key")):
        shutil.copy(source, shared / name)
    (shared / "relay.crt").chmod(0o644)
    (shared / "relay.key").chmod(0o600 if ROOT else 0)
    env = {
        "SERVER_URL": "http://127.0.0.1:1", "RELAY_LISTEN_PORT": "0", "RELAY_TLS": "1",
        "RELAY_BACKPLANE_MODE": "single",
        "RELAY_TLS_CERT_PATH": str(shared / "relay.crt"), "RELAY_TLS_KEY_PATH": str(shared / "relay.key")}
    ended = weir.run("relay", *(["--user", "nobody"] if ROOT else []), env=env)
    assert ended.returncode == 1
    assert "relay.key" in ended.stderr and "permi" in ended.stderr.lower()


def test_a_port_of_roots(begin, shared):
    """It is bound to before root is given up."""
    del shared
    free = free_low_port()
    running = become_nobody(begin, "relay", RELAY_LISTEN_PORT=free)
    if running is not None:
        assert running.port == free
        assert running.request("GET", "/health").status == 200


def free_low_port():
    with socket.socket() as probe:
        return next(port for port in range(700, 1024) if probe.connect_ex(("127.0.0.1", port)) != 0)


def test_published_ports_of_roots(authority, tmp_path):
    """Of root an engine keeps just that, and only when it publishes some."""
    port = free_low_port()
    running = Engine(authority, tmp_path, {
        "extensions": {"enabled": True, "trusted_ips": True, "tcp_ports": f"{port}"}})
    try:
        check_confined(running.pid, said(running))
        assert ("CAP_NET_BIND_SERVICE" in said(running)["kept"]) == ROOT
        if ROOT:
            assert Agent(running).tunnel(protocol="tcp").port.value == port
    finally:
        running.stop()


def test_the_state_directory_is_made_for_the_user(begin, shared):
    running = become_nobody(begin, "platform")
    if running is None:
        return
    owners = {path.stat().st_uid for path in (shared / "state", *(shared / "state").iterdir())}
    assert owners == {NOBODY.pw_uid}
    mode = (shared / "state").stat().st_mode & 0o777
    assert mode == 0o700
    running.stop()
    again = become_nobody(begin, "platform")  # its keys are its own
    assert again.health().status == 200


def test_a_state_directory_of_somebody_else_is_told(shared):
    (shared / "state").mkdir(mode=0o700)
    if not ROOT:
        (shared / "state").chmod(0o500)
    ended = weir.run(
        "platform", "--state-dir", str(shared / "state"), *(["--user", "nobody"] if ROOT else []),
        env={"WEIR_PLATFORM_LISTEN": "127.0.0.1:0"})
    assert ended.returncode == 1
    assert str(shared / "state") in ended.stderr
    assert ("chown -R nobody" if ROOT else "cannot use the state directory") in ended.stderr


# ---- The monitor starts programs, and has a process beside it that does


def spawner_of(pid):
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1, children
    eventually(lambda: status(children[0])["Name"] == ["weir-spawner"], "its name")
    return int(children[0])


@pytest.fixture(name="monitor")
def monitor_fixture(shared):
    """begin(checks, options…): a monitor in a directory that everybody may look into."""
    running = []

    def begin(checks, *args, **env):
        directory = shared / "lab"
        directory.mkdir()
        lab = health.Lab(directory)
        registry = lab.write(checks)
        running.append(health.Monitor(registry, *args, env={**lab.env, **env}))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.stop()


def runs(pid):
    """It is there, and no corpse that nobody has buried yet."""
    try:
        return status(pid)["State"][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def message(running):
    return (running.service("it")["last_result"] or {"message": ""})["message"]


def test_the_monitor_is_confined_and_its_programs_are_not(monitor):
    who = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\n\\t'"
    running = monitor({"it": {"type": "exec", "command": who, "interval": "1s", "timeout": "60s"}})
    check_by_default(running)
    seen = running.wait_status("it", "healthy", 60)["last_result"]["message"]
    ours = status("self")
    assert f"NoNewPrivs:{ours['NoNewPrivs'][0]}Seccomp:{ours['Seccomp'][0]}" in seen
    assert status(spawner_of(running.pid))["NoNewPrivs"] == ours["NoNewPrivs"]


def test_a_registry_with_programs_that_came_later(monitor, shared):
    running = monitor({"it": {**health.GOOD}})
    text = (shared / "lab/registry.yml").read_text()
    (shared / "lab/registry.yml").write_text(
        text.replace('"process"', '"exec"').replace('"pid_file": "good.pid"', '"command": "echo later"'))
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: "later" in message(running), "the new check", 60)


def test_the_spawner_ends_with_the_monitor(monitor):
    running = monitor({"it": {**health.GOOD}})
    spawner = spawner_of(running.pid)
    os.kill(spawner, signal.SIGTERM)  # as a service manager does, to all of a service
    assert runs(spawner)
    running.process.kill()
    running.process.wait(20)
    eventually(lambda: not runs(spawner), "the end of the spawner", 20)


def test_without_the_sandbox_there_is_no_spawner(monitor):
    running = monitor(
        {"it": {"type": "exec", "command": "echo fine", "interval": "1s", "timeout": "60s"}}, "--no-sandbox")
    assert "fine" in running.wait_status("it", "healthy", 60)["last_result"]["message"]
    assert "weir-spawner" not in {
        status(pid)["Name"][0]
        for pid in pathlib.Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()}


def test_programs_run_as_the_user_that_the_monitor_became(monitor, shared):
    """And its history is that user's."""
    args = ["--state-dir", str(shared / "state")]
    checks = {"it": {"type": "exec", "command": "id -un", "interval": "1s", "timeout": "60s"}}
    running = monitor(checks, *args, *(["--user", "nobody"] if ROOT else []))
    name = "nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
    assert name in running.wait_status("it", "healthy", 60)["last_result"]["message"]
    check_confined(running.pid, said(running))
    owner = pwd.getpwnam(name).pw_uid
    eventually(lambda: (shared / "state/health.db").stat().st_uid == owner, "the history's file", 20)
