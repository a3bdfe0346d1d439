# SPDX-License-Identifier: Apache-2.0
"""The local look at tokens: it refuses only what is surely bad (spec 4.6)."""
import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from lib.platform import Answer, StubPlatform


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value):
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwk(self, kid="k1", **more):
        numbers = self.key.public_key().public_numbers()
        return {"kty": "RSA", "kid": kid, "n": number(numbers.n), "e": number(numbers.e), **more}

    def token(self, kid="k1", alg="RS256", **claims):
        head = b64(json.dumps({"alg": alg, "kid": kid, "typ": "JWT"}).encode())
        body = b64(json.dumps({"exp": int(time.time()) + 600, **claims}).encode())
        signed = f"{head}.{body}".encode()
        if alg == "HS256":
            mac = hmac.HMAC(b"secret of the platform", hashes.SHA256())
            mac.update(signed)
            return f"{head}.{body}.{b64(mac.finalize())}"
        signature = self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return f"{head}.{body}.{b64(signature)}"


@pytest.fixture(scope="module", name="issuer")
def issuer_fixture():
    return Issuer()


@pytest.fixture(name="world")
def world_fixture(start, issuer):
    stub = StubPlatform()
    stub.page("GET", "/jwks.json", Answer(200, {"keys": [issuer.jwk()]}))
    yield start(workers=1, stub=stub, RELAY_JWKS_URL=f"{stub.origin}/jwks.json")
    stub.stop()


def fetches(world):
    return len([r for r in world.platform.requests if r.path == "/jwks.json"])


def admit(world, token):
    world.platform.tokens[token] = world.platform.tokens[world.token("client")]
    world.peer().upgrade(world.path("client"), token)
    assert len(world.platform.asked(token)) == 1


def refuse(world, token, reason):
    before = world.relay.failures()[reason]
    world.platform.tokens[token] = world.platform.tokens[world.token("client")]
    assert world.refused(token=token).status == 401
    assert not world.platform.asked(token), "the platform is not bothered"
    assert world.relay.failures()[reason] == before + 1
    world.relay.log.wait("admission_denied", reason=reason)


def test_good_signature(world, issuer):
    for n in range(3):
        admit(world, issuer.token(n=n))
    assert fetches(world) == 1, "the set is kept"
    assert world.relay.metric("relay_jwks_fetch_total") == 1


def test_wrong_signature(world, issuer):
    refuse(world, Issuer().token(), "jwt_signature")
    head, body, signature = issuer.token().split(".")
    other = b64(json.dumps({"exp": int(time.time()) + 600, "admin": True}).encode())
    refuse(world, f"{head}.{other}.{signature}", "jwt_signature")
    flipped = signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB")
    refuse(world, f"{head}.{body}.{flipped}", "jwt_signature")


def test_expired(world, issuer):
    refuse(world, issuer.token(exp=int(time.time()) - 61), "jwt_expired")
    admit(world, issuer.token(exp=int(time.time()) - 30))


def test_what_cannot_be_judged_goes_on(world, issuer):
    admit(world, issuer.token(alg="HS256"))
    admit(world, "an-opaque-token-without-dots")
    admit(world, "two.parts-only")
    admit(world, "!.!.!!!!!!!!")
    admit(world, issuer.token(kid="unknown"))


def test_unknown_key_fetches_once_and_then_goes_on(world, issuer):
    admit(world, issuer.token())
    seen = fetches(world)
    for n in range(3):
        admit(world, Issuer().token(kid="unknown", n=n))
    assert fetches(world) <= seen + 1, "at most once in 30 s"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, b""),
        Answer(200, b"no json"),
        Answer(200, {"keys": 7}),
        Answer(302, b"", [("location", "/x")]),
        Answer(200, b"x" * 300000),
        Answer(200, b"", fault="reset"),
    ],
    ids=["500", "no json", "no keys", "redirect", "oversize", "reset"],
)
def test_unreachable_set_holds_nobody_up(world, issuer, answer):
    world.platform.page("GET", "/jwks.json", answer)
    admit(world, Issuer().token())
    assert world.relay.metric("relay_jwks_fetch_failed_total") == 1
    world.relay.log.wait("jwks_fetch_failed")
    refuse(world, issuer.token(exp=1), "jwt_expired")


def test_silent_key_server_holds_nobody_up_for_long(start, issuer):
    stub = StubPlatform()
    stub.page("GET", "/jwks.json", Answer(200, b"", fault="silence"))
    world = start(
        stub=stub, RELAY_JWKS_URL=f"{stub.origin}/jwks.json", RELAY_INTERNAL_API_TIMEOUT_MS="200"
    )
    admit(world, issuer.token())


def test_keys_of_other_kinds_are_skipped(world, issuer):
    keys = [
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"},
        issuer.jwk("other", alg="RS512"),
        issuer.jwk("k1", alg="RS256", use="sig"),
    ]
    world.platform.page("GET", "/jwks.json", Answer(200, {"keys": keys}))
    admit(world, issuer.token())
    refuse(world, Issuer().token(), "jwt_signature")


def test_without_the_variable_nothing_is_judged(start, issuer):
    world = start()
    admit(world, issuer.token(exp=1))
