# SPDX-License-Identifier: Apache-2.0
"""What people look at: the terminal view of weir forward in tmux, and the inspector's page in
headless Chromium."""
import os
import signal
import subprocess

import pytest
from selenium.webdriver.common.by import By

from lib import browser as chromium
from lib import weir
from lib.wait import eventually
from test_cli_run import access, environment, serve, start, tunnels, web  # noqa: F401


@pytest.fixture
def service():
    server = serve("one")
    yield server
    server.shutdown()
    server.server_close()


# ---- The terminal


class Window:
    """A shell in tmux that runs one program and stays."""

    def __init__(self, directory, args, env):
        self.socket = str(directory / "tmux")
        words = " ".join(f"'{word}'" for word in args)
        self.script = directory / "script"
        self.pid_file = directory / "pid"
        self.script.write_text(
            f"trap : INT; sh -c 'trap - INT; echo $$ > {self.pid_file}; exec \"$@\"' sh {words}\n"
            'echo "exit code $?"; stty -a | grep -o -- "[-]*echo\\b"; cat\n'
        )
        self.env = {**env, "TERM": "tmux-256color"}
        self.tmux("new-session", "-d", "-x", "150", "-y", "24", f"sh {self.script}")

    def tmux(self, *args):
        done = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", self.socket, *args],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def text(self):
        return self.tmux("capture-pane", "-p")

    def history(self):
        """What has scrolled away as well."""
        return self.tmux("capture-pane", "-p", "-S", "-1000")

    def wait(self, *words, look=text):
        try:
            eventually(lambda: all(word in look(self) for word in words), str(words))
        except AssertionError as error:
            raise AssertionError(f"{error}: {look(self)}") from None

    def pid(self):
        return int(self.pid_file.read_text())

    def close(self):
        self.tmux("kill-server")


@pytest.fixture
def forward(engine, service, tmp_path):
    windows = []

    def starter(name, *more):
        args = [weir.binary(), "forward", str(service.server_port), "--host", name]
        window = Window(tmp_path, [*args, *more, *access(engine)], environment(engine))
        windows.append(window)
        return window

    yield starter
    for window in windows:
        window.close()


def test_a_view_that_lives(engine, forward):
    window = forward("view")
    window.wait("status      : online", f"forwarding  : https://view.t.{engine.host}:{engine.port}")
    window.wait("plan        : community", "no connection", "q or Ctrl-C ends it")
    assert engine.get("view")[0] == 200
    window.wait("source_ip: 127.0.0.1, active:")
    window.tmux("resize-window", "-x", "60", "-y", "10")
    window.wait("q or Ctrl-C ends it")
    assert len(window.text().splitlines()) <= 10
    window.tmux("resize-window", "-x", "150", "-y", "24")
    window.wait("incoming connections:", "active:")
    window.tmux("send-keys", "q")
    window.wait("exit code 0")
    assert "incoming" not in window.text(), "the other screen has gone"
    window.wait("\necho\n")  # keys are echoed again


def test_ctrl_c(forward):
    window = forward("ctrlc")
    window.wait("status      : online")
    window.tmux("send-keys", "C-c")
    window.wait("exit code 0", "\necho\n")


def test_a_problem_is_shown_and_stays(engine, forward):
    window = forward("prob", "--token-auth")
    window.wait("token_auth", "exit code 1", "\necho\n")
    assert "incoming" not in window.text()


def test_a_local_service_that_is_down_is_said(engine, forward, service):
    window = forward("down")
    window.wait("status      : online")
    service.shutdown()
    service.server_close()
    assert engine.get("down")[0] == 502
    window.wait("problem     : ", "was turned away")


def test_a_crash_gives_the_terminal_back(forward):
    window = forward("crash")
    window.wait("status      : online")
    os.kill(window.pid(), signal.SIGABRT)
    window.wait("SIGABRT", "exit code 134", "\necho\n", look=Window.history)


def test_stopped_and_on_again(forward):
    window = forward("stop")
    window.wait("status      : online")
    os.kill(window.pid(), signal.SIGTSTP)
    eventually(
        lambda: open(f"/proc/{window.pid()}/stat", encoding="ascii").read().split()[2] == "T",
        "it has stopped",
    )
    assert "incoming" not in window.text()
    os.kill(window.pid(), signal.SIGCONT)
    window.wait("status      : online")
    window.tmux("send-keys", "q")
    window.wait("exit code 0")


# ---- The page


@pytest.fixture(scope="module", name="browser")
def browser_fixture(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


def test_the_page(engine, browser, start, service):  # noqa: F811
    running = start(
        "forward", str(service.server_port), "--host", "page", "--inspect=0", "-o", "none"
    )
    url = running.wait_line("inspector at ").split()[-1]
    browser.get(url)

    def rows():
        """The rows' texts, of one moment: the page may draw them anew at any other."""
        return browser.execute_script(
            "return [...document.querySelectorAll('#rows tr')].map(row => row.innerText)"
        )

    def text_of(name):
        return browser.execute_script(
            "return document.getElementById(arguments[0]).innerText", name
        )

    eventually(lambda: "0 kept" in text_of("state"), "the page follows")
    eventually(lambda: engine.get("page", "/ready")[0] == 200, "it is published")
    engine.curl(engine.name("page"), "/a?<b>=<script>alert(1)</script>", "-d", '{"x": [1]}',
        "-H", "Content-Type: application/json", "-H", "Cookie: id=geheim")
    eventually(lambda: any("/a?" in row for row in rows()), "it is shown without a reload")
    assert any("<script>alert(1)</script>" in row or "%3C" in row for row in rows())
    browser.execute_script(
        "[...document.querySelectorAll('#rows tr')]"
        ".find(row => row.innerText.includes('/a?')).click()"
    )
    eventually(lambda: "Answer" in text_of("detail"), "its fields and bodies")
    eventually(lambda: '"x": [' in text_of("detail"), "JSON is laid out")
    assert "[hidden]" in text_of("detail") and "geheim" not in browser.page_source
    before = len(rows())
    browser.execute_script("document.getElementById('replay').click()")
    eventually(lambda: len(rows()) == before + 1, "the replay is there")
    eventually(lambda: any("(again:" in row for row in rows()), "and says what it is")
    browser.find_element(By.ID, "filter").send_keys("ready")
    eventually(lambda: all("/ready" in row for row in rows()) and rows(), "the filter")
    browser.find_element(By.ID, "filter").clear()
    browser.find_element(By.ID, "filter").send_keys(" ")
    browser.find_element(By.ID, "clear").click()
    eventually(lambda: not rows(), "cleared")
    bad = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"
           and "favicon" not in line["message"]]
    assert not bad, bad
    running.stop()
