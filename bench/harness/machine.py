# SPDX-License-Identifier: Apache-2.0
"""What a reader must know about the machine and the programs to place the figures."""

import json
import os
import platform
import subprocess
import time

from .build import PEER, ROOT


VERSIONS = {"nginx": ("nginx", "-v"), "haproxy": ("haproxy", "-v"), "openssh": ("ssh", "-V"),
            "monit": ("monit", "-V"), "blackbox": ("prometheus-blackbox-exporter", "--version"),
            "chromium": ("chromium", "--version")}


def _said(*command):
    try:
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=10,
                              check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else "unknown"


def _field(path, key, separator):
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, found, value = line.partition(separator)
            if found and name.strip() == key:
                return value.strip().strip('"')
    return "unknown"


def _weir_commit():
    commit = _said("git", "rev-parse", "--short=12", "HEAD")
    changed = _said("git", "status", "--porcelain", "--untracked-files=no", "--", "src", "cmake")
    return commit if changed == "unknown" else f"{commit} with local changes"


def describe(servers):
    with open("/proc/cpuinfo", encoding="ascii") as cpuinfo:
        virtual = " hypervisor " in cpuinfo.read().replace("\n", " ")
    facts = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": _field("/proc/cpuinfo", "model name", ":"),
        "cores": len(os.sched_getaffinity(0)),
        "virtual": virtual,
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "congestion_control": _said("cat", "/proc/sys/net/ipv4/tcp_congestion_control"),
        "system": _field("/etc/os-release", "PRETTY_NAME", "="),
        "compiler": _said("gcc", "--version"),
        "openssl": _said("openssl", "version"),
    }
    if "weir" in servers:
        facts["weir"] = _weir_commit()
    for kind, command in VERSIONS.items():
        if kind in servers:
            facts[kind] = _said(*command)
    if "node" in servers or "uws" in servers:
        facts["node"] = _said("node", "--version")
    for kind, package in {"node": "ws", "uws": "uwebsockets"}.items():
        if kind in servers:
            said = (PEER / "node_modules" / package / "package.json").read_text(encoding="utf-8")
            facts[package] = json.loads(said)["version"]
    return facts


def paragraph(facts, programs):
    """The same in words; programs are those whose versions count."""
    kind = "Virtual machine" if facts["virtual"] else "Machine"
    versions = ", ".join(f"{name} {facts[name]}" for name in programs)
    return (f"{facts['date']}. {kind} with {facts['cores']} cores of {facts['processor']}, "
            f"{facts['memory']}; {facts['system']}, Linux {facts['kernel']} "
            f"({facts['congestion_control']}); {facts['compiler']}; {facts['openssl']}; {versions}. "
            "Everything over loopback: only ratios travel.")
