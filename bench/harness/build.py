# SPDX-License-Identifier: Apache-2.0
"""Builds what a run needs: weir and the bench programs in build/release, the packages of the Node relays."""

import dataclasses
import os
import pathlib
import shutil
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
    uws_server: pathlib.Path


@dataclasses.dataclass(frozen=True)
class EnginePrograms:
    weir: pathlib.Path
    agent: pathlib.Path
    tls: pathlib.Path
    splice: pathlib.Path
    passage: pathlib.Path


@dataclasses.dataclass(frozen=True)
class HealthPrograms:
    weir: pathlib.Path


@dataclasses.dataclass(frozen=True)
class AgentPrograms:
    weir: pathlib.Path
    tls: pathlib.Path


CHECKERS = {"haproxy": "haproxy", "monit": "monit", "blackbox": "prometheus-blackbox-exporter"}
PEERS = {"nginx": "nginx", "haproxy": "haproxy", "openssh": "/usr/sbin/sshd"}


def _run(*command, cwd=ROOT):
    try:
        done = subprocess.run([str(word) for word in command], cwd=cwd, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=BUILD_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(str(error)) from error
    if done.returncode != 0:
        raise BuildError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")


def _build(wanted, targets):
    """Returns weir; $WEIR names one that is built already."""
    print("building ...", flush=True)
    weir = BUILD / "bin/weir"
    if "WEIR" in os.environ:
        weir = pathlib.Path(os.environ["WEIR"]).resolve()
    elif wanted:
        targets = [*targets, "weir"]
    if targets:
        _run("cmake", "--preset", "release")
        _run("cmake", "--build", BUILD, "--parallel", os.cpu_count(), "--target", *targets)
    if wanted and not os.access(weir, os.X_OK):
        raise BuildError(f"{weir} is not a program")
    return weir


def _require_peers(fronts):
    for program in ("nginx", "h2load", "curl", *(PEERS[kind] for kind in fronts if kind in PEERS)):
        if shutil.which(program) is None:
            raise BuildError(f"{program} is missing: apt-get install nginx-light "
                             "libnginx-mod-stream haproxy openssh-server nghttp2-client curl")


def prepare_engine(fronts):
    _require_peers(fronts)
    targets = [f"weir-bench-{name}" for name in ("agent", "tls", "splice", "passage")]
    weir = _build("weir" in fronts, targets)
    return EnginePrograms(weir, *(BUILD / "bin" / target for target in targets))


def prepare_agent(fronts):
    _require_peers(fronts)
    return AgentPrograms(_build("forward" in fronts, ["weir-bench-tls"]),
                         BUILD / "bin/weir-bench-tls")


def prepare_health(checkers):
    for program in ("nginx", "h2load", *(CHECKERS[kind] for kind in checkers if kind in CHECKERS)):
        if shutil.which(program) is None:
            raise BuildError(f"{program} is missing: apt-get install nginx-light haproxy monit "
                             "prometheus-blackbox-exporter nghttp2-client")
    return HealthPrograms(_build("weir" in checkers, []))


def prepare_page():
    return HealthPrograms(_build(True, []))


def prepare_browser():
    if shutil.which("chromedriver") is None:
        raise BuildError("chromedriver is missing: apt-get install chromium chromium-driver "
                         "python3-selenium")
    return HealthPrograms(_build(True, []))


def prepare(servers):
    """Returns the programs of the relay's bench."""
    weir = _build("weir" in servers, ["weir-bench-load", "weir-bench-platform", "weir-bench-floor"])
    packages = {"node": "ws", "uws": "uwebsockets"}
    if any(kind in servers and not (PEER / "node_modules" / package).is_dir()
           for kind, package in packages.items()):
        _run("npm", "ci", "--no-audit", "--no-fund", cwd=PEER)
    return Programs(weir, BUILD / "bin/weir-bench-load", BUILD / "bin/weir-bench-platform",
                    BUILD / "bin/weir-bench-floor", PEER / "server.mjs", PEER / "uws.mjs")
