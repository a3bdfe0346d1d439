# SPDX-License-Identifier: Apache-2.0
"""weir events beside an engine, and webhooks to receivers that misbehave (engine spec, section 9)."""
import hashlib
import hmac
import json
import re
import signal
import threading
import time

import pytest

from lib.agent import Agent
from lib.cli import Cli
from lib.engine import Engine
from lib.stub_http import StubEngine, StubHttp, sse
from lib.wait import eventually

READ = ["tunnels.resources.read-only"]
SIGNING_KEY = "whsec_of-these-tests-and-nobody-else"


@pytest.fixture
def cli(engine, tmp_path):
    commands = Cli(tmp_path, engine, permissions=READ)
    yield commands
    commands.close()


@pytest.fixture
def agent(engine):
    return Agent(engine)


@pytest.fixture
def receiver():
    """A webhook that answers 200 until a test says otherwise."""
    stub = StubHttp(lambda _: (200, {}, b""))
    yield stub
    stub.stop()


def listening(engine, count=1):
    """So many commands listen to the engine."""

    def look():
        counts = engine.metrics().items()
        name = "weir_engine_watch_subscribers"
        return sum(v for k, v in counts if k.partition("{")[0] == name) == count

    eventually(look, f"{count} listen", 20)


def url(stub, path="/hook"):
    return f"http://127.0.0.1:{stub.port}{path}"


def posted(stub, count):
    return eventually(lambda: len(stub.seen()) >= count and stub.seen(), f"{count} requests")


# ---- Showing


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_events_as_they_happen(cli, engine, transport):
    events = cli.start("events", "--transport", transport)
    first = events.wait_type("state.initial")
    assert first["object"]["tunnels"] == [] and first["object"]["clients"] == []
    agent = Agent(engine)
    created = events.wait_type("client.created")
    assert created["object"]["id"] == agent.client_id
    tunnel = agent.tunnel(name="web", publish=True, protocol="http")
    assert events.wait_type("tunnel.created")["object"]["hostname"] == tunnel.hostname.value
    agent.close()
    events.wait_type("client.deleted")
    assert events.end(signal.SIGINT) == 0
    assert [e["type"] for e in events.events()] == [
        "state.initial", "client.created", "tunnel.created", "tunnel.deleted", "client.deleted",
    ]
    assert events.err == []


def test_types_filters_and_forms(cli, engine):
    some = cli.start("events", "--events", "tunnel.*", "--tunnel-filter", "name=a", "-o", "json")
    all_of_them = cli.start("events", "--json")
    all_of_them.wait_type("state.initial")
    listening(engine, 2)
    agent = Agent(engine)
    agent.tunnel(name="b", publish=False)
    agent.tunnel(name="a", publish=False)
    all_of_them.wait_type("tunnel.created", 2)
    eventually(lambda: "}" in list(some.out), "a whole object")
    assert some.end() == 0
    one = json.loads("\n".join(some.out))
    assert one["type"] == "tunnel.created" and one["object"]["name"] == "a"


def test_text_on_a_terminal(cli, agent):
    agent.tunnel(name="shown", publish=False)
    code, seen = cli.on_terminal("events", until=lambda text: b"1 clients, 1 tunnels" in text)
    assert code == 0 and b"state.initial" in seen


def test_hostile_events(authority, tmp_path):
    """What an engine sends steers no terminal, and what is no event ends the connection only."""
    name = "x\x1b]0;title\x07y\u202ez"
    snapshot = {"id": "e0", "type": "state.initial", "object": {"clients": [], "tunnels": []}}
    created = {"id": "e1", "type": "tunnel.created", "object": {"id": "t1", "name": name}}
    hold = threading.Event()

    def feed():
        yield b": ping\n\nevent: other\n" + sse(snapshot) + b"data: " + json.dumps(created).encode()[:20]
        yield json.dumps(created).encode()[20:] + b"\r\n\r\n"
        hold.wait(20)

    stub = StubEngine(authority, feed=feed)
    cli = Cli(tmp_path, stub)
    events = cli.start("events", "--transport", "sse", "-o", "text")
    eventually(lambda: len(events.out) == 2, "two lines")
    assert "  xyz" in events.out[1] and "\x1b" not in events.out[1] and "\u202e" not in events.out[1]
    assert events.end() == 0
    for nonsense in (b"data: [1]\n\n", b"data: {\n\n", sse({"type": "tunnel.created", "object": {}})):
        stub.feed = lambda nonsense=nonsense: iter([sse(snapshot), nonsense])
        events = cli.start("events", "--transport", "sse")
        events.wait_error("sent")
        assert events.end() == 0
    hold.set()
    stub.stop()


def test_refusals(cli, engine):
    wrong = engine.token(secret="another secret that is long enough, too")
    for transport in ("websocket", "sse"):
        code, error = cli.bad(
            "events", "--transport", transport, env={"RSTREAM_AUTHENTICATION_TOKEN": wrong}
        )
        assert code == 77 and "401" in error and wrong not in error
    assert "did you mean tunnel.created?" in cli.bad("events", "--events", "tunnel.creatd")[1]
    assert cli.bad("events", "--tunnel-filter", "nme=x")[0] == 64
    assert cli.bad("events", "nonsense")[0] == 64
    assert cli.bad("events", "--forward-to", "ftp://x/")[0] == 64
    assert cli.bad("events", "--forward-to", "http://x/", "--webhook", "http://y/")[0] == 64
    assert cli.bad("events", "--include-webhook-headers")[0] == 64
    assert cli.bad("events", "--webhook=http://x/", "--webhook-id", "a b")[0] == 64
    assert cli.bad("events", "--retry-for", "soon")[0] == 64


def test_secrets_leave_the_command_line(cli):
    """ps shows stars."""
    token = cli.env["RSTREAM_AUTHENTICATION_TOKEN"]
    cli.secrets.append(SIGNING_KEY)
    events = cli.start(
        "events", "--token", token, "--webhook", f"--webhook-secret={SIGNING_KEY}",
        env={"RSTREAM_AUTHENTICATION_TOKEN": None},
    )
    events.wait_type("state.initial")
    with open(f"/proc/{events.process.pid}/cmdline", encoding="utf-8") as file:
        words = file.read().split("\0")
    assert words[1:3] == ["events", "--token"]
    assert words[3] == "*" * len(token) and words[5] == "--webhook-secret=" + "*" * len(SIGNING_KEY)
    assert events.end() == 0


# ---- Gaps


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_what_happened_meanwhile(authority, tmp_path, transport):
    engine = Engine(authority, tmp_path / "one" if (tmp_path / "one").mkdir() is None else None)
    cli = Cli(tmp_path / "home", engine, permissions=READ)
    gone = Agent(engine)
    gone.tunnel(name="before", publish=False)
    events = cli.start("events", "--transport", transport)
    assert len(events.wait_type("state.initial")["object"]["tunnels"]) == 1
    engine.kill()
    gone.close()
    events.wait_error("is lost")
    (tmp_path / "two").mkdir()
    again = Engine(authority, tmp_path / "two", port=engine.port)
    agent = Agent(again)
    agent.tunnel(name="after", publish=False)
    gap = events.wait_type("feed.gap")
    caught_up = [e for e in events.events() if e.get("catch_up")]
    told = [(e["type"], e["object"].get("name")) for e in caught_up]
    assert told[:2] == [("tunnel.deleted", "before"), ("client.deleted", None)]
    assert caught_up[0]["object"]["status"] == "offline"
    assert all(re.fullmatch("evt_cli_[0-9a-f]{24}", e["id"]) for e in caught_up)
    assert gap["object"]["seconds"] > 0 and gap["object"]["events"] == len(caught_up)
    events.wait_event(lambda e: e["type"] == "tunnel.created" and e["object"]["name"] == "after", "it")
    assert [e["type"] for e in events.events()].count("state.initial") == 1
    assert events.end() == 0
    agent.close()
    again.stop()


# ---- Webhooks


def check_signature(request, secret):
    signature = request.headers["rstream-signature"]
    seconds = int(re.match(r"t=(\d+),v1=[0-9a-f]{64}(,v1=[0-9a-f]{64})*$", signature)[1])
    assert abs(seconds - time.time()) < 300
    expected = hmac.new(secret.encode(), b"%d.%b" % (seconds, request.body), hashlib.sha256)
    assert "v1=" + expected.hexdigest() in signature.split(",")


@pytest.mark.parametrize("words", [["--webhook", "URL"], ["--webhook=URL"], ["--webhook", "--forward-to", "URL"]])
def test_signed_requests(cli, engine, receiver, words):
    words = [word.replace("URL", url(receiver)) for word in words]
    events = cli.start(
        "events", *words, "--webhook-secret", SIGNING_KEY, "--webhook-secret", "whsec_old",
        "--webhook-id", "cli_we_1",
    )
    cli.secrets.append(SIGNING_KEY)
    events.wait_type("state.initial")
    agent = Agent(engine)
    agent.tunnel(name="web", publish=False)
    client, tunnel = posted(receiver, 2)
    for request, kind in ((client, "client.created"), (tunnel, "tunnel.created")):
        check_signature(request, SIGNING_KEY)
        check_signature(request, "whsec_old")
        body = json.loads(request.body)
        assert list(body) == ["id", "type", "created_at", "object"] and body["type"] == kind
        assert request.method == "POST" and request.path == "/hook"
        assert request.headers["rstream-event-id"] == body["id"]
        assert request.headers["rstream-event-type"] == kind
        assert request.headers["rstream-webhook-id"] == "cli_we_1"
        assert request.headers["content-type"] == "application/json"
        assert re.fullmatch("cli_del_[0-9a-f]{24}", request.headers["rstream-delivery-id"])
    assert client.headers["rstream-delivery-id"] != tunnel.headers["rstream-delivery-id"]
    assert events.end() == 0
    assert len(receiver.seen()) == 2, "no state.initial, nothing twice"


def test_a_secret_is_made_and_printed_once(cli, engine, receiver):
    events = cli.start("events", "--webhook", url(receiver), "-o", "none")
    line = events.wait_error("Webhook signing secret: ")
    secret = line.rpartition(" ")[2]
    assert re.fullmatch("whsec_[A-Za-z0-9_-]{43}", secret)
    listening(engine, 1)
    Agent(engine)
    request = posted(receiver, 1)[0]
    check_signature(request, secret)
    assert re.fullmatch("cli_we_[0-9a-f]{24}", request.headers["rstream-webhook-id"])
    assert events.end() == 0
    assert events.err == [line] and events.out == []


def test_what_is_sent_can_be_seen(cli, engine):
    events = cli.start("events", "--webhook", "--include-webhook-headers", env={"WEIR_WEBHOOK_SECRET": SIGNING_KEY})
    listening(engine, 1)
    Agent(engine)
    shown = events.wait_event(lambda e: e["headers"]["rstream-event-type"] == "client.created", "it")
    assert shown["body"]["type"] == "client.created" and "rstream-signature" in shown["headers"]
    assert events.end() == 0 and events.err == []


def test_raw_events(cli, engine, receiver):
    events = cli.start("events", "--forward-to", url(receiver))
    events.wait_error("unsigned")
    posted(receiver, 1)
    agent = Agent(engine)
    requests = posted(receiver, 2)
    assert [json.loads(r.body)["type"] for r in requests] == ["state.initial", "client.created"]
    assert json.loads(requests[1].body)["object"]["id"] == agent.client_id
    assert "rstream-signature" not in requests[0].headers
    assert events.end() == 0


def test_again_until_it_is_acknowledged(cli, engine, receiver):
    """Errors, closed connections and late answers: the same delivery again, in order, never after 2xx."""
    late = threading.Event()
    left = [(500, {}, b"no"), None, (429, {"Retry-After": "0"}, b""), "redirect", (204, {}, b"")]

    def answer(request):
        if request.path == "/moved":
            return 503, {}, b""
        now = left.pop(0) if left else (200, {}, b"")
        return (307, {"Location": "/moved"}, b"") if now == "redirect" else now

    receiver.answer = answer
    events = cli.start("events", "--webhook", url(receiver))
    events.wait_type("state.initial")
    Agent(engine).tunnel(name="web", publish=False)
    requests = posted(receiver, 7)
    assert events.end() == 0
    late.set()
    kinds = [r.headers["rstream-event-type"] for r in requests]
    assert kinds == ["client.created"] * 6 + ["tunnel.created"]
    assert len({r.headers["rstream-delivery-id"] for r in requests[:6]}) == 1
    assert len({r.body for r in requests[:6]}) == 1
    assert [line for line in events.err if "answers 500; again in" in line]
    assert len(receiver.seen()) == 7


def test_an_answer_that_breaks_behind_its_head_counts(cli, engine, receiver):
    def parts():
        yield b"5\r\nhello\r\n"
        raise OSError("cut")

    receiver.answer = lambda _: (200, {"Transfer-Encoding": "chunked"}, parts())
    events = cli.start("events", "--webhook", url(receiver))
    events.wait_type("state.initial")
    Agent(engine).tunnel(name="web", publish=False)
    posted(receiver, 2)
    events.wait_type("tunnel.created")
    assert events.end() == 0
    assert [r.headers["rstream-event-type"] for r in receiver.seen()] == ["client.created", "tunnel.created"]


@pytest.mark.parametrize(
    "answer, code, said",
    [
        ((404, {}, b""), 77, "answers 404"),
        ((302, {"Location": "http://localhost:1/"}, b""), 77, "elsewhere"),
        ((307, {"Location": "//evil.test/hook"}, b""), 77, "elsewhere"),
        ((308, {"Location": "/hook"}, b""), 77, "only 5 redirects"),
        ((303, {"Location": "/hook"}, b""), 77, "answers 303"),
        ((301, {}, b""), 77, "elsewhere"),
    ],
)
def test_what_ends_the_command(cli, engine, receiver, answer, code, said):
    receiver.answer = lambda _: answer
    events = cli.start("events", "--webhook", url(receiver, "/hook?key=in-the-url"))
    cli.secrets.append("in-the-url")
    listening(engine, 1)
    Agent(engine)
    assert events.wait() == code
    assert said in events.err[-1] and "1 events were not delivered" in events.err[-1]
    assert len(receiver.seen()) == (6 if answer[0] == 308 else 1)


@pytest.mark.parametrize("words", [["--no-retry"], ["--retry-for", "1ms"]])
def test_given_up(cli, engine, receiver, words):
    receiver.answer = lambda _: None
    events = cli.start("events", "--webhook", url(receiver), *words)
    listening(engine, 1)
    Agent(engine)
    assert events.wait() == 69
    assert "not delivered" in events.err[-1] and len(receiver.seen()) == 1


def test_a_receiver_that_hangs_loses_nothing(cli, engine, receiver):
    """The queue fills, the feed is given up, and what happened meanwhile is caught up with."""
    go_on = threading.Event()

    def answer(_):
        go_on.wait(30)
        return 200, {}, b""

    receiver.answer = answer
    events = cli.start("events", "--forward-to", url(receiver), "-o", "none")
    posted(receiver, 1)
    agent = Agent(engine)
    for _ in range(550):
        agent.close_tunnel(agent.tunnel(name="short", publish=False).id.value)
    last = agent.tunnel(name="last", publish=False)
    listening(engine, 0)
    go_on.set()

    def arrived():
        return [r for r in receiver.seen() if json.loads(r.body)["object"].get("id") == last.id.value]

    eventually(arrived, "the last one", 30)
    assert events.end() == 0
    sent = [json.loads(r.body)["id"] for r in receiver.seen()]
    assert len(set(sent)) == len(sent), "nothing twice"


def test_what_is_told_beside(cli, engine, receiver):
    """--log-level and --log-format are for standard error only."""
    receiver.answer = lambda _: (500, {}, b"")
    words = ["events", "--forward-to", url(receiver), "-o", "none"]
    chatty = cli.start(*words, "-v", "--log-format", "json")
    eventually(lambda: len(chatty.err) >= 3, "three lines")
    assert chatty.end() == 0
    lines = [json.loads(line) for line in chatty.err[:3]]
    assert [line["level"] for line in lines] == ["warn", "debug", "warn"]
    assert all(line["command"] == "events" and line["time"].endswith("Z") for line in lines)
    assert "answers 500; again in" in lines[2]["message"]
    count = len(receiver.seen())
    quiet = cli.start(*words, "-l", "error")
    posted(receiver, count + 1)
    assert quiet.end() == 0
    assert [line for line in quiet.err if "not delivered" not in line] == []
