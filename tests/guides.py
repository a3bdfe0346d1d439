#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Does what the guides say, line by line, with the release build: tests/guides.py [PAGE…].

Every page that has a block of `sh` is run: its blocks in order, in one bash that ends at the first line
that fails, in a directory that was empty. A block of `output` behind one says what has to come out of
it: "…" stands for whatever varies within a line, and alone on a line for any number of lines. Ports
17000-19999 are exchanged for free ones. A block of `console` is an example and never run.

The script keeps the page's line numbers, so that what bash complains about can be looked up there.
"""
import concurrent.futures
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lib import markdown  # pylint: disable=wrong-import-position

ROOT = markdown.ROOT
TIMEOUT_S = 120
PORT = re.compile(r"(?<![\d.])1[789]\d{3}(?![\d.]*\d)")
MARK = "\x1e"
HEAD = (
    """trap 'echo "line $LINENO: $BASH_COMMAND" >failed' ERR; """
    """trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT; """
)


def free_ports(names):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: str(one.getsockname()[1]) for name, one in zip(names, held)}
    for one in held:
        one.close()
    return ports


def script(blocks, last_line):
    """The page's own line numbers; behind every block a mark with the block's number comes out."""
    lines = [""] * last_line
    for number, block in enumerate(blocks):
        lines[block.line : block.last_line - 1] = block.lines
        lines[block.last_line - 1] = f"printf '{MARK}'"
        if number == 0:
            lines[block.line - 1] = HEAD
    return "\n".join(lines) + "\n"


def pattern(expected):
    """Of a block of `output`."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(re.escape(part) for part in line.split("…")) + r"\n")
    return re.compile("".join(parts))


def run(steps, directory, timeout_s):
    """(exit code, what came out) of the script; nothing that it has started outlives it."""
    (directory / "home").mkdir()
    (directory / "here").mkdir()
    (directory / "bin").mkdir()
    binary = ROOT / "build/release/bin/weir"
    for name in ("weir", "rstream", "rstream-engine-ce", "portoser"):
        (directory / "bin" / name).symlink_to(binary)
    (directory / "steps.sh").write_text(steps)
    environment = {
        "PATH": f"{directory}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(directory / "home"), "LANG": "C.UTF-8", "TERM": "dumb",
        "WEIR_USER": pwd.getpwuid(os.geteuid()).pw_name,  # so that one called weir changes nothing
    }
    with open(directory / "said", "wb") as said, subprocess.Popen(
        ["bash", "-Eeuo", "pipefail", "../steps.sh"], cwd=directory / "here", env=environment,
        stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = f"none within {timeout_s} s"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    return code, (directory / "said").read_text(errors="replace")


def logs(directory):
    for path in sorted((directory / "here").glob("*.log")):
        yield f"-- {path.name}\n{path.read_text(errors='replace')[-1500:]}"


def problems(page, timeout_s=TIMEOUT_S):
    """What is wrong with a page, in words; nothing when all of it works."""
    text = page.read_text()
    exchange = free_ports(sorted(set(PORT.findall("".join(
        block.text for block in markdown.blocks(text) if block.language == "sh")))))
    text = PORT.sub(lambda found: exchange.get(found.group(), found.group()), text)
    every = [block for block in markdown.blocks(text) if block.language in ("sh", "output")]
    steps = [block for block in every if block.language == "sh"]
    name = os.path.relpath(page, ROOT)
    with tempfile.TemporaryDirectory() as made:
        directory = pathlib.Path(made)
        code, said = run(script(steps, len(text.splitlines())), directory, timeout_s)
        parts = said.split(MARK)
        if code != 0:
            failed = directory / "here/failed"
            where = failed.read_text() if failed.exists() else f"in block {len(parts)}\n"
            yield "\n".join([f"{name}: exit code {code}, {where}{parts[-1]}", *logs(directory)])
            return
        for before, block in zip(every, every[1:]):
            if block.language == "output":
                got = parts[steps.index(before)]
                got += "" if got.endswith("\n") else "\n"
                if not pattern(block.text).fullmatch(got):
                    yield f"{name}, line {block.line}: it says\n{got}instead of\n{block.text}"


def main(names):
    pages = [pathlib.Path(name).resolve() for name in names] or [
        page for page in markdown.pages()
        if any(block.language == "sh" for block in markdown.blocks(page.read_text()))]
    failed = False
    # They wait more than they work.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda page: list(problems(page)), pages):
            for problem in found:
                failed = True
                print(problem)
    print("failed" if failed else f"fine: {len(pages)} pages")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
