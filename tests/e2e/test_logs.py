# SPDX-License-Identifier: Apache-2.0
"""The log: form, redaction, names, limits (spec 11)."""
import re

from lib import frames as f
from lib import ws


def test_form_of_every_line(start):
    world = start()
    daemon, client = world.pair()
    client.send("{}")
    client.recv_text()
    daemon.finish()
    world.relay.log.wait("daemon_disconnected")
    for line in world.relay.log.lines:
        assert list(line) == ["ts", "level", "event", "details"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])
        assert line["level"] in ("info", "warn", "error")
        assert re.fullmatch(r"[a-z0-9_]+", line["event"])
        assert isinstance(line["details"], dict)
    assert world.relay.stderr() == ""


def test_frame_size_limit_is_redacted_as_the_words_ask(start):
    details = start().relay.log.find("relay_started")["details"]
    assert details["maxFrameBytes"] == "[redacted]"


def test_no_secret_is_ever_logged(start):
    world = start(RELAY_MODE="dev", RELAY_INTERNAL_KEY="internal-key-nobody-may-see")
    secret = "tok-nobody-may-see"
    payload = "payload-nobody-may-see"
    peer = world.peer()
    world.platform.tokens[secret + "-query"] = world.platform.tokens[world.token("client")]
    peer.upgrade(world.path("client", token=secret + "-query"))
    world.refused(token=secret + "-denied")
    world.refused("/ws?role=bad&token=" + secret)
    world.refused("/elsewhere?token=" + secret, secret)
    world.relay.request("GET", "/metrics", {"Authorization": "Bearer " + secret})
    daemon, client = world.daemon(), world.client()
    client.send(f.text(f.e2ee(ciphertext=payload)))
    daemon.recv_text()
    client.send('{"type":"' + payload)
    client.recv_text()
    daemon.send('{"type":"' + payload)
    daemon.expect_silence_until(b"routed")
    client.finish()
    world.relay.log.wait("client_disconnected")
    everything = str(world.relay.log.lines) + world.relay.stderr()
    everything += str(world.relay.admin("/logs").json()) + str(world.relay.state())
    for word in ("nobody-may-see", "admin-token-of-the-tests"):
        assert word not in everything


def test_values_cannot_forge_a_line(start):
    world = start()
    nasty = 'm"\\\n{"event":"forged"}\u001b[31m\u009b'
    world.daemon(machineId=nasty)
    line = world.relay.log.wait("daemon_connected")
    assert line["details"]["machineId"] == nasty
    assert not world.relay.log.find("forged")


def test_every_reason_of_refused_client_frames(start):
    """One relay of its own: lines of an event are limited to some a second."""
    world = start()
    world.daemon()
    cases = [
        (world.client(), "{}", "invalid_client_frame"),
        (world.client(), f.text(f.offer_request()), "scope_mismatch_runtime_only"),
        (world.client(), f.text(f.subscribe()), "scope_mismatch_runtime_or_pairing_only"),
        (world.pairing_client(), f.text(f.e2ee()), "scope_mismatch_pairing_only"),
        (world.events_client(), f.text(f.e2ee()), "scope_mismatch_session_events_only"),
        (world.client(e2eeProfile="noise-ikpsk2"), f.text(f.e2ee()), "profile_mismatch"),
    ]
    for peer, text, reason in cases:
        peer.send(text)
        details = world.relay.log.wait("client_frame_rejected", reason=reason)["details"]
        assert details["workspaceId"] == world.workspace
        assert details["clientId"].startswith("c_")


def test_flood_of_bad_frames_does_not_flood_the_log(start):
    world = start()
    client = world.client()
    client.send_raw(ws.frame(ws.TEXT, "{}") * 2000)
    for _ in range(2000):
        client.recv_text()
    assert world.relay.metric("relay_frames_client_rejected_total") == 2000
    assert len(world.relay.log.all("client_frame_rejected")) < 100
    assert world.relay.metric("relay_log_lines_suppressed_total") > 1900
    world.relay.log.wait("log_lines_suppressed")
    assert world.relay.metric('relay_log_events_total{level="warn"}') >= 2000
