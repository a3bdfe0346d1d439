# SPDX-License-Identifier: Apache-2.0
"""Presence and bus of a platform (spec section 8), on a StubPlatform: honest unless a test says how it
lies. ADR 0009 says what goes beyond the spec."""
import base64
import hashlib
import hmac
import json
import threading
import time

from lib.platform import Answer

ROOT = "/api/runtime/internal/relay/"
KEY = "bus-signing-key-for-tests-000"
PUBLISHED = (
    "workspaceId runtimeTargetId machineId sourceRelayId targetRelayId direction payload "
    "issuedAtMs signature"
).split()


def signature(frame, key=KEY):
    fields = [
        frame["workspaceId"], frame["runtimeTargetId"], frame.get("machineId") or "",
        frame["sourceRelayId"], frame.get("targetRelayId") or "", frame["direction"],
        str(frame["issuedAtMs"]), frame["payload"],
    ]
    mac = hmac.new(key.encode(), "\n".join(fields).encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def signed(key=KEY, **frame):
    frame.setdefault("issuedAtMs", time.time_ns() // 1_000_000)
    frame["signature"] = signature(frame, key)
    return frame


class Bus:
    """One store that all relays of a test share.

    instead: by call ("presence/upsert", ...), a function from the decoded body to an Answer, or to
    None for the honest answer.
    """

    def __init__(self, platform, batch=False):
        self.batch = batch
        self.presence = {}
        self.frames = []  # with their ids, oldest first
        self.calls = []  # (name, body)
        self.instead = {}
        self.changed = threading.Condition()
        for name in ("presence/upsert", "presence/resolve", "bus/publish", "bus/pull"):
            platform.page("POST", ROOT + name, self._handler(name))

    def _handler(self, name):
        honest = {
            "presence/upsert": self._upsert, "presence/resolve": self._resolve,
            "bus/publish": self._publish, "bus/pull": self._pull,
        }[name]

        def handle(request):
            body = json.loads(request.body)
            with self.changed:
                self.calls.append((name, body))
                self.changed.notify_all()
            instead = self.instead.get(name)
            answer = instead(body) if instead else None
            return answer if answer is not None else Answer(200, honest(body))

        return handle

    # ---- Honest answers

    def _upsert(self, body):
        key = body["workspaceId"], body.get("runtimeTargetId")
        with self.changed:
            held = self.presence.get(key)
            if body["daemonConnected"]:
                self.presence[key] = body
            elif held and held["relayId"] == body["relayId"]:
                del self.presence[key]
            self.changed.notify_all()
        return {"ok": True}

    def _resolve(self, body):
        held = self.presence.get((body["workspaceId"], body.get("runtimeTargetId")), {})
        return {
            "ok": True, "relayId": held.get("relayId"),
            "relayWsBaseUrl": held.get("relayWsBaseUrl"), "daemonConnected": bool(held),
            "runtimeTargetId": held.get("runtimeTargetId"), "machineId": held.get("machineId"),
        }

    def _publish(self, body):
        frames = body.get("frames", [body])
        for frame in frames:
            self.store(frame)
        answer = {"ok": True}
        if self.batch:
            answer["batch"] = True
            if "frames" in body:
                answer["results"] = [True] * len(frames)
        return answer

    def _pull(self, body):
        end = time.monotonic() + body["waitMs"] / 1000
        with self.changed:
            while True:
                frames = [
                    f for f in self.frames
                    if f["id"] > body["sinceId"] and f.get("targetRelayId") in ("", None, body["relayId"])
                    and f["sourceRelayId"] != body["relayId"]
                ][: body["limit"]]
                left = end - time.monotonic()
                if frames or left <= 0:
                    return {"ok": True, "frames": frames}
                self.changed.wait(left)

    # ---- For tests

    def store(self, frame, id=None):
        """Puts a frame on the bus as it is; returns it with its id."""
        with self.changed:
            last = self.frames[-1]["id"] if self.frames else 0
            stored = {"id": id or last + 1, **frame}
            self.frames.append(stored)
            self.changed.notify_all()
        return stored

    def bodies(self, name):
        with self.changed:
            return [body for called, body in self.calls if called == name]

    def wait_until(self, ready, what, timeout=10.0):
        """ready is called with every change, under the lock; its first true value is returned."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                value = ready()
                if value:
                    return value
                left = end - time.monotonic()
                assert left > 0, f"never: {what}"
                self.changed.wait(left)

    def wait_presence(self, world, relay_id):
        """relay_id None: until nobody has the daemon."""
        key = world.workspace, world.target
        self.wait_until(
            lambda: self.presence.get(key, {}).get("relayId") == relay_id, f"{key} at {relay_id}"
        )
