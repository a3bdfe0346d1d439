# SPDX-License-Identifier: Apache-2.0
"""The shipped alert rules over live scrapes of a real Prometheus (spec 3.4, 14.8)."""
from lib import weir
from lib.agent import Agent
from lib.engine import Engine
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
        "RelayBackplaneDown", "RelayBusFailing", "RelayBusDeaf", "RelayPresenceFailing", "RelayBusKeysDiffer",
        "RelayClocksDiffer",
    }
    assert all(rule["health"] == "ok" and not rule.get("lastError") for rule in rules.values())
    assert not prometheus.alerts("RelayDown") and not prometheus.alerts("RelayBackplaneSlow")
    missing = 'relay_handshake_failures_total{reason="missing_auth"}'
    assert prometheus.value(missing) == world.relay.metric(missing) == 300
    world.relay.stop()
    assert pending(prometheus, "RelayDown")[0]["job"] == "edge"


def test_alerts_over_a_live_scrape(start, tmp_path):
    world = start(RELAY_ADMISSION_TIMEOUT_MS="1100")
    target = f"{world.relay.host}:{world.relay.port}"
    prometheus = Prometheus(tmp_path, "relay.rules.yml", target, weir.ADMIN_TOKEN)
    try:
        judge(world, prometheus)
    finally:
        prometheus.stop()


def test_alerts_of_an_engine(authority, tmp_path):
    settings = {"metrics": {"prometheus": {"bearer_token": "s3cret"}}}
    engine = Engine(authority, tmp_path, settings)
    prometheus = Prometheus(
        tmp_path, "engine.rules.yml", f"127.0.0.1:{engine.metrics_port}", "s3cret"
    )
    try:
        agents = [Agent(engine) for _ in range(5)]
        channels = "weir_engine_control_channels"
        eventually(lambda: prometheus.value(channels) == 5, "a scrape", SCRAPE_S)
        rules = prometheus.rules()
        assert len(rules) == 7
        eventually(
            lambda: all(rule["health"] == "ok" for rule in prometheus.rules().values()),
            "every rule is evaluated",
            SCRAPE_S,
        )
        # The test's certificate ends within days, or it does not: the alert knows.
        left = prometheus.value("weir_engine_cert_not_after_timestamp_seconds - time()")
        assert bool(prometheus.alerts("EngineCertificateExpires")) == (left < 7 * 86400)
        for agent in agents:
            agent.close()
        pending(prometheus, "EngineAgentsLost")
        assert not prometheus.alerts("EngineDown")
        engine.stop()
        assert pending(prometheus, "EngineDown")[0]["job"] == "edge"
    finally:
        prometheus.stop()
        engine.kill()
