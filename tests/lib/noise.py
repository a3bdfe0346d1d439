# SPDX-License-Identifier: Apache-2.0
"""The v3 handshake of client and daemon (spec 12), for peers that talk through the relay."""
import base64
import hashlib
import hmac
import json
import os
import struct

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256R1()
NAMES = {
    "noise-ik": b"Noise_IK_P256_AESGCM_SHA256",
    "noise-ikpsk2": b"Noise_IKpsk2_P256_AESGCM_SHA256",
}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def private(text=None):
    if text is None:
        return ec.generate_private_key(CURVE)
    return ec.derive_private_key(int.from_bytes(unb64(text), "big"), CURVE)


def point(key):
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def dh(key, peer):
    return key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, peer))


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(chain, material, count):
    temp = mac(chain, material)
    outputs = [b""]
    for n in range(1, count + 1):
        outputs.append(mac(temp, outputs[-1] + bytes([n])))
    return outputs[1:]


class Refused(Exception):
    """The other side is not who it should be."""


class State:
    """Both sides keep one; they mix the same things in the same order."""

    def __init__(self, profile, daemon_static):
        self.profile = profile
        self.hash = self.chain = NAMES[profile].ljust(32, b"\0")
        self.key = None
        self.nonce = 0
        self.mix_hash(b"viewport-relay-noise-v3")
        self.mix_hash(daemon_static)

    def mix_hash(self, data):
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material):
        self.chain, self.key = hkdf(self.chain, material, 2)
        self.nonce = 0

    def mix_secret(self, secret):
        self.chain, temp, self.key = hkdf(self.chain, secret, 3)
        self.mix_hash(temp)
        self.nonce = 0

    def _iv(self):
        self.nonce += 1
        return b"\0\0\0\0" + struct.pack("<Q", self.nonce - 1)

    def seal(self, plain):
        data = AESGCM(self.key).encrypt(self._iv(), plain, self.hash)
        self.mix_hash(data)
        return data

    def open(self, data):
        try:
            plain = AESGCM(self.key).decrypt(self._iv(), data, self.hash)
        except Exception:
            raise Refused("does not decrypt") from None
        self.mix_hash(data)
        return plain

    def session_key(self, session, epoch):
        material = b"".join(hkdf(self.chain, b"", 2))
        info = f"viewport-relay-session-v3|{self.profile}|{session}|{epoch}".encode()
        return mac(mac(self.hash, material), info + b"\x01")


class Client:
    def __init__(self, profile, daemon_static, secret=None, static=None, ephemeral=None):
        self.static = static or private()
        self.ephemeral = ephemeral or private()
        self.secret = secret
        self.daemon_static = daemon_static
        self.state = State(profile, daemon_static)

    def init(self, request, **more):
        state = self.state
        state.mix_hash(point(self.ephemeral))
        state.mix_key(dh(self.ephemeral, self.daemon_static))
        sealed = state.seal(point(self.static))
        state.mix_key(dh(self.static, self.daemon_static))
        peer = {"pairingPeerId": "pp_1"} if state.profile == "noise-ikpsk2" else {}
        return {
            "type": "relay_key_exchange_init",
            "version": 3,
            "profile": state.profile,
            "requestId": request,
            "clientEphemeralPublicKey": b64(point(self.ephemeral)),
            "encryptedClientStatic": b64(sealed),
            **peer,
            **more,
        }

    def finish(self, response):
        """The session, when the response is the daemon's."""
        state = self.state
        ephemeral = unb64(response["daemonEphemeralPublicKey"])
        state.mix_hash(ephemeral)
        state.mix_key(dh(self.ephemeral, ephemeral))
        state.mix_key(dh(self.static, ephemeral))
        if self.secret is not None:
            state.mix_secret(self.secret)
        metadata = json.loads(state.open(unb64(response["encryptedMetadata"])))
        if not hmac.compare_digest(state.hash, unb64(response["proof"])):
            raise Refused("proof")
        if metadata != {"sessionId": response["sessionId"], "epoch": response["epoch"]}:
            raise Refused("metadata")
        return Session(state, response["sessionId"], response["epoch"])


class Daemon:
    def __init__(self, profile, static, secret=None, ephemeral=None):
        self.static = static
        self.ephemeral = ephemeral or private()
        self.secret = secret
        self.state = State(profile, point(static))
        self.client_static = None

    def respond(self, init, session, epoch):
        """The response, and the session."""
        state = self.state
        client_ephemeral = unb64(init["clientEphemeralPublicKey"])
        state.mix_hash(client_ephemeral)
        state.mix_key(dh(self.static, client_ephemeral))
        self.client_static = state.open(unb64(init["encryptedClientStatic"]))
        state.mix_key(dh(self.static, self.client_static))
        state.mix_hash(point(self.ephemeral))
        state.mix_key(dh(self.ephemeral, client_ephemeral))
        state.mix_key(dh(self.ephemeral, self.client_static))
        if self.secret is not None:
            state.mix_secret(self.secret)
        metadata = json.dumps({"sessionId": session, "epoch": epoch}, separators=(",", ":"))
        sealed = state.seal(metadata.encode())
        response = {
            "type": "relay_key_exchange_response",
            "version": 3,
            "profile": state.profile,
            "requestId": init["requestId"],
            "daemonPublicKey": b64(point(self.static)),
            "daemonEphemeralPublicKey": b64(point(self.ephemeral)),
            "encryptedMetadata": b64(sealed),
            "sessionId": session,
            "epoch": epoch,
            "proof": b64(state.hash),
        }
        return response, Session(state, session, epoch)


class Session:
    def __init__(self, state, session, epoch):
        self.profile = state.profile
        self.session = session
        self.epoch = epoch
        self.key = state.session_key(session, epoch)
        self.seq = 0

    def _associated(self, seq):
        parts = ("viewport-relay-envelope-v2", self.profile, self.session, self.epoch, seq)
        return "|".join(str(part) for part in parts).encode()

    def seal(self, plain):
        self.seq += 1
        iv = os.urandom(12)
        data = AESGCM(self.key).encrypt(iv, plain, self._associated(self.seq))
        return {
            "type": "e2ee",
            "version": 2,
            "profile": self.profile,
            "sessionId": self.session,
            "epoch": self.epoch,
            "seq": self.seq,
            "iv": b64(iv),
            "tag": b64(data[-16:]),
            "ciphertext": b64(data[:-16]),
        }

    def open(self, envelope):
        data = unb64(envelope["ciphertext"]) + unb64(envelope["tag"])
        try:
            return AESGCM(self.key).decrypt(
                unb64(envelope["iv"]), data, self._associated(envelope["seq"])
            )
        except Exception:
            raise Refused("envelope") from None
