# SPDX-License-Identifier: Apache-2.0
"""One valid frame of every type, as objects that a test may change, and their text."""
import json


def text(frame):
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False)


def e2ee(session="rs_0123456789abcdef01234567", seq=1, profile="noise-ik", **more):
    return {
        "type": "e2ee",
        "version": 2,
        "profile": profile,
        "sessionId": session,
        "epoch": 1,
        "seq": seq,
        "iv": "AAAAAAAAAAAAAAAA",
        "tag": "AAAAAAAAAAAAAAAAAAAAAA",
        "ciphertext": "c2VjcmV0",
        **more,
    }


def init_v3(request="k1", profile="noise-ik", **more):
    peer = {"pairingPeerId": "pp_1"} if profile == "noise-ikpsk2" else {}
    return {
        "type": "relay_key_exchange_init",
        "version": 3,
        "profile": profile,
        "requestId": request,
        "clientEphemeralPublicKey": "AA",
        "encryptedClientStatic": "BB",
        **peer,
        **more,
    }


def init_v2(request="k1", profile="noise-ik", **more):
    peer = {"pairingPeerId": "pp_1"} if profile == "noise-ikpsk2" else {}
    return {
        "type": "relay_key_exchange_init",
        "version": 2,
        "profile": profile,
        "requestId": request,
        "clientPublicKey": "AA",
        "clientNonce": "BB",
        "clientProof": "CC",
        **peer,
        **more,
    }


def response_v3(request="k1", session="rs_0123456789abcdef01234567", profile="noise-ik", **more):
    return {
        "type": "relay_key_exchange_response",
        "version": 3,
        "profile": profile,
        "requestId": request,
        "daemonPublicKey": "AA",
        "daemonEphemeralPublicKey": "BB",
        "encryptedMetadata": "CC",
        "sessionId": session,
        "epoch": 1,
        "proof": "DD",
        **more,
    }


def response_v2(request="k1", session="rs_0123456789abcdef01234567", profile="noise-ik", **more):
    return {
        "type": "relay_key_exchange_response",
        "version": 2,
        "profile": profile,
        "requestId": request,
        "daemonNonce": "AA",
        "sessionId": session,
        "epoch": 1,
        "proof": "DD",
        **more,
    }


def key_update(session="rs_0123456789abcdef01234567", **more):
    return {"type": "relay_key_update_required", "sessionId": session, "nextEpoch": 2, **more}


def offer_request(request="p1", **more):
    return {
        "type": "relay_pairing_offer_request",
        "requestId": request,
        "clientChannelPublicKey": "AA",
        **more,
    }


def redeem_request(request="p1", **more):
    return {
        "type": "relay_pairing_redeem_request",
        "requestId": request,
        "offerId": "o1",
        "encIv": "AA",
        "encTag": "BB",
        "encCiphertext": "CC",
        **more,
    }


def offer_response(request="p1", **more):
    return {
        "type": "relay_pairing_offer_response",
        "requestId": request,
        "ok": True,
        "daemonChannelPublicKey": "AA",
        "encIv": "BB",
        "encTag": "CC",
        "encCiphertext": "DD",
        **more,
    }


def redeem_response(request="p1", **more):
    return {"type": "relay_pairing_redeem_response", "requestId": request, "ok": True, **more}


def subscribe(channel="agent-session:s1", **more):
    return {"type": "viewport.session_events.subscribe/v1", "channel": channel, **more}


def unsubscribe(channel="agent-session:s1", **more):
    return {"type": "viewport.session_events.unsubscribe/v1", "channel": channel, **more}


def presence(channel="agent-session:s1", user="u1", action="joined", **more):
    return {
        "type": "viewport.session_viewer_presence/v1",
        "channel": channel,
        "action": action,
        "userId": user,
        **more,
    }


def session_event(channel="agent-session:s1", **more):
    return {
        "schema": "viewport.session_event_relay_frame/v1",
        "channel": channel,
        "event": {"n": 1},
        **more,
    }


def worker_request(path, request="w1", method="GET", **more):
    return {
        "type": "viewport.worker_transport.request/v1",
        "requestId": request,
        "method": method,
        "path": path,
        **more,
    }


def invalid_frame_status(workspace):
    return text(
        {
            "type": "relay_status",
            "code": "INVALID_FRAME",
            "message": "client frame must be a valid runtime or pairing control frame",
            "workspaceId": workspace,
        }
    )


def unavailable_status(workspace, target, machine=None):
    return text(
        {
            "type": "relay_status",
            "code": "DAEMON_UNAVAILABLE",
            "message": "No machine runtime is connected for this runtime target",
            "workspaceId": workspace,
            "retryable": True,
            "runtimeTargetId": target,
            **({"machineId": machine} if machine else {}),
        }
    )


def target_required_status(workspace):
    return text(
        {
            "type": "relay_status",
            "code": "RUNTIME_TARGET_REQUIRED",
            "message": "Runtime client must specify a runtime target",
            "workspaceId": workspace,
            "retryable": False,
        }
    )


def events_only_status(workspace):
    return text(
        {
            "type": "relay_status",
            "code": "SESSION_EVENTS_SCOPE_ONLY",
            "message": "session-events scoped clients can only subscribe to authorized session "
            "event channels",
            "workspaceId": workspace,
        }
    )
