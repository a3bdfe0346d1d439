# SPDX-License-Identifier: Apache-2.0
"""What docs/operations.md has people type works, and what it names is there."""
import re
import subprocess

import pytest
import yaml

from lib import weir
from lib.targets import free_port

GUIDE = (weir.ROOT / "docs/operations.md").read_text()
EVENTS = (
    "upgrade_refused", "admission_denied", "listen_shared", "relay_started", "reload",
    "config_changed", "config_warning", "health_registry_refused",
)
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def ports():
    return str(free_port())


def test_its_steps(tmp_path, ports):
    """Every sh block, in one shell; the release build's name leads to the one under test."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/weir").symlink_to(weir.binary())
    assert len(BLOCKS) == 3
    steps = "\n".join(["trap 'kill $(jobs -p) 2>/dev/null || true' EXIT", *BLOCKS])
    (tmp_path / "steps.sh").write_text(steps.replace("17781", ports))
    env = weir.base_environment()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "steps.sh"], cwd=tmp_path, capture_output=True, text=True,
        env={**env, "PATH": f"{tmp_path}/bin:{env['PATH']}"}, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"ok":true' in done.stdout
    assert '"relay_stopped"' in (tmp_path / "old.log").read_text()


def test_every_alert_is_in_its_table():
    for path in (weir.ROOT / "packaging/prometheus").glob("*.rules.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                assert re.search(rf"^\|.*\b{rule['alert']}\b", GUIDE, re.MULTILINE), rule["alert"]


def test_every_relay_variable_is_one():
    manual = weir.run("config", "reference", "relay").stdout
    for name in set(re.findall(r"RELAY_[A-Z_]+", GUIDE)):
        assert f"`{name}`" in manual, name


def test_every_event_is_one():
    events = (weir.ROOT / "src/obs/events.def").read_text()
    for name in EVENTS:
        assert f"`{name}`" in GUIDE or f'"{name}"' in GUIDE, name
        assert f'"{name}"' in events, name


def test_its_links_lead_somewhere():
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", GUIDE, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", GUIDE):
        path, _, anchor = link.partition("#")
        if path:
            assert (weir.ROOT / "docs" / path).exists(), link
        else:
            assert anchor in anchors, link
