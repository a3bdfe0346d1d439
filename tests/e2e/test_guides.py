# SPDX-License-Identifier: Apache-2.0
"""tests/guides.py, which runs what the guides say, notices when they are wrong, and leaves nothing behind."""
import pathlib
import sys

import pytest

from lib.wait import eventually

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import guides  # pylint: disable=wrong-import-position


@pytest.fixture(name="problems")
def problems_fixture(tmp_path):
    def check(text, timeout_s=30):
        page = tmp_path / "page.md"
        page.write_text(text)
        return "".join(guides.problems(page, timeout_s))

    return check


def block(language, text):
    return f"```{language}\n{text}\n```\n"


def test_blocks_share_a_shell_in_an_empty_directory(problems):
    assert problems(
        "# Title\n" + block("sh", "ls\none=two\necho three >file") + block("console", "exit 1")
        + block("sh", "echo $one\ncat file") + block("output", "two\nthree")) == ""


def test_what_varies(problems):
    said = block("sh", "echo it took 12 ms, and 3 tries\nprintf 'a\\nb\\nc\\nend'")
    assert problems(said + block("output", "it took … ms, and … tries\n…\nend")) == ""
    assert problems(said + block("output", "…\nend")) == ""
    assert "it says" in problems(said + block("output", "it took … ms\n…\nend"))
    assert "it says" in problems(said + block("output", "…\nc"))


@pytest.mark.parametrize("wrong", ("anything else", "one", "one\ntwo\nthree", ""))
def test_other_output_is_noticed(problems, wrong):
    told = problems("\n\n" + block("sh", "echo one\necho two") + block("output", wrong))
    assert "line 7: it says\none\ntwo\n" in told


@pytest.mark.parametrize("line", ("false", "false | cat", "echo $nothing_of_the_kind", "exit 3", "(exit 4)"))
def test_a_line_that_fails_is_noticed(problems, line):
    assert "exit code" in problems("# Title\n" + block("sh", f"echo fine\n{line}\necho never"))


def test_the_line_is_named(problems):
    assert "line 4: false" in problems("# Title\n" + block("sh", "echo fine\nfalse"))


def test_one_that_hangs_is_ended(problems):
    assert "none within 1 s" in problems(block("sh", "sleep 1000"), timeout_s=1)


def test_ports_are_free_ones(problems):
    other = "import socket; print(socket.create_server(('127.0.0.1', 18080)).getsockname()[1] == 18080)"
    assert problems(block("sh", f'/usr/bin/python3 -c "{other}"\necho 18080 18081 118080 1.18081')
                    + block("output", "True\n18080 18081 118080 1.18081")) == ""
    assert "it says" in problems(block("sh", "echo 18080") + block("output", "18081"))


def test_nothing_is_left(problems, tmp_path):
    pids = tmp_path / "pids"
    assert problems(block("sh", f"sleep 1000 &\necho $! >{pids}\n(sleep 1000 & echo $! >>{pids}) &\nwait $!")) == ""
    left = [pathlib.Path("/proc") / pid / "cmdline" for pid in pids.read_text().split()]
    assert len(left) == 2
    eventually(lambda: not any(path.exists() and b"sleep" in path.read_bytes() for path in left), "both have ended")
