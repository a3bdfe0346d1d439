# SPDX-License-Identifier: Apache-2.0
"""The boards of packaging/grafana ask only for what weir tells, in words that Prometheus knows."""
import importlib.util
import json
import re
import subprocess

import pytest
import yaml

from lib import health, targets, weir
from lib.agent import Agent

PLACE = weir.ROOT / "packaging/grafana"
ENGINE_SETTINGS = {"metrics": {"tunnel_labels": 10}}
MANUALS = {"relay": "metrics", "engine": "engine-metrics", "health": "health-metrics"}
SCRAPED = {"up", "job", "instance", "le"}  # Prometheus's own
WORDS = {
    "sum", "min", "max", "count", "by", "rate", "time", "topk", "bottomk", "histogram_quantile", "or", "vector",
}


def board(name):
    return json.loads((PLACE / f"{name}.json").read_text())


def expressions(name):
    """With what Grafana puts in for its variables."""
    for panel in board(name)["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], text.replace("$job", ".*").replace("$instance", ".*")


def names(text):
    """Metrics and labels; what is in quotes is neither."""
    return set(re.findall(r"[a-zA-Z_:][\w:]*", re.sub(r'"[^"]*"|\[\w+\]', "", text))) - WORDS


def told(page):
    """Names of a scrape, with those that a histogram has."""
    found = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
        found |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return found


def labels(name):
    """What the manual names in its columns of labels: with and without quotes."""
    manual = weir.run("config", "reference", MANUALS[name]).stdout
    cells = [row.split("|")[3] for row in manual.splitlines() if row.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"[a-z_]+", cell)}


def judge(name, page):
    known = told(page) | labels(name) | SCRAPED
    asked = list(expressions(name))
    assert len(asked) > 20
    for title, text in asked:
        assert names(text) <= known, (title, names(text) - known)


def test_the_relay_board(world):
    judge("relay", world.relay.admin("/metrics").body.decode())


def test_the_engine_board(engine):
    agent = Agent(engine)
    agent.tunnel(name="told", publish=False)
    page = subprocess.run(
        ["curl", "-sf", "--noproxy", "*", f"http://127.0.0.1:{engine.metrics_port}/metrics"],
        capture_output=True, text=True, timeout=20, check=True)
    judge("engine", page.stdout)
    agent.close()


def test_the_health_board(lab, serve):
    shared = targets.redis(lab.directory)
    try:
        lab.write({"it": health.Switch(lab).check})
        monitor = serve(
            "--state-dir", str(lab.directory / "state"),
            env={"REDIS_URL": f"redis://127.0.0.1:{shared.port}"})
        monitor.wait_status("it", "healthy", 30)
        judge("health", monitor.ask("GET", "/metrics").body.decode())
    finally:
        shared.stop()


@pytest.mark.parametrize("name", MANUALS)
def test_prometheus_reads_every_expression(name, tmp_path):
    rules = [
        {"record": f"board:{i}", "expr": text} for i, (_, text) in enumerate(expressions(name))
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    checked = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")],
        capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


def test_the_relay_alerts_ask_for_what_it_tells(world):
    known = told(world.relay.admin("/metrics").body.decode()) | labels("relay") | SCRAPED | {
        "and", "on", "last_over_time",
    }
    rules = yaml.safe_load((weir.ROOT / "packaging/prometheus/relay.rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        assert names(rule["expr"]) <= known, rule["alert"]


@pytest.mark.parametrize("name", MANUALS)
def test_it_is_what_its_table_makes(name):
    spec = importlib.util.spec_from_file_location("boards", PLACE / "boards.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (PLACE / f"{name}.json").read_text() == made.text_of(name), "run packaging/grafana/boards.py"


@pytest.mark.parametrize("name", MANUALS)
def test_no_panel_lies_on_another(name):
    taken = set()
    panels = board(name)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y) for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
