# SPDX-License-Identifier: Apache-2.0
"""Frames the relay writes itself, byte for byte (spec 5.6)."""
from lib import frames as f


def ask(client, frame):
    client.send(f.text(frame))
    return client.recv_text()


def test_daemon_unavailable(world):
    world.workspace = "w-status_1"
    assert ask(world.client(), f.e2ee()) == (
        '{"type":"relay_status","code":"DAEMON_UNAVAILABLE","message":"No machine runtime is '
        'connected for this runtime target","workspaceId":"w-status_1","retryable":true,'
        '"runtimeTargetId":"rt_1"}'
    )


def test_daemon_unavailable_with_machine(world):
    world.workspace = "w-status_2"
    assert ask(world.client(machineId='m"\\\u0001ä😀'), f.init_v3()) == (
        '{"type":"relay_status","code":"DAEMON_UNAVAILABLE","message":"No machine runtime is '
        'connected for this runtime target","workspaceId":"w-status_2","retryable":true,'
        '"runtimeTargetId":"rt_1","machineId":"m\\"\\\\\\u0001ä😀"}'
    )


def test_runtime_target_required(world):
    world.workspace = "w-status_3"
    assert ask(world.pairing_client(target=None), f.offer_request()) == (
        '{"type":"relay_status","code":"RUNTIME_TARGET_REQUIRED","message":"Runtime client must '
        'specify a runtime target","workspaceId":"w-status_3","retryable":false}'
    )


def test_invalid_frame(world):
    world.workspace = "w-status_4"
    assert ask(world.client(), {"type": "ack"}) == (
        '{"type":"relay_status","code":"INVALID_FRAME","message":"client frame must be a valid '
        'runtime or pairing control frame","workspaceId":"w-status_4"}'
    )


def test_session_events_scope_only(world):
    world.workspace = "w-status_5"
    assert ask(world.events_client(), f.e2ee()) == (
        '{"type":"relay_status","code":"SESSION_EVENTS_SCOPE_ONLY","message":"session-events '
        "scoped clients can only subscribe to authorized session event channels\","
        '"workspaceId":"w-status_5"}'
    )


def test_subscription(world):
    client = world.events_client("agent-session:s1")
    for sent, shown in ((None, "0"), (0, "0"), (7, "7"), (2**53, "9007199254740992")):
        more = {} if sent is None else {"afterSequence": sent}
        assert ask(client, f.subscribe(**more)) == (
            '{"type":"viewport.session_events.subscribed/v1","channel":"agent-session:s1",'
            f'"afterSequence":{shown},"authoritativeSource":"session_events",'
            '"websocketRequiredForBackfill":false}'
        )
    assert ask(client, f.unsubscribe()) == (
        '{"type":"viewport.session_events.unsubscribed/v1","channel":"agent-session:s1"}'
    )


def test_denied(world):
    world.workspace = "w-status_6"
    client = world.events_client("agent-session:s1")
    for frame in (f.subscribe("agent-session:s2"), f.unsubscribe("agent-session:s2")):
        assert ask(client, frame) == (
            '{"type":"viewport.session_events.subscribe_denied/v1","channel":"agent-session:s2",'
            '"reason":"CHANNEL_NOT_AUTHORIZED","workspaceId":"w-status_6"}'
        )
    assert ask(client, f.presence("agent-session:s2")) == (
        '{"type":"viewport.session_viewer_presence_denied/v1","channel":"agent-session:s2",'
        '"reason":"CHANNEL_NOT_AUTHORIZED","workspaceId":"w-status_6"}'
    )


def test_worker_answer(world):
    worker = world.worker("me_1")
    assert ask(worker, f.worker_request("/api/runtime/workspaces/other", "w1")) == (
        '{"type":"viewport.worker_transport.response/v1","requestId":"w1","status":403,'
        '"headers":{"content-type":"application/json"},'
        '"body":"{\\"ok\\":false,\\"reason\\":\\"WORKER_TRANSPORT_PATH_DENIED\\"}"}'
    )
