# SPDX-License-Identifier: Apache-2.0
"""The monitor's own traffic in its metrics, hostile labels, and a Prometheus that scrapes them."""
import json
import subprocess

import pytest

from lib import health, prometheus
from lib.wait import eventually


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, **kwargs):
        running.append(health.Monitor(lab.directory / "registry.yml", *args, env=lab.env, **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


def requests(monitor, **labels):
    text = ",".join(f'{k}="{v}"' for k, v in labels.items())
    return monitor.metrics().get(f"http_requests_total{{{text}}}", 0)


def test_requests_are_counted(lab, serve):
    lab.write({}, it={"current_host": "here"})
    monitor = serve()
    for path in ("/api/health/services/it", "/api/health/services/none", "/x/y", "/x/z"):
        monitor.ask("GET", path)
    monitor.ask("HEAD", "/ping")
    monitor.ask("POST", "/api/health/maintenance/it", {"until": 1})
    one = "/api/health/services/{service}"  # names of services make no series
    assert requests(monitor, method="GET", endpoint=one, status="200") == 1
    assert requests(monitor, method="GET", endpoint=one, status="404") == 1
    assert requests(monitor, method="other", endpoint="other", status="404") == 2
    assert requests(monitor, method="HEAD", endpoint="/ping", status="200") == 1
    assert requests(monitor, method="POST", endpoint="/api/health/maintenance/{name}", status="422") == 1
    seen = monitor.metrics()
    labels = f'method="GET",endpoint="{one}"'
    assert seen[f"http_request_duration_seconds_count{{{labels}}}"] == 2
    assert seen[f'http_request_duration_seconds_bucket{{{labels},le="+Inf"}}'] == 2
    assert 0 < seen[f"http_request_duration_seconds_sum{{{labels}}}"] < 20
    assert seen["error_rate"] == 0
    lab.write({}, it={"current_host": "here"})
    (lab.directory / "registry.yml").write_text("nothing: of it\n")
    monitor.log.wait("health_registry_refused")
    assert monitor.ask("GET", "/api/health/comprehensive").status == 503
    assert 0 < monitor.metrics()["error_rate"] < 1


def test_labels_of_any_bytes(lab, serve):
    names = ["a\x1b[2J", "a[2J", "nul\x07", "c1\u009b2J", "line\nfeed", 'q"\\']
    lab.write({}, **{name: {"current_host": "here"} for name in names})
    monitor = serve()
    body = monitor.ask("GET", "/metrics").body
    assert not [b for b in body if b < 32 and b != 10] and b"\x7f" not in body
    text = body.decode()
    assert "\u009b" not in text
    for shown in ("a\u241b[2J", "a[2J", "nul\u2407", "line\\nfeed", 'q\\"\\\\'):
        assert f'portoser_service_status{{service="{shown}",machine="here"}}' in text
    judged = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert b"error" not in judged.stderr, judged.stderr


def test_openmetrics(lab, serve):
    lab.write({}, it={"current_host": "here"})
    monitor = serve()
    monitor.get("/ping")
    answer = monitor.ask("GET", "/api/metrics", headers={
        "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"})
    text = answer.body.decode()
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert text.endswith("# EOF\n") and "# TYPE http_requests counter\n" in text
    assert 'http_requests_total{method="GET",endpoint="/ping",status="200"} 1\n' in text
    assert "# TYPE http_request_duration_seconds histogram\n" in text


def test_metrics_as_json(lab, serve):
    lab.write({}, it={"current_host": "here"})
    monitor = serve()
    page = monitor.get("/api/metrics?format=json")
    families = {f["name"]: f for f in page["metrics"]}
    assert set(page) == {"timestamp", "metrics"}
    assert families["portoser_service_status"]["samples"] == [
        {"labels": {"service": "it", "machine": "here"}, "value": 0}]
    assert families["portoser_service_status"]["type"] == "gauge"
    page = monitor.get("/api/metrics?format=json")
    families = {f["name"]: f for f in page["metrics"]}
    durations = families["http_request_duration_seconds"]["samples"]
    assert durations[0]["labels"] == {"method": "GET", "endpoint": "/api/metrics"}
    assert durations[0]["count"] == 1 and durations[0]["sum"] > 0
    # Both formats have the same families.
    text = monitor.ask("GET", "/metrics").body.decode()
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} == set(families)
    assert json.loads(monitor.ask("GET", "/metrics?format=json").body)["metrics"]


def test_a_prometheus_scrapes_it(lab, serve, tmp_path):
    """By the documented recipe; names that would collide are two series, so the scrape is good."""
    up = health.Switch(lab)
    lab.write({"up": up.check, "u\x1bp": up.check})
    monitor = serve()
    monitor.wait_status("up", "healthy")
    directory = tmp_path / "prometheus"
    directory.mkdir()
    server = prometheus.Prometheus(directory, "health.rules.yml", f"127.0.0.1:{monitor.port}",
                                   path="/api/metrics", params={"format": ["prometheus"]})
    try:
        for query in ('portoser_service_up{service="up"}', 'portoser_service_up{service="u\u241bp"}',
                      'up{job="edge"}'):
            eventually(lambda: server.value(query) == 1, query, 30)
        eventually(lambda: server.value(
            'http_requests_total{job="edge",endpoint="/api/metrics",status="200"}'), "its own scrapes", 30)
    finally:
        server.stop()
