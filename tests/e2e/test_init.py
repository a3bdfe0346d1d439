# SPDX-License-Identifier: Apache-2.0
"""`weir init`: what it asks, what it writes, and that it works."""
import os
import pathlib
import pty
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request

import pytest

from lib import weir, ws
from lib.engine import free_port
from lib.manager import Manager
from lib.stub_http import StubHttp
from lib.wait import eventually

HOST = "edge.example.com"


def listens():
    ports = {name: free_port() for name in ("relay", "engine", "health")}
    return ports, [f"--{name}-listen=127.0.0.1:{port}" for name, port in ports.items()]


def init(cwd, *args, **kwargs):
    return subprocess.run([weir.binary(), "init", *args], cwd=cwd, env=weir.base_environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False, **kwargs)


def own_ports(home):
    """Metrics of the engine have one port, which may be somebody else's here."""
    text = (home / "weir.yml").read_text()
    assert "127.0.0.1:9464" in text
    (home / "weir.yml").write_text(text.replace("127.0.0.1:9464", f"127.0.0.1:{free_port()}"))


def up(home):
    running = subprocess.Popen([weir.binary(), "up", "-c", str(home / "weir.yml")],
                               env=weir.base_environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return running, weir.Log(running.stdout)


def down(running):
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    running.stderr.close()


def printed(done):
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("    ")]


def test_what_it_writes_works(tmp_path):
    """What it printed is done, word by word; names lead here instead of by a DNS."""
    ports, args = listens()
    done = init(tmp_path, "--dir", "d", "--host", HOST, "--self-signed", "--no-checks", *args)
    assert (done.returncode, done.stderr) == (0, "")
    home = tmp_path / "d"
    assert sorted(os.listdir(home)) == [
        "agent-token", "registry.yml", "state", "weir.crt", "weir.key", "weir.service", "weir.yml"]
    for name in set(os.listdir(home)) - {"state"}:
        assert (home / name).stat().st_mode & 0o077 == 0 or name == "weir.service", name
    own_ports(home)
    lines = printed(done)
    assert lines[0] == f"weir up -c {home}/weir.yml"
    running, log = up(home)
    try:
        log.wait("health_started", timeout=20)
        trusting = ssl.create_default_context(cafile=str(home / "weir.crt"))
        trusting.check_hostname = False
        with urllib.request.urlopen(f"https://127.0.0.1:{ports['relay']}/health",
                                    context=trusting, timeout=10) as answer:
            assert b'"ok":true' in answer.read()
        eventually(lambda: all(
            f'"{part}"' in ask(ports["health"], f"/api/health/services/{part}") and
            '"healthy"' in ask(ports["health"], f"/api/health/services/{part}")
            for part in ("relay", "engine", "this-machine")), "its checks find it", 30)
        page = re.search(r"^The page that shows it all: (\S+)$", done.stdout, re.M)[1]
        as_browser = urllib.request.Request(page, headers={"Accept": "text/html"})
        with urllib.request.urlopen(as_browser, timeout=10) as answer:
            assert answer.status == 200 and b"<html" in answer.read()
        daemon_comes(home, ports["relay"], lines)
        is_published(home, tmp_path, ports["engine"], lines)
    finally:
        down(running)


def daemon_comes(home, port, lines):
    token = run_line(next(line for line in lines if "token relay" in line), home, home).strip()
    tls = ssl.create_default_context(cafile=str(home / "weir.crt"))
    tls.check_hostname = False
    peer = ws.WebSocket("127.0.0.1", port, tls=tls)
    peer.upgrade(ws.path_of("workspace-daemon", "demo", "laptop"), token)
    peer.close()


def is_published(home, elsewhere, port, lines):
    """The two lines for another machine, to which two files went."""
    service = StubHttp(lambda _: (200, {}, b"from port 8080"))
    context, forward = (next(line for line in lines if part in line)
                        for part in ("context create", "forward"))
    assert f"--engine {HOST}:{port} " in context
    run_line(context.replace(f"{HOST}:", "127.0.0.1:") + f" --engine-tls-server-name {HOST}",
             home, elsewhere)
    assert run_line("weir tunnels --json", home, elsewhere).strip() == "[]"
    words = shlex.split(forward.replace("8080", str(service.port)))
    agent = subprocess.Popen([weir.binary(), *words[1:]], cwd=home, stdin=subprocess.DEVNULL,
                             env={**weir.base_environment(), "HOME": str(elsewhere)},
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        def visit():
            return subprocess.run(
                ["curl", "-s", "--noproxy", "*", "--cacert", str(home / "weir.crt"), "--resolve",
                 f"demo.t.{HOST}:{port}:127.0.0.1", f"https://demo.t.{HOST}:{port}/"],
                capture_output=True, timeout=20, check=False).stdout == b"from port 8080"
        eventually(visit, "a visitor is let through", 30)
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.communicate(timeout=20)
        service.stop()


def ask(port, path, token=None):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"} if token else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def run_line(line, cwd, home):
    words = shlex.split(line)
    assert words.pop(0) == "weir"
    done = subprocess.run([weir.binary(), *words], cwd=cwd, stdin=subprocess.DEVNULL,
                          env={**weir.base_environment(), "HOME": str(home)},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


@pytest.mark.parametrize("name", ["weir.yml", "weir.crt", "weir.key", "agent-token", "weir.service"])
def test_nothing_is_written_over(tmp_path, name):
    """What is there stays, alone; a certificate that is there is not taken for the one that was to be made."""
    (tmp_path / name).write_text("mine")
    done = init(tmp_path, "--parts", "engine", "--host", HOST, "--self-signed", "--no-checks")
    assert done.returncode == 1 and f"{tmp_path}/{name} is there already" in done.stderr
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "mine"
    assert done.stdout == ""


def test_it_is_asked_nothing_in_vain(tmp_path):
    (tmp_path / "weir.yml").write_text("mine")
    asked = Terminal(tmp_path)
    assert asked.end() == 1 and "is there already" in asked.text and "Which" not in asked.text


def test_what_would_not_start_does_not_stay(tmp_path):
    """A local name with an address that is not: the relay's own rule."""
    done = init(tmp_path, "--dir", "d", "--parts", "relay", "--host", "localhost", "--no-checks",
                "--relay-listen", f"0.0.0.0:{free_port()}")
    assert done.returncode == 78 and "is deleted again" in done.stderr
    assert os.listdir(tmp_path) == []


def test_the_parts_that_are_wanted(tmp_path):
    registry = tmp_path / "mine.yml"
    registry.write_text("services: {}\n")
    done = init(tmp_path, "--dir", "h", "--parts", "Health", "--registry", "mine.yml", "--no-checks")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "h" / "weir.yml").read_text()
    assert f"registry: '{registry}'" in text and "relay:" not in text and "engine:" not in text
    assert sorted(os.listdir(tmp_path / "h")) == ["state", "weir.service", "weir.yml"]


def test_a_monitor_for_others_wants_tokens(tmp_path):
    port = free_port()
    done = init(tmp_path, "--parts", "health", "--no-checks", "--health-listen", f"0.0.0.0:{port}")
    assert done.returncode == 0, done.stderr
    assert f"http://{socket.gethostname()}:{port}/health" in done.stdout
    place = re.search(r"the first word in (\S+)\.", done.stdout)[1]
    token, role = (tmp_path / "health-tokens").read_text().splitlines()[-1].split()
    assert place == str(tmp_path / "health-tokens") and role == "operator"
    assert token not in done.stdout
    running, log = up(tmp_path)
    try:
        log.wait("health_started", timeout=20)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(port, "/api/status")
        assert ask(port, "/api/status", token)
    finally:
        down(running)


def test_a_certificate_of_ones_own(tmp_path, authority):
    cert, key = authority.issue("own", hosts=[HOST, f"*.t.{HOST}"])
    done = init(tmp_path, "--parts", "engine", "--host", HOST.upper() + ".", "--cert", str(cert),
                "--key", str(key), "--no-checks")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "weir.yml").read_text()
    assert f"cert_file: '{cert}'" in text and f"host: '{HOST}'" in text
    assert not (tmp_path / "weir.crt").exists()


@pytest.mark.parametrize("args, words", [
    (("--parts", "relay,nonsense"), 'there is no part "nonsense"'),
    (("--parts", ","), "no part is wanted"),
    (("--parts", "engine"), "--host is wanted where nobody can be asked"),
    (("--parts", "engine", "--host", "no host"), '"no host" is no host name'),
    (("--parts", "engine", "--host", "10.0.0.1"), "is no host name"),
    (("--host", HOST, "--cert", "/nowhere"), 'the certificate "/nowhere" does not exist'),
    (("--host", HOST, "--cert", "/dev/null", "--key", "x"), 'the certificate "/dev/null" is no plain'),
    (("--host", HOST, "--cert", "/etc/passwd"), "--key is wanted"),
    (("--host", HOST, "--cert", "/etc/passwd", "--key", "/etc/passwd"), "does not belong to the certif"),
    (("--host", HOST, "--key", "/etc/passwd"), "--cert is wanted"),
    (("--parts", "health", "--host", HOST), "--host is of relay, engine, which --parts does not have"),
    (("--parts", "relay", "--host", HOST, "--registry", "x"), "--registry is of health"),
    (("--parts", "relay", "--host", HOST, "--engine-listen", "127.0.0.1:1"), "--engine-listen is of"),
    (("--host", HOST, "--relay-listen", "127.0.0.1:443"), "--relay-listen and --engine-listen cannot"),
    (("--host", HOST, "--health-listen", "127.0.0.1:9464"), "the engine's metrics cannot both"),
    (("--parts", "health", "--user", "nobody-knows"), 'there is no user "nobody-knows"'),
    (("--host", HOST, "--self-signed", "--key", "x"), "--self-signed, or --cert and --key"),
    (("--parts", "health", "--registry", "/nowhere.yml"), "does not exist"),
    (("--parts", "health", "--health-listen", "nowhere"), '--health-listen "nowhere"'),
    (("surprise",), '"surprise" is not understood'),
])
def test_what_it_does_not_take(tmp_path, args, words):
    done = init(tmp_path, *args)
    assert done.returncode == 64 and words in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []


def test_names_and_ports_are_looked_at(tmp_path, authority):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = init(tmp_path, "--dir", "a", "--parts", "relay,health", "--host", "localhost",
                    "--relay-listen", f"127.0.0.1:{port}", "--health-listen", f"127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^name localhost leads to \S+, this machine alone", done.stdout, re.M)
    assert "certificate is for localhost, for 825 days" in done.stdout
    assert f"port {port} cannot be used for the relay now: the address is in use" in done.stdout
    assert "is free for the health monitor" in done.stdout

    cert, key = authority.issue("looked", hosts=[HOST, f"*.t.{HOST}"])
    # A name that nobody has (RFC 6761 section 6.4), and a certificate that is for another one.
    done = init(tmp_path, "--dir", "b", "--parts", "engine", "--host", "edge.invalid", "--cert",
                str(cert), "--key", str(key), "--engine-listen", "192.0.2.1:443")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^name edge\.invalid: .*; add it to the DNS", done.stdout, re.M)
    assert re.search(r"^name \*\.t\.edge\.invalid: .*; add it to the DNS", done.stdout, re.M)
    assert "is not for edge.invalid and *.t.edge.invalid: whoever checks it" in done.stdout
    assert "port 443 cannot be used for the engine now: it is no address of this machine" in done.stdout
    assert re.search(r"^port 9464 .* the engine's metrics", done.stdout, re.M)


def test_for_a_user_that_is_not_root(tmp_path):
    """Files become theirs; what root trusts, the unit, does not. Nobody but root may do this."""
    done = init(tmp_path, "--dir", "d", "--parts", "health", "--user", "nobody", "--no-checks")
    if os.geteuid() != 0:
        assert done.returncode == 64 and "only root can make files for --user nobody" in done.stderr
        return
    # pytest's directories are root's alone.
    assert done.returncode == 1 and "the user nobody may not look into" in done.stderr
    assert os.listdir(tmp_path) == []
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o755)
        done = init(place, "--dir", "d", "--parts", "health", "--user", "nobody", "--no-checks")
        assert done.returncode == 0, done.stderr
        home = pathlib.Path(place) / "d"
        owners = {name: (home / name).owner() for name in os.listdir(home)}
        assert owners.pop("weir.service") == home.owner() == "root"
        assert set(owners) == {"state", "weir.yml", "registry.yml"} and set(owners.values()) == {"nobody"}
        assert "\nUser=nobody\n" in (home / "weir.service").read_text()
        checked = subprocess.run(
            ["setpriv", "--reuid=nobody", "--clear-groups", "sh", "-c",
             f"test -r {home}/weir.yml -a -w {home}/state -a ! -w {home} -a ! -w {home}/weir.service"],
            timeout=20, check=False)
        assert checked.returncode == 0


class Terminal:
    """Somebody who is asked."""

    def __init__(self, cwd):
        self.master, slave = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [weir.binary(), "init", "--no-checks"], cwd=cwd, stdin=slave, stdout=slave,
            stderr=slave, env=weir.base_environment())
        os.close(slave)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            while piece := os.read(self.master, 4096):
                self.text += piece.decode()
        except OSError:
            pass  # it has ended

    def answer(self, question, text):
        eventually(lambda: question in self.text, question)
        self.text = ""
        os.write(self.master, text.encode())

    def end(self):
        code = self.process.wait(30)
        self.reader.join(10)
        os.close(self.master)
        return code


def test_questions(tmp_path):
    asked = Terminal(tmp_path)
    asked.answer("Which parts", "relay,moon\n")
    asked.answer('there is no part "moon"', "relay\n")
    asked.answer("Name by which others reach", "\n")
    asked.answer('"" is no host name', HOST + "\n")
    asked.answer("self-signed certificate", "perhaps\n")
    asked.answer("allowed: yes, no", "\n")
    assert asked.end() == 0, asked.text
    assert f"tls_host: '{HOST}'" in (tmp_path / "weir.yml").read_text()
    assert (tmp_path / "weir.crt").exists()


def test_a_certificate_that_is_asked_for(tmp_path, authority):
    cert, key = authority.issue("asked", hosts=[HOST])
    other = authority.issue("other", hosts=[HOST])[1]
    asked = Terminal(tmp_path)
    asked.answer("Which parts", "relay\n")
    asked.answer("Name by which others reach", HOST + "x" * 2000 + "\n")
    asked.answer('"" is no host name', HOST + "\n")
    asked.answer("self-signed certificate", "no\n")
    asked.answer("certificate chain", "/nowhere\n")
    asked.answer("does not exist", f"{cert}\n")
    asked.answer("its key", f"{other}\n")
    asked.answer("does not belong to the certificate", f"{key}\n")
    assert asked.end() == 0, asked.text
    assert f"tls_key_path: '{key}'" in (tmp_path / "weir.yml").read_text()


def test_nobody_answers(tmp_path):
    asked = Terminal(tmp_path)
    asked.answer("Which parts", "\x04")
    assert asked.end() == 64 and "nobody answers; nothing was made" in asked.text
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["d", "a b%n$x\"y'z\\"])
def test_the_unit_is_one(tmp_path, name):
    """It does what it should where it lies, whatever the place is called; and may do as little as those
    of the package."""
    done = init(tmp_path, "--dir", name, "--parts", "health,relay", "--host", HOST, "--no-checks",
                "--relay-listen", "0.0.0.0:779")
    assert done.returncode == 0, done.stderr
    home = tmp_path / name
    unit = (home / "weir.service").read_text()
    assert "\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in unit
    up_line, install, enable = printed(done)[:3]
    assert shlex.split(up_line) == ["weir", "up", "-c", f"{home}/weir.yml"]
    # As root would, in a root of its own.
    root = tmp_path / "root"
    (root / "etc/systemd/system").mkdir(parents=True)
    words = shlex.split(install)
    words[-1] = f"{root}{words[-1]}"
    subprocess.run(words, timeout=20, check=True)
    assert enable == "systemctl enable --now weir.service"
    subprocess.run(["systemctl", f"--root={root}", "enable", "weir.service"], timeout=60, check=True,
                   capture_output=True)
    assert (root / "etc/systemd/system/multi-user.target.wants/weir.service").is_symlink()
    checked = subprocess.run([shutil.which("systemd-analyze"), "verify", home / "weir.service"],
                             capture_output=True, text=True, timeout=60, check=False)
    assert "weir.service" not in checked.stderr, checked.stderr
    # Here it may be root who runs it, and it lies in /tmp, which it would not see.
    assert f"\nPrivateTmp={'no' if str(tmp_path).startswith('/tmp/') else 'yes'}\n" in unit
    (tmp_path / "weir.service").write_text(
        re.sub(r"(?m)^PrivateTmp=.*$", "PrivateTmp=yes", re.sub(r"(?m)^User=.*$", "User=weir", unit)))
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                           tmp_path / "weir.service"],
                          capture_output=True, text=True, timeout=60, check=False)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert level and float(level[1]) < 2.0, said.stdout + said.stderr


def test_the_unit_starts_what_it_says(tmp_path):
    """ExecStart, as systemd takes it apart, with its socket for signs of life."""
    done = init(tmp_path, "--parts", "health", "--no-checks", "--health-listen", f"127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stderr
    unit = (tmp_path / "weir.service").read_text()
    command = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.M)[1])
    assert os.path.samefile(command[0], weir.binary())
    assert re.search(r'^ReadWritePaths="(.*)"$', unit, re.M)[1] == str(tmp_path / "state")
    manager = Manager(tmp_path)
    process = manager.start(*command[1:], env={})
    try:
        assert manager.hears() == ["READY=1"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=weir.STOP_TIMEOUT_S)
        manager.close()
    assert process.returncode == 0


def test_its_examples(tmp_path):
    lines = weir.run("help", "init").stdout.splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("weir init ")]
    assert len(examples) == 2
    for number, line in enumerate(examples):
        words = shlex.split(line)[2:]
        (tmp_path / str(number)).mkdir()
        assert init(tmp_path / str(number), *words).returncode == 0, line
