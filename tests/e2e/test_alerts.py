# SPDX-License-Identifier: Apache-2.0
"""The shipped alert rules over live scrapes of a real Prometheus (spec 3.4, 14.8)."""
from lib.platform import Answer
from lib.prometheus import Prometheus
from lib.wait import eventually

SCRAPE_S = 30  # Prometheus takes some seconds to find its targets


def pending(prometheus, name):
    return eventually(lambda: prometheus.alerts(name), f"{name} is pending", SCRAPE_S)


def judge(world, prometheus):
    """One relay's life: quiet, then refusing and slow, then gone."""
    eventually(lambda: prometheus.value("relay_handshakes_total") is not None, "a scrape", SCRAPE_S)
    assert prometheus.get("targets")["activeTargets"][0]["lastError"] == ""
    for _ in range(300):
        world.refused()
    world.refused(token=world.platform.answering(Answer(fault="silence")))
    assert [a["reason"] for a in pending(prometheus, "RelayHandshakeFailures")] == ["missing_auth"]
    pending(prometheus, "RelayAdmissionSlow")
    rules = prometheus.rules()
    assert set(rules) == {
        "RelayDown", "RelayHandshakeFailures", "RelayAdmissionSlow", "RelayBackplaneSlow",
    }
    assert all(rule["health"] == "ok" and not rule.get("lastError") for rule in rules.values())
    assert not prometheus.alerts("RelayDown") and not prometheus.alerts("RelayBackplaneSlow")
    missing = 'relay_handshake_failures_total{reason="missing_auth"}'
    assert prometheus.value(missing) == world.relay.metric(missing) == 300
    world.relay.stop()
    assert pending(prometheus, "RelayDown")[0]["job"] == "edge"


def test_alerts_over_a_live_scrape(start, tmp_path):
    world = start(RELAY_ADMISSION_TIMEOUT_MS="1100")
    prometheus = Prometheus(world.relay, tmp_path)
    try:
        judge(world, prometheus)
    finally:
        prometheus.stop()
