# SPDX-License-Identifier: Apache-2.0
"""The Nth allocation, and the Nth system call, of `weir init` fails, for every N: it makes everything,
or nothing that stays. Only builds with the fault seams take part."""
import os
import re
import shutil
import subprocess

import pytest

from lib import weir

NUMBER_MAX = 2000
ARGS = ["init", "--dir", "d", "--host", "edge.example.com", "--no-checks", "--health-listen", "0.0.0.0:8988"]
FILES = ["agent-token", "health-tokens", "registry.yml", "state", "weir.crt", "weir.key",
         "weir.service", "weir.yml"]


def run(place, name, number):
    place.mkdir()
    return subprocess.run(
        [weir.binary(), *ARGS], cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**weir.base_environment(), name: str(number)}, timeout=60, check=False)


@pytest.mark.parametrize("name", ["WEIR_FAIL_ALLOCATION", "WEIR_FAIL_SYSCALL"])
def test_all_or_nothing(tmp_path, name):
    failed = 0
    for number in range(1, NUMBER_MAX):
        place = tmp_path / str(number)
        done = run(place, name, number)
        if done.returncode == 0:
            assert sorted(os.listdir(place / "d")) == FILES, number
        else:
            assert done.returncode in (1, 64, 78), (number, done.stderr)
            assert "Sanitizer" not in done.stderr and "weir init: " in done.stderr, (number, done.stderr)
            assert os.listdir(place) == [], (number, done.stderr)
            failed += 1
        shutil.rmtree(place)
        made = re.search(r"^weir: (\d+) allocations, (\d+) system calls$", done.stderr, re.M)
        if number > int(made[1 if name == "WEIR_FAIL_ALLOCATION" else 2]):
            break
    assert done.returncode == 0 and failed >= 8
