# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus on loopback that scrapes one server and evaluates the alert rules we ship."""
import json
import re
import subprocess
import threading
import urllib.parse
import urllib.request

from lib import weir
from lib.wait import eventually

RULES = weir.ROOT / "packaging/prometheus"


class Prometheus:
    """rules: a file of packaging/prometheus; target: host:port; token: of the scrape, if it has one.
    scrapes: jobs of one's own instead, as prometheus.yml has them; config: a whole prometheus.yml."""

    def __init__(self, directory, rules="*.rules.yml", target=None, token=None, path="/metrics",
                 params=None, scrapes=None, config=None):
        scrape = {"job_name": "edge", "metrics_path": path, "params": params or {},
                  "static_configs": [{"targets": [target]}]}
        if token is not None:
            scrape["authorization"] = {"credentials": token}
        (directory / "prometheus.yml").write_text(
            config or json.dumps(  # JSON is YAML
                {
                    "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
                    "rule_files": [str(RULES / rules)],
                    "scrape_configs": scrapes or [scrape],
                }
            )
        )
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        try:
            self.address = eventually(self._address, "Prometheus listens", 30)
            eventually(self._ready, "Prometheus is ready", 30)
        except AssertionError:
            self.stop()
            raise

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def _address(self):
        assert self.process.poll() is None, "".join(self.lines)
        found = re.search(r'msg="Listening on" address=(\S+)', "".join(self.lines))
        return found and found[1]

    def _ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def get(self, path, **query):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query):
        """Of an expression with one sample; None when there is none yet."""
        result = self.get("query", query=query)["result"]
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    def rules(self):
        return {r["name"]: r for group in self.get("rules")["groups"] for r in group["rules"]}

    def alerts(self, name):
        """Labels of the alerts that are pending or firing."""
        return [a["labels"] for a in self.get("alerts")["alerts"] if a["labels"]["alertname"] == name]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.thread.join(5)
        self.process.stderr.close()
