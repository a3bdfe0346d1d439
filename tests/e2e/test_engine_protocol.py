# SPDX-License-Identifier: Apache-2.0
"""The agent protocol (docs/spec/engine.md, section 4): every message, order and race of it."""
import itertools
import struct
import threading

import pytest

from lib import rstrm
from lib.agent import Agent, Framed, Refused, details, dial, echo, http_echo, refusal
from lib.engine import Engine, jwt
from lib.wait import eventually

ENGINE_SETTINGS = {
    "limits": {"outstanding_streams_per_channel": 8, "queued_streams_per_channel": 4},
}
CODES = rstrm.CODES
numbers = itertools.count(1)


def unique(stem="t"):
    return f"{stem}{next(numbers)}"


@pytest.fixture
def agent(engine):
    return Agent(engine)


@pytest.fixture
def private(agent):
    return agent.tunnel(name=unique("private-"), publish=False, type="bytestream")


def ended(pipe, timeout=10):
    """What came before the end; the pipe must end."""
    data = pipe.recv_all(timeout)
    assert pipe.ended
    return data


# ---- Control channels (4.5)


def test_a_channel_opens(engine, agent):
    ok = agent.opened
    assert ok.client_id
    assert ok.server_details.agent.value and ok.server_details.version.value
    assert not ok.HasField("liveness")
    assert Agent(engine).client_id != ok.client_id
    assert agent.protocol == "rstrm/1"
    assert agent.tls.version() == "TLSv1.3"


@pytest.mark.parametrize("version", ["1.0.0", "1.3.0", "1.4.5", "1.99.7", "1.4"])
def test_protocol_versions_that_fit(engine, version):
    assert Agent(engine, version=version).client_id


@pytest.mark.parametrize(
    "version, code",
    [
        (None, "PROTOCOL_VERSION_MISSING"),
        ("x", "PROTOCOL_VERSION_INVALID"),
        ("1", "PROTOCOL_VERSION_INVALID"),
        ("1.4.x", "PROTOCOL_VERSION_INVALID"),
        ("1.4.5.6", "PROTOCOL_VERSION_INVALID"),
        ("1.4.5-rc1", "PROTOCOL_VERSION_INVALID"),
        (" 1.4.5", "PROTOCOL_VERSION_INVALID"),
        ("0.9.0", "PROTOCOL_VERSION_INCOMPATIBLE"),
        ("2.0.0", "PROTOCOL_VERSION_INCOMPATIBLE"),
        ("11.4.5", "PROTOCOL_VERSION_INCOMPATIBLE"),
    ],
)
def test_protocol_versions_that_do_not(engine, version, code):
    assert refusal(Agent, engine, version=version) == CODES[code]


BAD_TOKENS = {
    "empty": lambda engine: "",
    "no token": lambda engine: "hello",
    "other secret": lambda engine: engine.token(secret="some-other-secret-of-32-bytes-or-so"),
    "expired": lambda engine: engine.token(exp=1),
    "not yet": lambda engine: engine.token(nbf=4000000000),
    "alg none": lambda engine: jwt({}, header={"alg": "none"}),
    "alg HS512": lambda engine: jwt({}, header={"alg": "HS512"}),
    "cut": lambda engine: engine.token()[:-4],
    "padded": lambda engine: engine.token() + "=",
    "too long": lambda engine: engine.token(pad="x" * 9000),
}


@pytest.mark.parametrize("which", BAD_TOKENS)
def test_bad_tokens_are_refused_before_anything_else(engine, which):
    token = BAD_TOKENS[which](engine)
    assert refusal(Agent, engine, token, version=None) == CODES["UNAUTHORIZED"]


PERMISSIONS = {
    "nothing": ([], False, False),
    "watching": (["tunnels.resources.read-only"], False, False),
    "tunnels": (["tunnels.tunnels.create-delete"], True, False),
    "dials": (["tunnels.streams.create-delete"], False, True),
}


@pytest.mark.parametrize("which", PERMISSIONS)
def test_permissions(engine, agent, private, which):
    """A channel needs a token only; what it may do there is asked each time (7.4)."""
    permissions, tunnels, dials = PERMISSIONS[which]
    token = engine.token(permissions=permissions)
    limited = Agent(engine, token)
    if tunnels:
        assert limited.tunnel(publish=False).id.value
    else:
        assert refusal(limited.tunnel, publish=False) == CODES["UNAUTHORIZED"]
    dialer = dial(engine, private.id.value, token)
    if dials:
        agent.bound()
        assert dialer.expect("stream_rsp").stream_id
    else:
        assert dialer.expect("stream_rsp").error.code == CODES["UNAUTHORIZED"]


def test_a_refusal_is_flushed_and_closed(engine):
    pipe = Framed(engine)
    pipe.write("open_control_channel_req", client_details=details("no"))
    assert pipe.expect("open_control_channel_rsp").error.code == CODES["UNAUTHORIZED"]
    assert ended(pipe) == b""
    assert pipe.ended == "notify"


def test_the_open_request_may_come_in_pieces(engine):
    pipe = Framed(engine)
    request = rstrm.message("open_control_channel_req", client_details=details(engine.token()))
    for byte in rstrm.frame(b"") + rstrm.frame(request):
        pipe.send(bytes([byte]))
    assert pipe.expect("open_control_channel_rsp").ok.client_id


@pytest.mark.parametrize(
    "first",
    [
        struct.pack(">I", 65536),
        b"GET / HTTP/1.1\r\n\r\n",
        rstrm.frame(b"\x7b\x7c"),
        rstrm.frame(b"\xff" * 20),
        rstrm.frame(rstrm.message("heartbeat")),
        rstrm.frame(rstrm.message("open_tunnel_req", request_id="x")),
        rstrm.frame(rstrm.message("open_control_channel_rsp")),
    ],
    ids=["too long", "HTTP", "a group", "garbage", "heartbeat", "a tunnel", "an answer"],
)
def test_first_frames_that_open_nothing(engine, first):
    pipe = Framed(engine)
    pipe.send(first)
    assert ended(pipe) == b""


@pytest.mark.parametrize(
    "frame",
    [struct.pack(">I", 65536), rstrm.frame(b"\x7b\x7c"), rstrm.frame(b"\x2a\x05\x0a\x03a\x00b")],
    ids=["too long", "a group", "a NUL in a text"],
)
def test_broken_frames_end_a_channel_and_its_tunnels(engine, frame):
    agent = Agent(engine)
    label = unique()
    agent.tunnel(hostname=label)
    agent.send(frame)
    assert ended(agent) == b""
    Agent(engine).tunnel(hostname=label)


def test_a_broken_frame_in_pieces_ends_one_channel(engine):
    agent = Agent(engine)
    other = Agent(engine)
    agent.send(b"\xff")
    other.tunnel(publish=False)  # the piece has been read
    agent.send(b"\xff\xff\xff and more")
    assert ended(agent) == b""
    other.tunnel(publish=False)


def test_what_is_unknown_is_ignored(engine, agent):
    agent.send(rstrm.frame(b""))
    agent.send(rstrm.frame(b"\x92\x01\x05hello"))  # member 18
    request = rstrm.message("open_tunnel_req", request_id="r", tunnel_properties={"publish": False})
    data = request.SerializeToString()
    body = data[2:] + b"\xc2\x3e\x03abc"  # field 1000
    agent.send(rstrm.frame(data[:1] + bytes([len(body)]) + body))
    answer = agent.expect("open_tunnel_rsp")
    assert answer.request_id == "r" and answer.tunnel_properties.id.value


def test_the_longest_frame(engine, agent):
    agent.send(rstrm.frame(b"\x92\x01\xfa\xff\x03" + b"x" * 65530))
    agent.write("close_tunnel_req", tunnel_id="x")
    assert agent.expect("close_tunnel_rsp").tunnel_id == "x"


# ---- Liveness (4.6)


def test_negotiated_liveness(engine):
    agent = Agent(engine, interval_ms=1000)
    liveness = agent.opened.liveness
    assert liveness.heartbeat_interval_ms == 1000
    assert liveness.heartbeat_timeout_ms == 15000
    for sequence in (1, 2, 5):
        agent.write("heartbeat", sequence=sequence)
        beat = agent.expect("heartbeat")
        assert (beat.sequence, beat.acknowledgement) == (0, sequence)


def test_acknowledgements_only_rise(engine):
    agent = Agent(engine, interval_ms=10000)
    assert agent.opened.liveness.heartbeat_timeout_ms == 30000
    agent.send(b"".join(rstrm.frame(rstrm.message("heartbeat", sequence=n)) for n in range(1, 50)))
    seen = []
    while not seen or seen[-1] < 49:
        beat = agent.expect("heartbeat")
        assert beat.sequence == 0
        seen.append(beat.acknowledgement)
    assert seen == sorted(set(seen)) and seen[0] > 0


def test_legacy_heartbeats_are_not_answered(engine, agent):
    for _ in range(3):
        agent.write("heartbeat")
    agent.write("close_tunnel_req", tunnel_id="x")
    while True:
        member, part = agent.read()
        if member == "close_tunnel_rsp":
            break
        assert member == "heartbeat" and part.sequence == part.acknowledgement == 0


# ---- Tunnels (4.8, 5)


def test_effective_properties(engine, agent):
    label = unique()
    tunnel = agent.tunnel(
        hostname=label, type="bytestream", publish=True, labels={"a": "b", "c": ""}
    )
    assert tunnel.id.value and tunnel.creation_date.seconds > 0
    assert tunnel.hostname.value == f"{label}.t.{engine.host}"
    assert tunnel.port.value == engine.port
    assert tunnel.protocol.value == "http"
    assert tunnel.type.value == "bytestream"
    assert tunnel.publish.value is True
    assert tunnel.http_version.value == "http/1.1"
    assert tunnel.HasField("upstream_tls") and tunnel.upstream_tls.value is False
    assert dict(tunnel.labels) == {"a": "b", "c": ""}


def test_a_tunnel_of_nothing_is_published_under_a_generated_name(engine, agent):
    first = agent.tunnel()
    second = agent.tunnel()
    assert first.publish.value is True
    label = first.hostname.value.removesuffix(f".t.{engine.host}")
    assert len(label) == 9 and label[0] == "r" and int(label[1:], 16) >= 0
    assert first.hostname.value != second.hostname.value


def test_a_private_tunnel_has_no_address(agent, private):
    assert private.publish.value is False
    assert private.id.value and private.name.value.startswith("private-")
    assert not private.hostname.value and not private.port.value


def test_a_tls_tunnel(engine, agent):
    tunnel = agent.tunnel(protocol="tls", hostname=unique())
    assert tunnel.tls_mode.value == "terminated"
    assert tunnel.port.value == engine.port
    assert not tunnel.http_version.value


def test_read_only_properties_are_not_the_agents(agent):
    tunnel = agent.tunnel(id="mine", host="mine", creation_date={"seconds": 1}, hostname=unique())
    assert tunnel.id.value != "mine" and tunnel.host.value != "mine"
    assert tunnel.creation_date.seconds > 1


def test_requests_in_a_pipe_are_answered_in_order(agent):
    frames = [
        rstrm.frame(
            rstrm.message(
                "open_tunnel_req",
                request_id=f"r{i}",
                tunnel_properties={"protocol": "tcp"} if i % 3 == 2 else {"publish": False},
            )
        )
        for i in range(12)
    ]
    agent.send(b"".join(frames))
    for i in range(12):
        answer = agent.expect("open_tunnel_rsp")
        assert answer.request_id == f"r{i}"
        assert answer.WhichOneof("result") == ("error" if i % 3 == 2 else "tunnel_properties")


@pytest.mark.parametrize(
    "asked, given",
    [
        ("{label}", "{label}.t.{host}"),
        ("{label}.t.{host}", "{label}.t.{host}"),
        ("{LABEL}.T.{host}", "{label}.t.{host}"),
        ("{label}-edge.t.test", "{label}-edge.t.{host}"),  # what the command line makes up
    ],
)
def test_hostnames_that_are_given(engine, agent, asked, given):
    label = unique("n")
    words = {"label": label, "LABEL": label.upper(), "host": engine.host}
    tunnel = agent.tunnel(hostname=asked.format(**words))
    assert tunnel.hostname.value == given.format(**words)


@pytest.mark.parametrize(
    "asked",
    ["-a", "a-", "a_b", "a b", "a.b.t.{host}", "{host}", "t.{host}", "other.example.com",
     "x" * 64, "a.t.other.test", ".t.{host}", "*.t.{host}"],
)
def test_hostnames_that_are_refused(engine, agent, asked):
    code = refusal(agent.tunnel, hostname=asked.format(host=engine.host))
    assert code == CODES["INVALID_REQUEST"]


SCOPE = {
    "datagram": {"type": "datagram"},
    "dtls": {"protocol": "dtls"},
    "quic": {"protocol": "quic"},
    "h3": {"http_version": "h3"},
    "guaranteed delivery": {"datagram_guaranteed_delivery": True},
    "tcp": {"protocol": "tcp"},
    "webtty": {"protocol": "webtty"},
    "rstream_auth": {"rstream_auth": True},
    "token_auth": {"token_auth": True},
    "challenge_mode": {"challenge_mode": True},
    "geoip": {"geoip": ["DE"]},
    "trusted_ips": {"trusted_ips": ["192.0.2.0/24"]},
    "mtls_auth": {"mtls_auth": True},
    "mtls_cacert_pem": {"mtls_cacert_pem": "-----BEGIN CERTIFICATE-----"},
    "cross region": {"allow_cross_region_routing": True},
}


@pytest.mark.parametrize("which", SCOPE)
def test_outside_the_community_edition(agent, which):
    assert refusal(agent.tunnel, **SCOPE[which]) == CODES["FEATURE_NOT_AVAILABLE"]


def test_an_explicit_no_is_fine(agent):
    names = (
        "rstream_auth token_auth challenge_mode mtls_auth datagram_guaranteed_delivery "
        "allow_cross_region_routing upstream_tls http_use_tls"
    ).split()
    assert agent.tunnel(hostname=unique(), **{name: False for name in names}).id.value


WRONG = {
    "unknown type": {"type": "stream"},
    "unknown protocol": {"protocol": "ftp"},
    "unknown http version": {"http_version": "http/3"},
    "unknown tls mode": {"protocol": "tls", "tls_mode": "none"},
    "unknown tls version": {"tls_min_version": "tls1.1"},
    "private with a hostname": {"publish": False, "hostname": "a"},
    "private with a port": {"publish": False, "port": 443},
    "private with upstream TLS": {"publish": False, "upstream_tls": True},
    "private with a tls mode": {"publish": False, "tls_mode": "terminated"},
    "private with an http version": {"publish": False, "http_version": "h2c"},
    "http with passthrough": {"protocol": "http", "tls_mode": "passthrough"},
    "http with alpns": {"protocol": "http", "tls_alpns": ["h2"]},
    "http with another port": {"protocol": "http", "port": 1},
    "tls with an http version": {"protocol": "tls", "http_version": "http/1.1"},
    "tls with a port": {"protocol": "tls", "port": 1},
    "passthrough with upstream TLS": {
        "protocol": "tls", "tls_mode": "passthrough", "upstream_tls": True
    },
    "passthrough with alpns": {"protocol": "tls", "tls_mode": "passthrough", "tls_alpns": ["a"]},
    "passthrough with a version": {
        "protocol": "tls", "tls_mode": "passthrough", "tls_min_version": "tls1.3"
    },
    "two minds about TLS": {"http_use_tls": True, "upstream_tls": False},
    "TLS and h2c": {"upstream_tls": True, "http_version": "h2c"},
    "alpn of the agents": {"protocol": "tls", "tls_alpns": ["rstrm/1"]},
    "an empty alpn": {"protocol": "tls", "tls_alpns": [""]},
    "a long alpn": {"protocol": "tls", "tls_alpns": ["x" * 256]},
    "an unknown cipher": {"protocol": "tls", "tls_ciphers": ["TLS_NONE"]},
    "a name with a space": {"name": "a b"},
    "a long name": {"name": "x" * 129},
    "a name like an id": {"name": "7b0f5d4e-0a3c-4a57-9d0c-6f2f6c9f7f00"},
    "a label without a key": {"labels": {"": "x"}},
    "a control character": {"labels": {"k": "a\nb"}},
}


@pytest.mark.parametrize("which", WRONG)
def test_properties_that_contradict(agent, which):
    assert refusal(agent.tunnel, **WRONG[which]) == CODES["INVALID_REQUEST"]


TOO_MUCH = {
    "17 alpns": {"protocol": "tls", "tls_alpns": [f"a{i}" for i in range(17)]},
    "a long label": {"labels": {"k": "x" * 257}},
    "a long key": {"labels": {"k" * 129: "x"}},
    "65 labels": {"labels": {f"k{i}": "" for i in range(65)}},
}


@pytest.mark.parametrize("which", TOO_MUCH)
def test_properties_past_a_limit(agent, which):
    assert refusal(agent.tunnel, **TOO_MUCH[which]) == CODES["CAPACITY_EXHAUSTED"]


def test_properties_at_their_limits(agent):
    labels = {f"k{i}": "" for i in range(62)} | {"k" * 128: "x", "k": "x" * 256}
    tunnel = agent.tunnel(
        name=unique("x" * 120),
        protocol="tls",
        tls_alpns=["y" * 255, *(f"a{i}" for i in range(15))],
        labels=labels,
    )
    assert dict(tunnel.labels) == labels and len(tunnel.tls_alpns) == 16


def test_empty_names_are_none(engine, agent):
    tunnel = agent.tunnel(name="", hostname="")
    assert tunnel.hostname.value.startswith("r") and not tunnel.name.value


def test_a_request_without_properties(agent):
    agent.write("open_tunnel_req", request_id="r")
    answer = agent.expect("open_tunnel_rsp")
    assert answer.request_id == "r" and answer.WhichOneof("result")


def test_closing_tunnels(engine, agent):
    label = unique()
    tunnel = agent.tunnel(hostname=label)
    other = Agent(engine)
    other.close_tunnel(tunnel.id.value)  # is answered, and touches nothing
    other.close_tunnel("unknown")
    with pytest.raises(Refused) as refused:
        other.tunnel(hostname=label)
    assert (refused.value.code, refused.value.text) == (2000, "Hostname is already in use.")
    agent.close_tunnel(tunnel.id.value)
    assert other.tunnel(hostname=label).id.value != tunnel.id.value
    agent.close_tunnel(tunnel.id.value)


@pytest.mark.parametrize("how", ["close_channel", "close", "reset", "send_notify"])
def test_a_name_is_free_when_its_channel_ends(engine, how):
    agent = Agent(engine)
    label = unique()
    agent.tunnel(hostname=label)
    getattr(agent, how)()
    other = Agent(engine, engine.token(sub="other"))

    def taken():
        try:
            return other.tunnel(hostname=label)
        except Refused as refused:
            assert refused.code == 2000
            return None

    if how == "close_channel":
        assert taken()
        assert ended(agent) == b""
    else:
        eventually(taken, "the name is free")


def test_a_silent_holder_is_replaced_by_its_own_kind_only(engine):
    label = unique()
    holder = Agent(engine, engine.token(sub="same"), interval_ms=200)
    holder.tunnel(hostname=label)
    stranger = Agent(engine, engine.token(sub="stranger"))
    successor = Agent(engine, engine.token(sub="same"))
    assert refusal(stranger.tunnel, hostname=label) == 2000

    def taken():
        try:
            return successor.tunnel(hostname=label)
        except Refused as refused:
            assert refused.code == 2000
            return None

    assert eventually(taken, "a successor has the name")
    assert refusal(stranger.tunnel, hostname=label) == 2000


def test_names_are_unique_too(agent, private):
    assert refusal(agent.tunnel, publish=False, name=private.name.value) == 2000


# ---- Private dials (4.12) and proxied streams (4.10, 4.11)


def meet(engine, agent, target, dialer_rtt=False, agent_rtt=True, **options):
    """A dialer and the agent's stream, bound. Reads the dialer's answer."""
    dialer = dial(engine, target, zero_rtt=dialer_rtt)
    request, stream = agent.bound(zero_rtt=agent_rtt, **options)
    if not agent_rtt:
        assert not stream.expect("proxy_rsp").HasField("error")
    if not dialer_rtt:
        assert dialer.expect("stream_rsp").stream_id == request.stream_id
    return dialer, stream


def both_ways(dialer, stream):
    stream.send(b"from the agent")
    assert dialer.recv_exact(14) == b"from the agent"
    dialer.send(b"from the dialer")
    assert stream.recv_exact(15) == b"from the dialer"


@pytest.mark.parametrize("by", ["id", "name"])
@pytest.mark.parametrize("dialer_rtt", [False, True])
@pytest.mark.parametrize("agent_rtt", [False, True])
def test_dials(engine, agent, private, by, dialer_rtt, agent_rtt):
    both_ways(*meet(engine, agent, getattr(private, by).value, dialer_rtt, agent_rtt))


def test_a_published_tunnel_may_be_dialled(engine, agent):
    tunnel = agent.tunnel(hostname=unique(), name=unique("named-"))
    both_ways(*meet(engine, agent, tunnel.name.value))


def test_what_an_agent_is_asked(engine, agent, private):
    dial(engine, private.id.value)
    request = agent.next_stream()
    assert request.tunnel_id == private.id.value
    assert request.stream_id and len(request.secret.value) >= 43
    assert request.source_ip.v4 == 0x7F000001
    assert not request.HasField("proxy_endpoint")


def test_every_stream_has_its_own_secret(engine, agent, private):
    seen = set()
    for _ in range(5):
        dial(engine, private.id.value)
        request = agent.next_stream()
        seen |= {request.stream_id, request.secret.value}
    assert len(seen) == 10


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"target": "unknown"}, "TUNNEL_NOT_FOUND"),
        ({"target": ""}, "TUNNEL_NOT_FOUND"),
        ({"token": "bad"}, "UNAUTHORIZED"),
        ({"token": ""}, "UNAUTHORIZED"),
        ({"datagram_channel": True}, "FEATURE_NOT_AVAILABLE"),
    ],
)
@pytest.mark.parametrize("zero_rtt", [False, True])
def test_dials_that_fail(engine, private, fields, code, zero_rtt):
    dialer = dial(engine, **{"target": private.id.value, "zero_rtt": zero_rtt, **fields})
    if not zero_rtt:
        assert dialer.expect("stream_rsp").error.code == CODES[code]
    assert ended(dialer) == b""


def test_an_agent_may_refuse(engine, agent, private):
    dialer = dial(engine, private.id.value)
    agent.refuse(agent.next_stream())
    assert dialer.expect("stream_rsp").error.code == CODES["SERVICE_UNAVAILABLE"]
    assert ended(dialer) == b""


def test_an_agent_that_never_comes(impatient):
    agent = Agent(impatient)
    private = agent.tunnel(publish=False)
    dialer = dial(impatient, private.id.value)
    request = agent.next_stream()
    agent.accept(request)
    assert dialer.expect("stream_rsp").error.code == CODES["SERVICE_UNAVAILABLE"]
    assert ended(dialer) == b""
    late = agent.connect_back(request, zero_rtt=False)
    assert late.expect("proxy_rsp").error.code == CODES["INVALID_STREAM"]
    assert ended(late) == b""


def test_yes_before_the_connection(engine, agent, private):
    dialer = dial(engine, private.id.value)
    request = agent.next_stream()
    agent.accept(request)
    agent.close_tunnel("a round trip, so that the yes has been read")
    stream = agent.connect_back(request)
    assert dialer.expect("stream_rsp").stream_id == request.stream_id
    both_ways(dialer, stream)


def test_a_no_after_the_connection_cuts_nothing(engine, agent, private):
    dialer, stream = meet(engine, agent, private.id.value)
    agent.write("proxy_conn_rsp", stream_id="unknown", error={"code": 4000})
    agent.close_tunnel("a round trip")
    both_ways(dialer, stream)


@pytest.mark.parametrize("zero_rtt", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{"secret": "x" * 43}, {"secret": ""}, {"stream_id": "unknown"}, {"stream_id": ""}],
    ids=["wrong secret", "no secret", "unknown", "empty"],
)
def test_streams_that_are_refused(engine, agent, private, zero_rtt, changes):
    dialer = dial(engine, private.id.value)
    request = agent.next_stream()
    stream = agent.connect_back(request, zero_rtt=zero_rtt, **changes)
    if not zero_rtt:
        assert stream.expect("proxy_rsp").error.code == CODES["INVALID_STREAM"]
    assert ended(stream) == b""
    dialer.close()


def test_the_agents_token_is_no_secret(engine, agent, private):
    dial(engine, private.id.value)
    stream = agent.connect_back(agent.next_stream(), zero_rtt=False, secret=engine.token())
    assert stream.expect("proxy_rsp").error.code == CODES["INVALID_STREAM"]


def test_a_secret_works_once(engine, agent, private):
    dialer = dial(engine, private.id.value)
    request = agent.next_stream()
    first = agent.connect_back(request)
    dialer.expect("stream_rsp")
    second = agent.connect_back(request, zero_rtt=False)
    assert second.expect("proxy_rsp").error.code == CODES["INVALID_STREAM"]
    both_ways(dialer, first)


def test_bytes_in_the_record_of_the_request(engine, agent, private):
    dialer = dial(engine, private.id.value, zero_rtt=True, more=b"early dialer")
    request = agent.next_stream()
    stream = agent.connect_back(request, more=b"early agent")
    assert stream.recv_exact(12) == b"early dialer"
    assert dialer.recv_exact(11) == b"early agent"
    both_ways(dialer, stream)


def test_what_looks_like_a_frame_is_data(engine, agent, private):
    frame = rstrm.frame(rstrm.message("heartbeat", sequence=7))
    dialer = dial(engine, private.id.value, zero_rtt=True, more=frame)
    stream = agent.connect_back(agent.next_stream(), more=struct.pack(">I", 1 << 31))
    assert stream.recv_exact(len(frame)) == frame
    assert dialer.recv_exact(4) == b"\x80\0\0\0"


def test_answers_have_records_of_their_own(engine, agent, private):
    """Go loses what shares a record with an answer, and JavaScript takes it for a frame."""
    dialer = dial(engine, private.id.value, more=b"from the dialer")
    request = agent.next_stream()
    stream = agent.connect_back(request, zero_rtt=False, more=b"from the agent")
    for pipe, member, data in (
        (stream, "proxy_rsp", b"from the dialer"),
        (dialer, "stream_rsp", b"from the agent"),
    ):
        record = pipe.recv_record()
        (length,) = struct.unpack(">I", record[:4])
        assert len(record) == 4 + length
        assert rstrm.parse(record[4:])[0] == member
        assert pipe.recv_exact(len(data)) == data


def test_zero_rtt_says_nothing_in_front(engine, agent, private):
    dialer, stream = meet(engine, agent, private.id.value, dialer_rtt=True)
    stream.send(b"first")
    assert dialer.recv_record() == b"first"
    dialer.send(b"second")
    assert stream.recv_record() == b"second"


@pytest.mark.parametrize("first", ["dialer", "agent"])
def test_half_close(engine, agent, private, first):
    dialer, stream = meet(engine, agent, private.id.value)
    one, other = (dialer, stream) if first == "dialer" else (stream, dialer)
    one.send(b"question")
    one.send_notify()
    assert other.recv_all() == b"question"
    assert other.ended == "notify"
    other.send(b"answer")
    other.send_notify()
    assert one.recv_all() == b"answer"
    assert one.ended == "notify"


@pytest.mark.parametrize("first", ["dialer", "agent"])
def test_an_abort_ends_both(engine, agent, private, first):
    dialer, stream = meet(engine, agent, private.id.value)
    both_ways(dialer, stream)
    one, other = (dialer, stream) if first == "dialer" else (stream, dialer)
    one.reset()
    ended(other)


def test_a_dialer_that_leaves_early(engine, agent, private):
    dial(engine, private.id.value).reset()
    stream = agent.connect_back(agent.next_stream())
    ended(stream)
    both_ways(*meet(engine, agent, private.id.value))


@pytest.mark.parametrize("how", ["reset", "close_channel"])
def test_streams_outlive_their_channel(engine, how):
    agent = Agent(engine)
    tunnel = agent.tunnel(publish=False)
    dialer, stream = meet(engine, agent, tunnel.id.value)
    getattr(agent, how)()
    failed = dial(engine, tunnel.id.value)
    assert failed.expect("stream_rsp").HasField("error")
    both_ways(dialer, stream)


def test_streams_outlive_their_tunnel(engine, agent, private):
    dialer, stream = meet(engine, agent, private.id.value)
    agent.close_tunnel(private.id.value)
    failed = dial(engine, private.id.value)
    assert failed.expect("stream_rsp").error.code == CODES["TUNNEL_NOT_FOUND"]
    both_ways(dialer, stream)


def test_who_waits_is_told_when_the_channel_ends(engine):
    agent = Agent(engine)
    tunnel = agent.tunnel(publish=False)
    dialer = dial(engine, tunnel.id.value)
    agent.next_stream()
    agent.reset()
    assert dialer.expect("stream_rsp").error.code == CODES["SERVICE_UNAVAILABLE"]


def test_outstanding_requests_are_bounded(engine, agent, private):
    """Eight at the agent, four more wait here, the next is refused."""
    dialers = []
    requests = []
    for _ in range(8):
        dialers.append(dial(engine, private.id.value))
        requests.append(agent.next_stream())
    dialers += [dial(engine, private.id.value) for _ in range(4)]
    refused = eventually(
        lambda: one_too_many(engine, private.id.value, dialers), "one is refused"
    )
    assert refused.error.code in (CODES["SERVICE_UNAVAILABLE"], CODES["CAPACITY_EXHAUSTED"])
    # A refusal makes room for one that waits, and so does a connection.
    agent.refuse(requests[0])
    requests.append(agent.next_stream())
    agent.connect_back(requests[1])
    requests.append(agent.next_stream())
    assert len({request.stream_id for request in requests}) == 10


def one_too_many(engine, target, dialers):
    """The answer of a dial that is refused at once; one that must wait joins the others."""
    dialer = dial(engine, target)
    try:
        return dialer.expect("stream_rsp", timeout=0.3)
    except TimeoutError:
        dialers.append(dialer)
        return None


def test_sixteen_dialers_at_once(engine, agent, private):
    agent.serve(echo)
    failures = []

    def one(number):
        try:
            dialer = dial(engine, private.name.value, zero_rtt=number % 2 == 0)
            if number % 2:
                assert dialer.expect("stream_rsp").stream_id
            data = bytes([number]) * 100000
            dialer.send(data)
            dialer.send_notify()
            assert dialer.recv_all() == data
        except BaseException as error:  # pylint: disable=broad-except
            failures.append((number, error))

    for start in (0, 8):
        threads = [threading.Thread(target=one, args=(n,)) for n in range(start, start + 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


# ---- Visitors, as far as the protocol goes


def test_no_stream_before_the_tunnel_is_answered(engine, agent):
    """Visitors knock at the name all the time while the tunnel opens."""
    label = unique()
    host = engine.name(label)
    stop = threading.Event()

    def knock():
        while not stop.is_set():
            try:
                engine.visit(host).send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            except OSError:
                pass

    threads = [threading.Thread(target=knock, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            request_id = agent.ask_tunnel(hostname=label, protocol="tls")
            member, part = agent.read()
            while member == "proxy_conn_req":  # of the tunnel before
                agent.refuse(part)
                member, part = agent.read()
            tunnel_id = part.tunnel_properties.id.value
            assert part.request_id == request_id and tunnel_id
            while True:
                part = agent.next_stream()
                agent.refuse(part)
                if part.tunnel_id == tunnel_id:
                    break
            agent.write("close_tunnel_req", tunnel_id=tunnel_id)
            member = None
            while member != "close_tunnel_rsp":
                member, part = agent.read()
                if member == "proxy_conn_req":
                    agent.refuse(part)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_visitor_of_a_tls_tunnel(engine, agent):
    tunnel = agent.tunnel(protocol="tls", hostname=unique(), tls_alpns=["a/1", "b/1"])
    visitor = engine.visit(tunnel.hostname.value, alpn=["x/1", "b/1", "a/1"])
    assert visitor.protocol == "a/1"
    request, stream = agent.bound()
    assert request.source_ip.v4 == 0x7F000001
    visitor.send(b"question")
    visitor.send_notify()
    assert stream.recv_all() == b"question"
    stream.send(b"answer")
    stream.send_notify()
    assert visitor.recv_all() == b"answer"


def test_an_http_visitor(engine, agent):
    tunnel = agent.tunnel(hostname=unique())
    agent.serve(http_echo)
    status, _, body = engine.get(tunnel.hostname.value.split(".")[0], "/a?b")
    assert status == 200
    assert body.startswith(b"GET /a?b HTTP/1.1\r\n")


def test_http_visitors_are_told(engine, agent):
    label = unique()
    agent.tunnel(hostname=label)
    found = []
    thread = threading.Thread(target=lambda: found.append(engine.get(label)))
    thread.start()
    agent.refuse(agent.next_stream())
    thread.join()
    assert found[0][0] == 502


# ---- The end


def test_an_orderly_end_says_nothing_about_tunnels(authority, tmp_path):
    with_tunnels = Engine(authority, tmp_path)
    agent = Agent(with_tunnels)
    agent.tunnel(hostname="a")
    with_tunnels.process.terminate()
    assert ended(agent) == b""
    assert agent.ended == "notify"
    assert with_tunnels.wait() == 0
