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
from lib.prometheus import Prometheus
from lib.selfhosted import ADMIN_TOKEN, Platform
from lib.wait import eventually

PLACE = weir.ROOT / "packaging/grafana"
ENGINE_SETTINGS = {"metrics": {"tunnel_labels": 10}}
MANUALS = {"relay": "metrics", "engine": "engine-metrics", "health": "health-metrics",
           "platform": "platform-metrics"}
# What shows nothing while all is well: (board, panel, legend) without data in the demo.
QUIET = {
    ("relay", "Refusals by reason", "{{reason}}"): "nobody was refused",
    ("relay", "Bus failures", "sending: {{reason}}"): "nothing failed",
    ("relay", "Bus failures", "fetching: {{reason}}"): "nothing failed",
    ("relay", "Bus failures", "presence: {{reason}}"): "nothing failed",
    ("engine", "Answers that are the engine's own", "{{reason}}"): "it answered for nobody",
    ("health", "Failures in a row", "{{service}} on {{machine}}"): "nothing fails for the moment",
    ("health", "Shares held", "{{instance}}"): "there is no Redis",
    ("health", "Shares held", "{{instance}}, alone"): "there is no Redis",
    ("health", "Redis", "{{instance}}"): "there is no Redis",
    ("platform", "Certificate", "{{instance}}"): "it has no TLS in there",
}
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
    assert len(asked) >= 20
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


def test_the_platform_board(tmp_path):
    platform = Platform(tmp_path / "state")
    judge("platform", platform.request(
        "GET", "/metrics", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}).body.decode())
    platform.stop()


class Demo(weir.Relay):
    """All parts in one process, and something that moves in each."""

    def __init__(self, state_dir):
        self.state_dir = state_dir
        env = {name: None for name in ("RELAY_TLS", "RELAY_ADMIN_TOKEN", "RELAY_ENABLE_ADMIN_HTTP",
                                       "RELAY_LISTEN_PORT", "RELAY_BACKPLANE_MODE")}
        super().__init__(env, args=(
            "up", "--demo", "--state-dir", str(state_dir), "--listen", "127.0.0.1:0",
            "--engine-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"))
        weir.live.remove(self)  # its own peers never leave

    def scrapes(self):
        secret = (self.state_dir / "admin-token").read_text().strip()
        ports = {name: self.log.wait(f"{name}_started", timeout=30)["details"]
                 for name in ("platform", "engine", "health")}
        relay = {"scheme": "https", "tls_config": {
            "ca_file": str(self.state_dir / "localhost.crt"), "server_name": "localhost"}}
        rows = (("relay", self.port, relay), ("platform", ports["platform"]["port"], {}),
                ("engine", ports["engine"]["metricsPort"], {}), ("health", ports["health"]["port"], {}))
        keyed = {"authorization": {"credentials": secret}}
        return [{"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}], **more,
                 **(keyed if name in ("relay", "platform") else {})} for name, port, more in rows]


@pytest.fixture(scope="module", name="shown")
def shown_fixture(tmp_path_factory):
    """A Prometheus that has seen the demo for a moment."""
    demo = Demo(tmp_path_factory.mktemp("demo") / "state")
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), scrapes=demo.scrapes())
    demo.log.wait("demo_published", timeout=30)
    yield prometheus
    prometheus.stop()
    demo.stop()


@pytest.mark.parametrize("name", MANUALS)
def test_every_panel_shows_something(shown, name):
    """Or it says why not. The Prometheus is a real one, and so is what it scrapes."""
    asked = {
        (name, panel["title"], target["legendFormat"]): target["expr"].replace(
            "$__rate_interval", "30s").replace("$job", name).replace("$instance", ".*")
        for panel in board(name)["panels"] for target in panel.get("targets", [])}
    for key, text in asked.items():
        if key not in QUIET:
            eventually(lambda text=text: shown.get("query", query=text)["result"], f"{key}: {text}", 60)
    assert {key for key in QUIET if key[0] == name} <= set(asked)


def test_the_variables_of_boards_have_values(shown):
    for name in MANUALS:
        jobs, instances = (
            variable["query"] for variable in board(name)["templating"]["list"][1:])
        metric = re.fullmatch(r"label_values\((\w+), job\)", jobs)[1]
        eventually(lambda metric=metric: shown.get("query", query=metric)["result"], metric, 60)
        assert {row["metric"]["job"] for row in shown.get("query", query=metric)["result"]} == {name}
        assert instances == f'label_values({metric}{{job=~"$job"}}, instance)'


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
