# SPDX-License-Identifier: Apache-2.0
"""The Engine API (engine spec, section 8) over curl, an event reader and a WebSocket library."""
import asyncio
import datetime
import json
import re
import signal
import ssl
import subprocess
import time
import urllib.parse

import pytest
import websockets

from lib import tls
from lib.agent import Agent, dial, echo, http_echo, refusal
from lib.engine import HOST, SECRET, Engine
from lib.h2_visitor import Visitor
from lib.wait import eventually

READ = ["tunnels.resources.read-only"]
ENGINE_SETTINGS = {
    "limits": {"watch_subscribers": 3},
    "metrics": {"tunnel_labels": 2},
}


def call(engine, path, *args, token=None, params=None, http="--http1.1"):
    """(status, head, body) of a GET."""
    if params is not None:
        text = params if isinstance(params, str) else json.dumps(params)
        path += "?params=" + urllib.parse.quote(text)
    if token is not None:
        args += ("-H", f"Authorization: Bearer {token}")
    done = engine.curl(engine.host, path, "-i", http, *args)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head.decode().lower(), body.decode()


def get(engine, path, **options):
    """The JSON of a good answer."""
    status, head, body = call(engine, path, token=engine.token(permissions=READ), **options)
    assert status == 200, body
    assert "content-type: application/json" in head
    assert "cache-control: no-store" in head
    return json.loads(body)


def is_time(text):
    assert text.endswith("Z")
    return datetime.datetime.fromisoformat(text[:-1])


# ---- Requests


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_document_needs_no_token(engine, http):
    status, head, body = call(engine, "/api/openapi.json", http=http)
    assert status == 200
    assert "content-type: application/vnd.oai.openapi+json;version=3.1" in head
    document = json.loads(body)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] and document["info"]["version"] == "1.0.0"
    operations = {path["get"]["operationId"] for path in document["paths"].values()}
    assert operations >= {
        "get_engine_openapi", "list_engine_clients", "list_engine_tunnels",
        "watch_engine_events_sse", "watch_engine_events_websocket",
    }
    assert set(document["components"]["schemas"]) >= {
        "Client", "Event", "ListClientsParams", "ListTunnelsParams", "TunnelListItem", "WatchParams",
    }
    assert document["components"]["securitySchemes"]["bearerAuth"]["scheme"] == "bearer"


@pytest.mark.parametrize(
    "path", ["/api/clients", "/api/tunnels", "/api/sse", "/api/auth", "/api/tunnels/x"]
)
def test_tokens(engine, path):
    good = engine.token(permissions=READ)
    bad = [
        None,
        "",
        "x",
        good[:-1],
        engine.token(secret=SECRET + "x"),
        engine.token(exp=int(time.time()) - 31),
        engine.token(nbf=int(time.time()) + 60),
        engine.token().replace(engine.token().split(".")[0], "eyJhbGciOiJub25lIn0"),
        engine.token().rsplit(".", 1)[0] + ".",
    ]
    for token in bad:
        status, head, body = call(engine, path, token=token)
        assert status == 401, token
        assert "www-authenticate: bearer" in head
        assert set(json.loads(body)) == {"error"}
    status, _, body = call(engine, path, token=engine.token(permissions=[]))
    assert status == (200 if path == "/api/auth" else 403), body


def test_query_token_only_for_watchers(engine):
    token = engine.token()
    for path in ("/api/tunnels", "/api/clients", "/api/auth"):
        assert call(engine, f"{path}?rstream.token={token}")[0] == 401
    assert call(engine, f"/api/sse?rstream.token={token}", "--head")[0] == 200
    assert call(engine, f"/api/sse?rstream.token={token}", "--head", token=token)[0] == 400


def test_refused_requests_say_nothing_but_the_log_does(engine):
    _, _, body = call(engine, "/api/tunnels", token=engine.token(secret="other"))
    assert "signature" not in body
    line = engine.log.wait("api_unauthorized")
    assert "token" not in line["details"]


@pytest.mark.parametrize(
    "path,method,status",
    [
        ("/api/tunnels", "POST", 405),
        ("/api/openapi.json", "PUT", 405),
        ("/api/sse", "OPTIONS", 405),
        ("/api/whoami", "GET", 404),
        ("/.well-known/rstream/engine", "GET", 404),
        ("/api/tunnels/", "GET", 404),
        ("/elsewhere", "POST", 404),
        ("/api/websocket", "GET", 400),
        ("/", "GET", 200),
    ],
)
def test_paths_and_methods(engine, path, method, status):
    found, head, _ = call(engine, path, "-X", method, token=engine.token())
    assert found == status
    assert ("allow: get, head" in head) == (status == 405)


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_head(engine, http):
    for path in ("/api/openapi.json", "/api/tunnels", "/api/sse", "/api/none"):
        status, head, body = call(engine, path, "--head", token=engine.token(), http=http)
        assert status == (404 if path == "/api/none" else 200)
        assert body == ""
        assert ("content-length" in head) == (path != "/api/sse")


@pytest.mark.parametrize(
    "path,params",
    [
        ("/api/tunnels", ""),
        ("/api/tunnels", "{"),
        ("/api/tunnels", []),
        ("/api/tunnels", {"limit": 0}),
        ("/api/tunnels", {"limit": "1"}),
        ("/api/tunnels", {"offset": 1}),
        ("/api/tunnels", {"filters": {"agent": "x"}}),
        ("/api/tunnels", {"filters": {"publish": "yes"}}),
        ("/api/clients", {"filters": {"name": "x"}}),
        ("/api/clients", {"filters": []}),
        ("/api/sse", {"limit": 1}),
        ("/api/sse", {"tunnels": True}),
        ("/api/sse", {"clients": {"labels": {"a": 1}}}),
    ],
)
def test_params_are_strict(engine, path, params):
    status, _, body = call(engine, path, token=engine.token(), params=params)
    assert status == 400, body
    assert json.loads(body)["error"]


# ---- Inventory


def test_inventory(engine):
    agent = Agent(engine, engine.token(sub="me", userId="u-7"))
    web = agent.tunnel(
        name="web", hostname="inventory", labels={"team": "blue", "empty": ""}, protocol="http"
    )
    db = agent.tunnel(name="db", publish=False)

    clients = get(engine, "/api/clients", params={"filters": {"id": agent.client_id}})
    assert clients == [
        {
            "id": agent.client_id, "status": "online", "user_id": "u-7", "agent": "weir-tests",
            "channel": "sdk", "version": "1.0", "os": "linux", "arch": "x86_64",
            "protocol_version": "1.4.5",
        }
    ]
    mine = {"client_id": agent.client_id}
    tunnels = {t["name"]: t for t in get(engine, "/api/tunnels", params={"filters": mine})}
    is_time(tunnels["web"].pop("creation_date"))
    is_time(tunnels["db"].pop("creation_date"))
    assert tunnels["web"] == {
        "id": web.id.value, "client_id": agent.client_id, "status": "online", "name": "web",
        "type": "bytestream", "publish": True, "protocol": "http",
        "labels": {"team": "blue", "empty": ""}, "host": f"inventory.t.{HOST}",
        "hostname": f"inventory.t.{HOST}", "port": engine.port, "http_version": "http/1.1",
        "http_use_tls": False, "upstream_tls": False, "user_id": "u-7",
    }
    assert tunnels["db"] == {
        "id": db.id.value, "client_id": agent.client_id, "status": "online", "name": "db",
        "type": "bytestream", "publish": False, "user_id": "u-7",
    }
    assert get(engine, f"/api/tunnels/{db.id.value}")["name"] == "db"

    def names(**filters):
        found = get(engine, "/api/tunnels", params={"filters": {**mine, **filters}})
        return sorted(t["name"] for t in found)

    assert names(publish=True) == ["web"]
    assert names(labels={"team": "blue"}) == ["web"]
    assert names(labels={"team": None, "empty": ""}) == ["web"]
    assert names(labels={"team": "red"}) == []
    assert names(status="online") == ["db", "web"]
    assert names(hostname=f"inventory.t.{HOST}", protocol="http") == ["web"]
    assert len(get(engine, "/api/tunnels", params={"limit": 1, "filters": mine})) == 1

    agent.close_tunnel(db.id.value)
    assert names() == ["web"]
    agent.close()
    eventually(lambda: names() == [], "the tunnels go with their agent")
    assert get(engine, "/api/clients", params={"filters": {"id": agent.client_id}}) == []


def test_a_token_sees_its_scope(engine):
    agent = Agent(engine)
    mine = agent.tunnel(name="scope-mine", publish=False)
    other = agent.tunnel(name="scope-other", publish=False)
    leaf = {"list": {"filters": {"name": "scope-mine"}}, "create": False, "connect": False}
    token = engine.token(resources={"tunnels": {"scopes": {"tunnels": leaf}}})
    _, _, body = call(engine, "/api/tunnels", token=token)
    assert [t["name"] for t in json.loads(body)] == ["scope-mine"]
    assert call(engine, f"/api/tunnels/{mine.id.value}", token=token)[0] == 200
    assert call(engine, f"/api/tunnels/{other.id.value}", token=token)[0] == 404
    assert json.loads(call(engine, "/api/clients", token=token)[2]) == []


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_a_long_list_comes_in_pieces(engine, http):
    agents = [Agent(engine) for _ in range(3)]
    label = {"filler": "x" * 200}
    for agent in agents:
        for _ in range(60):
            agent.ask_tunnel(publish=False, labels=label)
    for agent in agents:
        for number in range(60):
            agent.told_tunnel(f"request-{number + 1}")
    found = get(engine, "/api/tunnels", params={"filters": {"labels": label}}, http=http)
    assert len({t["id"] for t in found}) == 180


# ---- Watching


class Events:
    """curl reads /api/sse; the data lines arrive one by one."""

    def __init__(self, engine, token=None, params=None, http="--http1.1"):
        query = "" if params is None else "?params=" + urllib.parse.quote(json.dumps(params))
        self.process = subprocess.Popen(
            [
                "curl", "--silent", "--no-buffer", "--noproxy", "*", "--cacert", engine.ca, http,
                "--resolve", f"{engine.host}:{engine.port}:127.0.0.1",
                "-H", f"Authorization: Bearer {token or engine.token()}",
                f"https://{engine.host}:{engine.port}/api/sse{query}",
            ],
            stdout=subprocess.PIPE,
        )

    def line(self):
        return self.process.stdout.readline().decode()

    def next(self):
        line = self.line()
        while line.startswith(":") or line == "\n":
            line = self.line()
        assert line.startswith("data: "), line
        assert self.line() == "\n"
        return json.loads(line[6:])

    def wait(self):
        code = self.process.wait(20)
        self.process.stdout.close()
        return code

    def close(self):
        self.process.kill()
        self.wait()


@pytest.fixture
def watch(engine):
    opened = []

    def opener(**options):
        opened.append(Events(options.pop("engine", engine), **options))
        return opened[-1]

    yield opener
    for events in opened:
        events.close()

    def nobody():
        return engine.metrics()['weir_engine_watch_subscribers{transport="sse"}'] == 0

    eventually(nobody, "no watcher is left")


def tell(event):
    """What an event is about, in short."""
    found = event["object"]
    return event["type"], found.get("name", found["id"]), found["status"]


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_events(engine, watch, http):
    before = Agent(engine)
    kept = before.tunnel(name="events-kept", publish=False)
    events = watch(http=http)
    first = events.next()
    assert first["type"] == "state.initial"
    is_time(first["created_at"])
    is_time(first["object"]["snapshot_at"])
    assert before.client_id in [c["id"] for c in first["object"]["clients"]]
    assert kept.id.value in [t["id"] for t in first["object"]["tunnels"]]

    agent = Agent(engine)
    agent.tunnel(name="events-a", publish=False)
    two = agent.tunnel(name="events-b", publish=False)
    agent.close_tunnel(two.id.value)
    agent.close()
    seen = [events.next() for _ in range(6)]
    assert [tell(event) for event in seen] == [
        ("client.created", agent.client_id, "online"),
        ("tunnel.created", "events-a", "online"),
        ("tunnel.created", "events-b", "online"),
        ("tunnel.deleted", "events-b", "offline"),
        ("tunnel.deleted", "events-a", "offline"),
        ("client.deleted", agent.client_id, "offline"),
    ]
    ids = [event["id"] for event in [first, *seen]]
    assert len(set(ids)) == 7
    assert all(re.fullmatch(r"evt_[0-9a-f]{24}", found) for found in ids)


def test_events_are_filtered(engine, watch):
    only = watch(params={"clients": False, "tunnels": {"labels": {"watch": "me"}}})
    absent = watch(params={"tunnels": {"name": "filtered-2"}})
    assert only.next()["object"]["clients"] == []
    absent.next()
    agent = Agent(engine)
    agent.tunnel(name="filtered-1", publish=False)
    agent.tunnel(name="filtered-2", publish=False, labels={"watch": "me"})
    assert tell(only.next()) == ("tunnel.created", "filtered-2", "online")
    assert tell(absent.next()) == ("client.created", agent.client_id, "online")
    assert tell(absent.next()) == ("tunnel.created", "filtered-2", "online")


def test_watchers_are_limited(engine, watch):
    for _ in range(3):
        watch().next()
    status, head, _ = call(engine, "/api/sse", token=engine.token())
    assert status == 503
    assert "retry-after" in head


def test_an_expired_token_ends_the_watch(engine, watch):
    events = watch(token=engine.token(exp=int(time.time()) - 28))
    assert events.next()["type"] == "state.initial"
    assert events.line() == ""
    assert events.wait() == 0  # an end, not a cut


# ---- WebSockets


def socket(engine, token=None, query=None, params=None):
    context = ssl.create_default_context(cafile=engine.ca)
    items = {}
    if params is not None:
        items["params"] = json.dumps(params)
    if query is not None:
        items["rstream.token"] = query
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return websockets.connect(
        f"wss://{engine.host}:{engine.port}/api/websocket?" + urllib.parse.urlencode(items),
        ssl=context,
        host="127.0.0.1",
        port=engine.port,
        extra_headers=headers,
        max_size=None,
    )


async def receive(connection):
    return json.loads(await asyncio.wait_for(connection.recv(), 20))


def test_websocket(engine):
    async def run():
        async with socket(engine, token=engine.token()) as one:
            async with socket(engine, query=engine.token(), params={"clients": False}) as two:
                for connection in (one, two):
                    assert (await receive(connection))["type"] == "state.initial"
                await one.send("this means nothing")
                await (await one.ping())
                agent = await asyncio.to_thread(Agent, engine)
                await asyncio.to_thread(agent.tunnel, name="socket", publish=False)
                assert tell(await receive(one))[0] == "client.created"
                for connection in (one, two):
                    assert tell(await receive(connection)) == ("tunnel.created", "socket", "online")
                agent.close()
                for connection in (one, two):
                    assert tell(await receive(connection))[0] == "tunnel.deleted"
            assert two.close_code == 1000

    asyncio.run(run())


def test_websocket_over_h2(engine):
    """RFC 8441, frame by frame."""
    visitor = Visitor(engine, engine.host)
    stream = visitor.raw_request(
        [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", engine.host),
            (":path", "/api/websocket"),
            ("authorization", f"Bearer {engine.token()}"),
            ("sec-websocket-version", "13"),
        ],
        end=False,
    )
    answer = visitor.answers[stream]
    assert visitor.read(lambda: answer.body.endswith(b"]}}"))
    assert answer.status == 200
    assert answer.body[0] == 0x81
    assert b'"type":"state.initial"' in answer.body
    answer.body = b""
    visitor.send(stream, b"\x89\x81\0\0\0\0a")
    assert visitor.read(lambda: answer.body == b"\x8a\x01a")
    agent = Agent(engine)
    assert visitor.read(lambda: agent.client_id.encode() in answer.body)
    visitor.send(stream, b"\x88\x82\0\0\0\0\x03\xe8", end=True)
    assert visitor.read(lambda: answer.ended)
    assert answer.body.endswith(b"\x88\x02\x03\xe8")
    assert answer.reset is None
    # The connection goes on.
    assert visitor.get(engine.host, "/api/openapi.json").status == 200


def test_a_watcher_that_leaves_is_forgotten(engine):
    async def run():
        connection = await socket(engine, token=engine.token())
        await receive(connection)
        connection.transport.abort()

    asyncio.run(run())
    name = 'weir_engine_watch_subscribers{transport="websocket"}'
    eventually(lambda: engine.metrics()[name] == 0, "nobody watches")


def test_websocket_is_refused(engine):
    async def status(**options):
        with pytest.raises(websockets.exceptions.InvalidStatusCode) as refused:
            await socket(engine, **options)
        return refused.value.status_code

    async def run():
        assert await status() == 401
        assert await status(query="x") == 401
        assert await status(token=engine.token(permissions=[])) == 403
        assert await status(token=engine.token(), query=engine.token()) == 400
        assert await status(token=engine.token(), params={"a": 1}) == 400

    asyncio.run(run())


def test_an_expired_token_closes_the_websocket(engine):
    async def run():
        token = engine.token(exp=int(time.time()) - 28)
        async with socket(engine, token=token) as connection:
            await receive(connection)
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await receive(connection)
            assert connection.close_code == 1008

    asyncio.run(run())


def test_a_slow_watcher_gets_a_fresh_snapshot(engine):
    """It reads nothing while far more happens than is kept for it."""
    label = {"filler": "x" * 250, **{f"filler{n}": "y" * 250 for n in range(40)}}
    dropped = "weir_engine_watch_events_dropped_total"

    async def run():
        async with socket(engine, token=engine.token()) as slow:
            await receive(slow)
            slow.transport.pause_reading()
            before = engine.metrics()[dropped]
            agent = await asyncio.to_thread(Agent, engine)
            for _ in range(40):
                if engine.metrics()[dropped] > before + 100:
                    break
                for _ in range(50):
                    found = await asyncio.to_thread(agent.tunnel, publish=False, labels=label)
                    await asyncio.to_thread(agent.close_tunnel, found.id.value)
            else:
                raise AssertionError("nothing was dropped")
            last = await asyncio.to_thread(agent.tunnel, publish=False, name="slow-last")
            slow.transport.resume_reading()
            seen = await receive(slow)
            while seen["type"] != "state.initial":
                seen = await receive(slow)
            there = [t["id"] for t in seen["object"]["tunnels"] if t["client_id"] == agent.client_id]
            if there == []:  # the snapshot was taken before the last tunnel
                seen = await receive(slow)
                there = [seen["object"]["id"]]
            assert there == [last.id.value]
            agent.close_tunnel(last.id.value)
            assert tell(await receive(slow)) == ("tunnel.deleted", "slow-last", "offline")

    asyncio.run(run())


def test_shutdown_ends_watches(authority, tmp_path):
    engine = Engine(authority, tmp_path)
    events = Events(engine)
    events.next()

    async def run():
        async with socket(engine, token=engine.token()) as connection:
            await receive(connection)
            stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await receive(connection)
            assert connection.close_code == 1001
            await stopping

    try:
        asyncio.run(run())
        assert events.wait() == 0
    finally:
        events.close()
        engine.kill()


def test_another_secret_ends_what_was_opened_with_the_old_one(authority, tmp_path):
    """Channels and watchers, spread over a second; not streams, and nothing that is newer."""
    engine = Engine(authority, tmp_path)
    events = Events(engine)
    events.next()
    agents = [Agent(engine) for _ in range(5)]
    agents[0].tunnel(protocol="tls", hostname="withdrawn")
    visitor = engine.visit(engine.name("withdrawn"))
    _, stream = agents[0].bound()
    secret = "another secret, of the same length or so"

    def reload(**changes):
        mark = engine.log.mark()
        engine.write_config(**changes)
        engine.signal(signal.SIGHUP)
        engine.log.wait("reload", mark)

    async def run():
        async with socket(engine, token=engine.token()) as connection:
            await receive(connection)
            reload(limits={"tunnels": 5})  # of no interest to tokens
            agents[0].tunnel(publish=False, name="more")
            assert (await receive(connection))["type"] == "tunnel.created"
            reload(auth={"jwt": {"token_jwt_secret": secret}})
            newer = await asyncio.to_thread(Agent, engine, token=engine.token(secret))
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                while True:
                    await receive(connection)
            assert connection.close_code == 1008
            return newer

    try:
        newer = asyncio.run(run())
        for agent in agents:
            assert agent.expect("server_message").message == "The token is not valid any more."
            assert agent.recv_all() == b"" and agent.ended == "notify"
        assert events.wait() == 0
        eventually(lambda: len(engine.log.all("control_channel_closed")) == 5, "all channels are closed")
        closed = engine.log.all("control_channel_closed")
        assert [line["details"]["reason"] for line in closed] == ["withdrawn"] * 5
        assert len({line["ts"] for line in closed}) > 1  # three channels of one worker: thirds of a second
        assert refusal(Agent, engine) == 1000
        newer.tunnel(protocol="tls", hostname="withdrawn")
        visitor.send(b"still here")
        assert stream.recv_exact(10) == b"still here"
    finally:
        events.close()
        tls.close_all()
        engine.stop()


# ---- Metrics (section 10)


def page(engine, path="/metrics", *args):
    done = subprocess.run(
        ["curl", "-si", "--noproxy", "*", *args, f"http://127.0.0.1:{engine.metrics_port}{path}"],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    head, _, body = done.stdout.partition("\r\n\r\n")
    return int(head.split(" ", 2)[1]), head.lower(), body


def test_metrics_page(engine):
    agent = Agent(engine)
    agent.tunnel(name="counted", publish=False)
    status, head, body = page(engine)
    assert status == 200
    assert "content-type: text/plain; version=0.0.4; charset=utf-8" in head
    found = engine.metrics()
    assert found["weir_engine_control_channels"] == 1
    assert found['weir_engine_tunnels{publish="private",protocol="none"}'] == 1
    assert found['weir_engine_tunnel_streams_active{tunnel="private:counted"}'] == 0
    assert found["weir_engine_cert_not_after_timestamp_seconds"] > time.time()
    assert found["process_open_fds"] < found["process_max_fds"]
    assert abs(found["process_start_time_seconds"] - time.time()) < 600
    names = set(re.findall(r"^# TYPE (\S+)", body, re.M))
    assert names == set(re.findall(r"^# HELP (\S+)", body, re.M))
    call(engine, "/api/tunnels")
    key = 'weir_engine_api_requests_total{endpoint="tunnels",code="401"}'
    assert engine.metrics()[key] == found[key] + 1
    assert page(engine, "/healthz")[0] == page(engine, "/readyz")[0] == 200
    assert page(engine, "/other")[0] == 404
    assert page(engine, "/metrics", "-X", "POST")[0] == 405


def test_metrics_of_streams(engine):
    agent = Agent(engine)
    agent.tunnel(name="stream", publish=False)
    agent.serve(echo)
    before = engine.metrics()
    dialer = dial(engine, "stream", zero_rtt=True, more=b"hello")
    assert dialer.recv_exact(5) == b"hello"
    during = engine.metrics()
    assert during['weir_engine_streams_active{kind="dial"}'] == 1
    assert during['weir_engine_tunnel_streams_active{tunnel="private:stream"}'] == 1
    dialer.close()

    def counted(name):
        return engine.metrics()[name] - before[name]

    eventually(lambda: counted('weir_engine_streams_active{kind="dial"}') == 0, "the stream ends")
    assert counted('weir_engine_streams_total{kind="dial",result="ok"}') == 1
    assert counted('weir_engine_stream_setup_seconds_count{kind="dial"}') == 1
    for direction in ("to_agent", "from_agent"):
        assert counted(f'weir_engine_stream_bytes_total{{direction="{direction}",kind="dial"}}') == 5


def test_metrics_of_requests(engine):
    agent = Agent(engine)
    agent.tunnel(hostname="requests")
    agent.serve(http_echo)
    before = engine.metrics()
    assert engine.get("requests")[0] == 200
    assert engine.get("nobody")[0] == 404

    def counted(name):
        return engine.metrics()[name] - before[name]

    eventually(
        lambda: counted('weir_engine_http_requests_total{code="4xx",version="h1"}') == 1, "a 404"
    )
    assert counted('weir_engine_http_requests_total{code="2xx",version="h1"}') == 1
    assert counted('weir_engine_edge_errors_total{reason="unknown_host"}') == 1
    assert counted("weir_engine_http_request_duration_seconds_count") == 2


def test_metrics_want_their_token(authority, tmp_path):
    settings = {"metrics": {"prometheus": {"path": "numbers", "bearer_token": "s3cret"}}}
    engine = Engine(authority, tmp_path, settings)
    try:
        assert page(engine, "/numbers", "-H", "Authorization: Bearer s3cret")[0] == 200
        for header in ("", "Authorization: Bearer s3cre", "Authorization: Basic s3cret"):
            status, head, _ = page(engine, "/numbers", *(["-H", header] if header else []))
            assert status == 401
            assert "www-authenticate: bearer" in head
        assert page(engine, "/metrics")[0] == 404
        assert page(engine, "/readyz")[0] == 200
        engine.stop()
    finally:
        engine.kill()
