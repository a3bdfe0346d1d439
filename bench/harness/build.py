# SPDX-License-Identifier: Apache-2.0
"""Builds what a run needs: weir and the bench programs in build/release, the Node relay's package."""

import dataclasses
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/release"
PEER = ROOT / "bench/peer"
BUILD_SECONDS_MAX = 600


class BuildError(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Programs:
    weir: pathlib.Path
    load: pathlib.Path
    platform: pathlib.Path
    floor: pathlib.Path
    node_server: pathlib.Path


def _run(*command, cwd=ROOT):
    try:
        done = subprocess.run([str(word) for word in command], cwd=cwd, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=BUILD_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(str(error)) from error
    if done.returncode != 0:
        raise BuildError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")


def prepare(servers):
    """Returns the programs; $WEIR names a weir that is built already."""
    print("building ...", flush=True)
    targets = ["weir-bench-load", "weir-bench-platform", "weir-bench-floor"]
    weir = BUILD / "bin/weir"
    if "WEIR" in os.environ:
        weir = pathlib.Path(os.environ["WEIR"]).resolve()
    elif "weir" in servers:
        targets.append("weir")
    _run("cmake", "--preset", "release")
    _run("cmake", "--build", BUILD, "--parallel", os.cpu_count(), "--target", *targets)
    if "weir" in servers and not os.access(weir, os.X_OK):
        raise BuildError(f"{weir} is not a program")
    if "node" in servers and not (PEER / "node_modules/ws").is_dir():
        _run("npm", "ci", "--no-audit", "--no-fund", cwd=PEER)
    return Programs(weir, BUILD / "bin/weir-bench-load", BUILD / "bin/weir-bench-platform",
                    BUILD / "bin/weir-bench-floor", PEER / "server.mjs")
