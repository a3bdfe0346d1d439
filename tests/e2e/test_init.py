# SPDX-License-Identifier: Apache-2.0
"""`weir init`: what it asks, what it writes, and that it works."""
import os
import pty
import re
import shlex
import shutil
import signal
import ssl
import stat
import subprocess
import threading
import urllib.request

import pytest

from lib import weir
from lib.engine import free_port
from lib.wait import eventually

HOST = "edge.example.com"


def listens():
    ports = {name: free_port() for name in ("relay", "engine", "health")}
    return ports, [f"--{name}-listen=127.0.0.1:{port}" for name, port in ports.items()]


def init(cwd, *args, **kwargs):
    return subprocess.run([weir.binary(), "init", *args], cwd=cwd, env=weir.base_environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False, **kwargs)


def test_what_it_writes_works(tmp_path):
    ports, args = listens()
    done = init(tmp_path, "--dir", "d", "--host", HOST, "--self-signed", "--no-checks", *args)
    assert (done.returncode, done.stderr) == (0, "")
    home = tmp_path / "d"
    assert sorted(os.listdir(home)) == [
        "agent-token", "registry.yml", "weir.crt", "weir.key", "weir.service", "weir.yml"]
    for name in os.listdir(home):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name
    text = (home / "weir.yml").read_text()
    # Metrics of the engine have one port, which may be somebody else's here.
    (home / "weir.yml").write_text(text.replace("127.0.0.1:9464", f"127.0.0.1:{free_port()}"))
    running = subprocess.Popen([weir.binary(), "up", "-c", str(home / "weir.yml")],
                               env=weir.base_environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = weir.Log(running.stdout)
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
        # The lines that it printed, from its own directory.
        lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("    weir ")]
        token = next(line for line in lines if "token relay" in line)
        assert run_line(token, home, tmp_path).count(".") == 2
        context = next(line for line in lines if "context create" in line)
        assert f"--engine {HOST}:{ports['engine']}" in context
        run_line(context.replace(HOST, "127.0.0.1") + f" --engine-tls-server-name {HOST}",
                 home, tmp_path)
        assert run_line("weir tunnels --json", home, tmp_path).strip() == "[]"
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        running.stderr.close()


def ask(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def run_line(line, cwd, home):
    words = shlex.split(line)
    assert words.pop(0) == "weir"
    done = subprocess.run([weir.binary(), *words], cwd=cwd, stdin=subprocess.DEVNULL,
                          env={**weir.base_environment(), "HOME": str(home)},
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


def test_nothing_is_written_over(tmp_path):
    assert init(tmp_path, "--parts", "health", "--no-checks").returncode == 0
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    again = init(tmp_path, "--parts", "health", "--no-checks")
    assert again.returncode == 1 and "weir.yml is there already" in again.stderr
    (tmp_path / "weir.yml").unlink()
    again = init(tmp_path, "--parts", "health", "--no-checks")
    assert again.returncode == 1 and "weir.service cannot be made" in again.stderr
    del before["weir.yml"]
    assert all((tmp_path / name).read_bytes() == content for name, content in before.items())


def test_the_parts_that_are_wanted(tmp_path):
    registry = tmp_path / "mine.yml"
    registry.write_text("services: {}\n")
    done = init(tmp_path, "--dir", "h", "--parts", "Health", "--registry", "mine.yml", "--no-checks")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "h" / "weir.yml").read_text()
    assert f"registry: '{registry}'" in text and "relay:" not in text and "engine:" not in text
    assert sorted(os.listdir(tmp_path / "h")) == ["weir.service", "weir.yml"]


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
    (("--host", HOST, "--cert", "/dev/null"), "--key is wanted"),
    (("--host", HOST, "--self-signed", "--key", "x"), "--self-signed, or --cert and --key"),
    (("--parts", "health", "--registry", "/nowhere.yml"), "does not exist"),
    (("--parts", "health", "--health-listen", "nowhere"), '--health-listen "nowhere"'),
    (("surprise",), '"surprise" is not understood'),
])
def test_what_it_does_not_take(tmp_path, args, words):
    done = init(tmp_path, *args)
    assert done.returncode == 64 and words in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []


def test_names_and_ports_are_looked_at(tmp_path):
    done = init(tmp_path, "--parts", "relay", "--host", "localhost", "--self-signed",
                "--relay-listen", f"127.0.0.1:{free_port()}")
    assert done.returncode == 0, done.stderr
    assert "name localhost leads to " in done.stdout and "is free for the relay" in done.stdout


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


def test_nobody_answers(tmp_path):
    asked = Terminal(tmp_path)
    asked.answer("Which parts", "\x04")
    assert asked.end() == 64
    assert os.listdir(tmp_path) == []


def test_the_unit_is_one(tmp_path):
    assert init(tmp_path, "--parts", "health", "--no-checks").returncode == 0
    unit = (tmp_path / "weir.service").read_text()
    program, path = re.search(r'^ExecStart="([^"]+)" up -c "([^"]+)"$', unit, re.M).groups()
    assert os.path.samefile(program, weir.binary()) and path == str(tmp_path / "weir.yml")
    checked = subprocess.run([shutil.which("systemd-analyze"), "verify", tmp_path / "weir.service"],
                             capture_output=True, text=True, timeout=60, check=False)
    assert "weir.service" not in checked.stderr, checked.stderr


def test_its_examples(tmp_path):
    lines = weir.run("help", "init").stdout.splitlines()
    examples = [line.strip() for line in lines if line.strip().startswith("weir init ")]
    assert len(examples) == 2
    for number, line in enumerate(examples):
        words = shlex.split(line)[2:]
        (tmp_path / str(number)).mkdir()
        assert init(tmp_path / str(number), *words).returncode == 0, line
