# SPDX-License-Identifier: Apache-2.0
"""Frames that flow both ways between a client on one relay and a daemon on another, while something
happens to what is between them; and the sum over what became of them."""
import json
import threading
import time

from lib import frames as f
from lib import ws
from lib.redis_relays import failures
from lib.wait import eventually

PAUSE_S = 0.005
REFUSED_HERE = (
    "relay_bus_frames_dropped_total relay_bus_frames_rejected_total "
    "relay_bus_pull_stale_signature_total relay_bus_pull_replayed_signature_total "
    "relay_bus_pull_invalid_signature_total relay_bus_pull_frame_too_large_total"
).split()


def books(relay, dropped):
    """What this relay says was lost of what it sent, and of what it should have got. A frame whose
    publishing is in doubt has arrived, or is a gap at the receiver."""
    metrics = relay.metrics()
    publish, pull = failures(relay), failures(relay, "pull")
    return {
        "sending": metrics[dropped] - publish.get("in_doubt", 0),
        "receiving": pull.get("gap", 0) + sum(metrics[name] for name in REFUSED_HERE),
    }


class Reader(threading.Thread):
    """Collects the sequence numbers of one session until its peer closes."""

    def __init__(self, peer, session):
        super().__init__(daemon=True)
        self.peer = peer
        self.session = session
        self.seen = []
        self.others = []  # status frames
        self.start()

    def run(self):
        self.peer.sock.settimeout(60)
        try:
            while True:
                frame = json.loads(self.peer.recv_text())
                if frame.get("sessionId") == self.session:
                    self.seen.append(frame["seq"])
                else:
                    self.others.append(frame)
        except (ws.Closed, OSError, AssertionError, ValueError):
            pass


class Traffic:
    """Both directions of a session that has been agreed on."""

    def __init__(self, daemon_world, client_world, daemon, client, session):
        self.worlds = daemon_world, client_world
        self.peers = {"up": client, "down": daemon}
        self.readers = {"up": Reader(daemon, session), "down": Reader(client, session)}
        self.session = session
        self.sent = {"up": 0, "down": 0}
        self.stopping = threading.Event()
        self.before = self._books()
        self.threads = [threading.Thread(target=self._send, args=(way,), daemon=True)
                        for way in self.peers]
        for thread in self.threads:
            thread.start()

    def _send(self, way):
        while not self.stopping.is_set():
            self.sent[way] += 1
            self.peers[way].send(f.text(f.e2ee(self.session, self.sent[way])))
            time.sleep(PAUSE_S)

    def _books(self):
        daemon_side, client_side = (world.relay for world in self.worlds)
        daemons = books(daemon_side, "relay_session_frame_dropped_total")
        clients = books(client_side, "relay_client_messages_dropped_total")
        return {"up": clients["sending"] + daemons["receiving"],
                "down": daemons["sending"] + clients["receiving"]}

    def wait_flow(self, more=20, timeout=40):
        """Frames arrive, both ways, that are sent from now on."""
        marks = {way: len(reader.seen) for way, reader in self.readers.items()}
        eventually(lambda: all(len(self.readers[way].seen) >= mark + more
                               for way, mark in marks.items()), "frames flow", timeout)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(20)

    def columns(self):
        after = self._books()
        return {way: {"sent": self.sent[way], "delivered": len(self.readers[way].seen),
                      "lost": after[way] - self.before[way]} for way in self.sent}

    def check(self, timeout=30):
        """After stop: every frame came once and in order, or was counted."""
        def adds_up():
            return all(one["sent"] == one["delivered"] + one["lost"]
                       for one in self.columns().values())

        try:
            eventually(adds_up, "the columns add up", timeout)
        except AssertionError:
            raise AssertionError(f"{self.columns()} {[failures(w.relay) for w in self.worlds]} "
                                 f"{[failures(w.relay, 'pull') for w in self.worlds]}") from None
        for reader in self.readers.values():
            assert reader.seen == sorted(set(reader.seen)), "twice, or out of order"
        return self.columns()
