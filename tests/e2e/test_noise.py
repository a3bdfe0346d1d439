# SPDX-License-Identifier: Apache-2.0
"""Handshakes through the relay: the published vectors byte for byte, and live ones (spec 12)."""
import json

import pytest

from lib import frames as f
from lib import noise
from lib.weir import ROOT

V3 = json.loads((ROOT / "tests/data/relay-noise-v3.json").read_text())
V2 = json.loads((ROOT / "tests/data/relay-noise-v2.json").read_text())
PROFILES = ["noise-ik", "noise-ikpsk2"]


def secret_of(vector):
    return noise.unb64(vector["pairingSecret"]) if "pairingSecret" in vector else None


def by_id(vectors):
    return {"argvalues": vectors, "ids": [vector["id"] for vector in vectors]}


def vector_frames(vector):
    """Init and response as text, from our own computation with the vector's keys."""
    keys = V3["clientDeterministicKeys"]
    identity = noise.private(V3["daemonIdentity"]["privateKey"])
    client = noise.Client(
        vector["profile"],
        noise.point(identity),
        secret_of(vector),
        noise.private(keys["staticPrivateKey"]),
        noise.private(keys["ephemeralPrivateKey"]),
    )
    daemon = noise.Daemon(
        vector["profile"],
        identity,
        secret_of(vector),
        noise.private(V3["daemonDeterministicEphemeralPrivateKey"]),
    )
    init = client.init(vector["requestId"])
    response, session = daemon.respond(init, vector["sessionId"], vector["epoch"])
    return client, init, response, session


@pytest.mark.parametrize("vector", **by_id(V3["vectors"]))
def test_vector_recomputed_and_sent_through_the_relay(world, vector):
    client_side, init, response, daemon_session = vector_frames(vector)
    for name, value in vector["init"].items():
        assert init[name] == value, name
    for name, value in vector["response"].items():
        assert response[name] == value, name
    assert noise.b64(daemon_session.key) == vector["sessionKey"]
    daemon, client = world.pair()
    client.send(json.dumps(init))
    assert daemon.recv_text() == json.dumps(init)
    daemon.send(json.dumps(response))
    text = client.recv_text()
    assert text == json.dumps(response)
    assert client_side.finish(json.loads(text)).key == daemon_session.key


@pytest.mark.parametrize("vector", **by_id(V2["vectors"]))
def test_version_2_vector_passes_byte_for_byte(world, vector):
    previous = {k: v for k, v in vector.items() if k == "previousSessionId"}
    init = f.init_v2(
        vector["requestId"],
        profile=vector["profile"],
        clientPublicKey=vector["clientPublicKey"],
        clientNonce=vector["clientNonce"],
        clientProof=vector["expectedClientProof"],
        **previous,
    )
    response = f.response_v2(
        vector["requestId"],
        vector["sessionId"],
        profile=vector["profile"],
        daemonNonce=vector["daemonNonce"],
        proof=vector["expectedDaemonProof"],
        epoch=vector["epoch"],
    )
    daemon, client = world.pair()
    client.send(json.dumps(init))
    assert daemon.recv_text() == json.dumps(init)
    daemon.send(json.dumps(response))
    assert client.recv_text() == json.dumps(response)


class Live:
    """A client and a daemon with keys of their own, through the relay."""

    def __init__(self, world, profile):
        self.profile = profile
        self.secret = b"s" * 32 if profile == "noise-ikpsk2" else None
        self.identity = noise.private()
        self.daemon, self.client = world.pair(e2eeProfile=profile)

    def handshake(self, request, session, epoch=1, **more):
        asking = noise.Client(self.profile, noise.point(self.identity), self.secret)
        self.client.send(f.text(asking.init(request, **more)))
        init = json.loads(self.daemon.recv_text())
        answering = noise.Daemon(self.profile, self.identity, self.secret)
        response, daemon_session = answering.respond(init, session, epoch)
        assert answering.client_static == noise.point(asking.static)
        self.daemon.send(f.text(response))
        return asking.finish(json.loads(self.client.recv_text())), daemon_session

    def exchange(self, client_session, daemon_session, plain):
        self.client.send(f.text(client_session.seal(plain)))
        assert daemon_session.open(json.loads(self.daemon.recv_text())) == plain
        self.daemon.send(f.text(daemon_session.seal(plain[::-1])))
        assert client_session.open(json.loads(self.client.recv_text())) == plain[::-1]


@pytest.mark.parametrize("profile", PROFILES)
def test_live_handshake_envelopes_and_rekey(world, profile):
    live = Live(world, profile)
    first = live.handshake("k1", "rs_000000000000000000000001")
    for n in range(20):
        live.exchange(*first, b"secret %d " % n * (n + 1))
    live.daemon.send(f.text(f.key_update(first[0].session)))
    assert json.loads(live.client.recv_text())["nextEpoch"] == 2
    second = live.handshake(
        "k2", "rs_000000000000000000000002", 2, previousSessionId=first[0].session
    )
    assert second[0].key != first[0].key
    live.exchange(*second, b"after the rekey")
    live.exchange(*first, b"the old session still has its client")


@pytest.mark.parametrize("member", ["proof", "encryptedMetadata", "daemonEphemeralPublicKey"])
@pytest.mark.parametrize("profile", PROFILES)
def test_forged_response_is_refused_by_the_client(world, profile, member):
    """The relay passes it on: only the ends can know."""
    live = Live(world, profile)
    asking = noise.Client(profile, noise.point(live.identity), live.secret)
    live.client.send(f.text(asking.init("k1")))
    answering = noise.Daemon(profile, live.identity, live.secret)
    response, _ = answering.respond(json.loads(live.daemon.recv_text()), "s1", 1)
    if member == "daemonEphemeralPublicKey":
        response[member] = noise.b64(noise.point(noise.private()))
    else:
        data = bytearray(noise.unb64(response[member]))
        data[3] ^= 1
        response[member] = noise.b64(bytes(data))
    live.daemon.send(f.text(response))
    received = json.loads(live.client.recv_text())
    with pytest.raises(noise.Refused):
        asking.finish(received)


def test_wrong_pairing_secret_is_refused(world):
    live = Live(world, "noise-ikpsk2")
    asking = noise.Client("noise-ikpsk2", noise.point(live.identity), b"w" * 32)
    live.client.send(f.text(asking.init("k1")))
    answering = noise.Daemon("noise-ikpsk2", live.identity, live.secret)
    response, _ = answering.respond(json.loads(live.daemon.recv_text()), "s1", 1)
    live.daemon.send(f.text(response))
    received = json.loads(live.client.recv_text())
    with pytest.raises(noise.Refused):
        asking.finish(received)


def test_plaintext_does_not_pass(world):
    daemon, client = world.pair()
    for frame in ({"type": "command", "text": "ls"}, {"type": "hello"}, {"text": "plain"}):
        client.send(f.text(frame))
        assert client.recv_text() == f.invalid_frame_status(world.workspace)
        daemon.send(f.text(frame))
    daemon.expect_silence_until(b"nothing for the daemon")
    client.expect_silence_until(b"nothing for the client")
