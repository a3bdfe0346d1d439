# SPDX-License-Identifier: Apache-2.0
"""weir run and its inspector, weir dial and nc, against a real engine (engine spec, section 11)."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import threading

import h2.config
import h2.connection
import h2.events
import pytest

from lib import weir
from lib.docker import Docker, container
from lib.wait import eventually


class Service(http.server.BaseHTTPRequestHandler):
    """Says what it was asked; counts how often."""

    protocol_version = "HTTP/1.1"
    name = "one"
    asked = 0

    def answer(self):
        type(self).asked += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = f"{self.name} {self.command} {self.path} ".encode() + body
        self.send_response(418 if self.path == "/teapot" else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Set-Cookie", "session=geheim")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def serve(name):
    handler = type("Handler", (Service,), {"name": name})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.handler = handler
    return server


@pytest.fixture
def service():
    server = serve("one")
    yield server
    server.shutdown()
    server.server_close()


class Running:
    """weir COMMAND in the background; its lines."""

    def __init__(self, engine, *args, **options):
        self.lines = []
        self.errors = []
        self.process = subprocess.Popen(
            [weir.binary(), *args, *access(engine)],
            env=environment(engine, **options.pop("env", {})),
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self.threads = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in (
                (self.process.stdout, self.lines),
                (self.process.stderr, self.errors),
            )
        ]
        for thread in self.threads:
            thread.start()

    def join(self):
        """Everything it said is in the lists."""
        for thread in self.threads:
            thread.join(10)

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def wait_line(self, text, since=0):
        eventually(
            lambda: any(text in line for line in (self.lines + self.errors)[since:])
            or self.process.poll() is not None,
            f"a line with {text!r}",
        )
        found = [line for line in (self.lines + self.errors)[since:] if text in line]
        assert found, (text, self.lines, self.errors)
        return found[-1]

    def count(self, text):
        return sum(text in line for line in self.lines + self.errors)

    def stop(self, code=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        found = self.process.wait(30)
        self.join()
        assert "Sanitizer" not in "\n".join(self.errors), self.errors
        assert found == code, (found, self.lines, self.errors)


def access(engine):
    return [
        "--engine",
        f"127.0.0.1:{engine.port}",
        "--engine-tls-ca-file",
        engine.ca,
        "--engine-tls-server-name",
        engine.host,
    ]


def environment(engine, **more):
    return {
        **weir.base_environment(),
        "RSTREAM_CONFIG": "/nowhere/config.yaml",
        "RSTREAM_AUTHENTICATION_TOKEN": engine.token(),
        **more,
    }


@pytest.fixture
def start(engine):
    started = []

    def starter(*args, **options):
        running = Running(engine, *args, **options)
        started.append(running)
        return running

    yield starter
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait(10)


def tunnels(path, *items):
    text = "version: 1\ntunnels:\n" + "".join(f"  - {json.dumps(item)}\n" for item in items)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)
    return path


def web(name, port, **more):
    return {"name": name, "forward": f"127.0.0.1:{port}", "tunnel": {"host": name, **more}}


def body(engine, label, path="/"):
    status, _, answer = engine.get(label, path)
    return status, answer.decode()


# ---- The file


def check(tmp_path, text):
    path = tmp_path / "t.yml"
    path.write_text(text)
    env = {"RSTREAM_CONFIG": "/nowhere/config.yaml", "RSTREAM_AUTHENTICATION_TOKEN": "t"}
    return weir.run("run", "-c", str(path), "--check", "--engine", "edge.test", env=env)


def test_check(tmp_path):
    good = check(tmp_path, "version: 1\ntunnels: [{name: a, forward: 80}]\n")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("t.yml: fine, 1 tunnel\n")
    bad = check(tmp_path, "version: 1\ntunnels:\n  - {name: a, foward: 80}\n  - {name: ${NO}}\n")
    assert bad.returncode == 78
    bad = check(tmp_path, "version: 2\ntunnels:\n  - {name: a, foward: 80}\n")
    assert bad.returncode == 78
    lines = bad.stderr.splitlines()
    assert len(lines) == 3, "all mistakes at once"
    assert "t.yml:1:10: version" in lines[0]
    assert "t.yml:3:15: tunnels[0].foward: there is no such key; did you mean forward?" in bad.stderr


def test_usage(tmp_path):
    assert weir.run("run").returncode == 64
    missing = weir.run("run", "-c", str(tmp_path / "none.yml"))
    assert missing.returncode == 78 and "none.yml" in missing.stderr


def test_inspect_says_what_to_use(tmp_path):
    name = tmp_path / "rstream"
    name.symlink_to(weir.binary())
    done = subprocess.run(
        [str(name), "inspect"], env=weir.base_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "rstream forward --inspect" in done.stderr


# ---- Running


def test_several_tunnels_and_changes(engine, start, service, tmp_path):
    other = serve("two")
    port, other_port = service.server_port, other.server_port
    path = tunnels(tmp_path / "t.yml", web("run-a", port), web("run-b", port))
    running = start("run", "--apply", str(path), "--watch")
    for name in ("run-a", "run-b"):
        running.wait_line(f"{name}: online: https://{name}.t.{engine.host}")
        assert body(engine, name) == (200, "one GET / ")

    # Only what differs is closed or opened.
    tunnels(path, web("run-a", port), web("run-b", other_port), web("run-c", other_port))
    running.wait_line("run-c: online")
    eventually(lambda: running.count("run-b: online") == 2, "run-b is open again")
    assert body(engine, "run-b") == (200, "two GET / ")
    assert running.count("run-a:") == 2, "connecting, online"

    # A broken file changes nothing and says so.
    path.write_text("version: 1\ntunnels: [{name: run-a, forward: zzz}]\n")
    running.wait_line("is not used; everything stays as it is")
    assert "t.yml:2:" in running.wait_line("is no place")
    assert body(engine, "run-c") == (200, "two GET / ")

    tunnels(path, web("run-a", port))
    running.wait_line("run-c: closed")
    eventually(lambda: body(engine, "run-b")[0] == 404, "run-b has gone")
    assert running.count("run-a:") == 2
    running.stop()
    eventually(lambda: body(engine, "run-a")[0] == 404, "run-a has gone")
    other.shutdown()
    other.server_close()


def test_hangup_and_json(engine, start, service, tmp_path):
    path = tunnels(tmp_path / "t.yml", web("run-j", service.server_port))
    running = start("run", "-c", str(path), "--json")
    line = json.loads(running.wait_line('"status":"online"'))
    assert line["tunnel"] == "run-j"
    assert line["forwarding"] == f"https://run-j.t.{engine.host}:{engine.port}"
    assert line["forwarded"] == f"127.0.0.1:{service.server_port}"
    tunnels(path, web("run-k", service.server_port))
    running.process.send_signal(signal.SIGHUP)
    eventually(
        lambda: any(json.loads(l)["tunnel"] == "run-k" and json.loads(l)["status"] == "online"
                    for l in running.lines),
        "the file was read again",
    )
    running.stop()


def test_what_is_refused_stops_that_tunnel_only(engine, start, service, tmp_path):
    path = tunnels(
        tmp_path / "t.yml",
        web("run-x", service.server_port, http={"auth": {"token": True}}),
        web("run-y", service.server_port),
    )
    running = start("run", "-c", str(path))
    assert "token_auth" in running.wait_line("run-x: stopped")
    running.wait_line("run-y: online")
    running.stop()

    path = tunnels(
        tmp_path / "t.yml", web("run-x", service.server_port, http={"auth": {"token": True}})
    )
    alone = start("run", "-c", str(path))
    alone.wait_line("run-x: stopped")
    assert alone.process.wait(20) == 1, "nothing is left to run"


def test_a_local_service_that_is_down(engine, start, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        path = tunnels(tmp_path / "t.yml", web("run-d", nobody.getsockname()[1]))
        running = start("run", "-c", str(path))
        running.wait_line("run-d: online")
        assert engine.get("run-d")[0] == 502
        running.wait_line("run-d: a visitor got no stream")
        running.stop()


# ---- The inspector


class Page:
    """The API behind the page."""

    def __init__(self, url):
        self.url = url
        self.host = url.removeprefix("http://").rstrip("/")

    def ask(self, method, path, **headers):
        conn = http.client.HTTPConnection(self.host, timeout=40)
        conn.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = conn.getresponse()
        data = answer.read()
        conn.close()
        return answer, data

    def get(self, path):
        answer, data = self.ask("GET", path)
        assert answer.status == 200, (answer.status, data)
        return json.loads(data)

    def post(self, path):
        answer, data = self.ask("POST", path, X_Weir_Inspect="1")
        return answer.status, json.loads(data)

    def done(self, count):
        def all_done():
            found = self.get("/api/exchanges")["exchanges"]
            return len(found) == count and all(one["state"] == "done" for one in found) and found

        return eventually(all_done, f"{count} exchanges")


@pytest.fixture
def inspected(start, service, tmp_path):
    def starter(name, *more):
        path = tunnels(tmp_path / "t.yml", web(name, service.server_port))
        running = start("run", "-c", str(path), "--inspect=0", *more)
        url = running.wait_line("inspector at ").split()[-1]
        running.wait_line(f"{name}: online")
        return running, Page(url)

    return starter


def test_what_passes_is_seen(engine, inspected):
    running, page = inspected("see")
    host = engine.name("see")
    sent = engine.curl(host, "/a?x=1&token=geheim", "-d", "hello", "-H", "Cookie: id=geheim")
    assert sent.stdout == b"one POST /a?x=1&token=geheim hello", "the traffic is what it was"
    assert engine.get("see", "/teapot")[0] == 418
    found = page.done(2)
    first, second = found
    assert (first["method"], first["target"], first["status"]) == (
        "POST",
        "/a?x=1&token=[hidden]",
        200,
    )
    assert first["source_ip"] == "127.0.0.1" and first["tunnel"] == "see"
    assert first["total_ms"] >= 0
    assert second["status"] == 418
    one = page.get(f"/api/exchange?id={first['id']}")
    assert one["request"]["body"] == "hello"
    assert one["answer"]["body"] == "one POST /a?x=1&token=geheim hello"
    fields = {f["name"].lower(): f["value"] for f in one["request"]["fields"]}
    assert fields["cookie"] == "[hidden]"
    assert fields["host"].startswith(host)
    archive = page.get("/api/har")["log"]
    assert [e["response"]["status"] for e in archive["entries"]] == [200, 418]
    assert "geheim" not in json.dumps(archive["entries"][0]["request"])
    running.stop()


def test_a_large_body_passes_whole_and_is_kept_in_part(engine, inspected, tmp_path):
    running, page = inspected("large")
    data = os.urandom(3_000_000)
    path = tmp_path / "large"
    path.write_bytes(data)
    sent = engine.curl(engine.name("large"), "/", "--data-binary", f"@{path}")
    assert sent.stdout == b"one POST / " + data
    (one,) = page.done(1)
    whole = page.get(f"/api/exchange?id={one['id']}")
    assert whole["request"]["body_bytes"] == len(data)
    assert whole["request"]["body_cut"] and whole["request"]["body_kept"] == 256 * 1024
    assert base64.b64decode(whole["request"]["body"]) == data[: 256 * 1024]
    status, answer = page.post(f"/api/replay?id={one['id']}")
    assert status == 409 and "was not kept" in answer["error"]
    running.stop()


def test_secrets_when_asked_for(engine, inspected):
    running, page = inspected("sec", "--inspect-secrets")
    engine.curl(engine.name("sec"), "/?token=geheim", "-H", "Authorization: Bearer geheim")
    (one,) = page.done(1)
    assert one["target"] == "/?token=geheim"
    text = json.dumps(page.get(f"/api/exchange?id={one['id']}"))
    assert "Bearer geheim" in text and "[hidden]" not in text
    running.stop()


def test_replay_and_news(engine, inspected, service):
    running, page = inspected("again")
    engine.curl(engine.name("again"), "/r", "-d", "hello")
    (one,) = page.done(1)
    revision = page.get("/api/exchanges")["revision"]
    news = []
    waiting = threading.Thread(
        target=lambda: news.append(page.get(f"/api/exchanges?after={revision}&wait=25"))
    )
    waiting.start()
    status, answer = page.post(f"/api/replay?id={one['id']}")
    assert status == 200
    waiting.join(20)
    assert news[0]["exchanges"][0]["id"] == answer["id"], "told without asking again"
    found = page.done(2)
    assert found[1]["replay_of"] == one["id"]
    assert service.handler.asked == 2
    again = page.get(f"/api/exchange?id={found[1]['id']}")
    assert again["answer"]["body"] == "one POST /r hello"
    assert page.post("/api/clear") == (200, {})
    assert page.get("/api/exchanges")["exchanges"] == []
    assert page.post(f"/api/replay?id={one['id']}")[0] == 404
    running.stop()


def test_a_replay_that_fails_says_why(engine, inspected, service):
    running, page = inspected("why")
    assert engine.get("why", "/a")[0] == 200
    (one,) = page.done(1)
    service.shutdown()
    service.server_close()
    status, answer = page.post(f"/api/replay?id={one['id']}")
    assert status == 200
    again = eventually(
        lambda: page.get(f"/api/exchange?id={answer['id']}").get("problem"), "it says why"
    )
    assert f"127.0.0.1:{service.server_port}" in again and "nobody listens" in again
    running.stop()


def test_who_may_ask(engine, inspected):
    running, page = inspected("who")
    answer, _ = page.ask("GET", "/")
    policy = answer.headers["Content-Security-Policy"]
    assert answer.status == 200 and "default-src 'none'" in policy and "unsafe" not in policy
    for host in ("evil.example", f"evil.example:{page.host.split(':')[1]}", "127.0.0.1:1"):
        for path in ("/", "/api/exchanges", "/api/har", "/none"):
            answer, data = page.ask("GET", path, Host=host)
            assert answer.status == 421, (host, path, data)
    assert page.ask("POST", "/api/clear")[0].status == 403, "another site's form"
    assert page.ask("POST", "/api/replay?id=1", Origin="http://evil.example")[0].status == 403
    assert page.ask("GET", "/api/exchange?id=99")[0].status == 404
    assert page.ask("GET", "/api/exchange")[0].status == 400
    running.stop()


def test_the_frames_of_a_websocket(engine, start, tmp_path):
    """Either side's, with type and size; they pass as they are."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def upgrade():
            conn, _ = server.accept()
            with conn:
                conn.recv(65536)
                conn.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                    b"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                )
                conn.recv(65536)
                conn.sendall(b"\x82\x02\xff\x00\x89\x00")
                with contextlib.suppress(ConnectionResetError):
                    while conn.recv(65536):
                        pass

        threading.Thread(target=upgrade, daemon=True).start()
        path = tunnels(tmp_path / "t.yml", web("up", server.getsockname()[1]))
        running = start("run", "-c", str(path), "--inspect=0")
        page = Page(running.wait_line("inspector at ").split()[-1])
        running.wait_line("up: online")
        visitor = engine.visit(engine.name("up"), alpn=["http/1.1"])
        visitor.send(
            f"GET /ws HTTP/1.1\r\nHost: {engine.name('up')}:{engine.port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        visitor.recv_until(b"\r\n\r\n", 20)
        hello = b"\x81\x85\x01\x02\x03\x04" + bytes(a ^ b for a, b in zip(b"hello", b"\1\2\3\4\1"))
        visitor.send(hello)
        assert visitor.recv_exact(6, 20) == b"\x82\x02\xff\x00\x89\x00"
        (one,) = page.get("/api/exchanges")["exchanges"]
        assert (one["kind"], one["state"], one["status"]) == ("websocket", "open", 101)
        detail = page.get(f"/api/exchange?id={one['id']}")
        frames = [(x["from"], x["type"], x["bytes"], x["payload"]) for x in detail["frames"]]
        assert frames == [
            ("visitor", "text", 5, "hello"),
            ("service", "binary", 2, "/wA="),
            ("service", "ping", 0, ""),
        ]
        messages = page.get("/api/har")["log"]["entries"][0]["_webSocketMessages"]
        assert [(x["type"], x["opcode"]) for x in messages] == [
            ("send", 1),
            ("receive", 2),
            ("receive", 9),
        ]
        assert page.post(f"/api/replay?id={one['id']}")[0] == 409
        visitor.close()
        eventually(
            lambda: page.get("/api/exchanges")["exchanges"][0]["state"] == "done", "it is over"
        )
        running.stop()


def serve_h2c(server):
    """One connection of HTTP/2 in plain text: each request gets its path."""
    conn, _ = server.accept()
    peer = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    )
    peer.initiate_connection()
    with conn, contextlib.suppress(OSError):
        conn.sendall(peer.data_to_send())
        paths = {}
        while data := conn.recv(65536):
            for event in peer.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    paths[event.stream_id] = dict(event.headers)[":path"]
                elif isinstance(event, h2.events.StreamEnded):
                    answer = f"you asked for {paths[event.stream_id]}".encode()
                    fields = [(":status", "200"), ("content-type", "text/plain")]
                    peer.send_headers(event.stream_id, fields)
                    peer.send_data(event.stream_id, answer, end_stream=True)
            conn.sendall(peer.data_to_send())


def test_requests_of_http_2(engine, start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve_h2c, args=(server,), daemon=True).start()
        tunnel = web("two", server.getsockname()[1], http={"version": "h2c"})
        running = start("run", "-c", str(tunnels(tmp_path / "t.yml", tunnel)), "--inspect=0")
        page = Page(running.wait_line("inspector at ").split()[-1])
        running.wait_line("two: online")
        sent = engine.curl(engine.name("two"), "/a?b=1", "-d", "hello", "-H", "Cookie: id=geheim")
        assert sent.stdout == b"you asked for /a?b=1"

        def requests():
            found = page.get("/api/exchanges")["exchanges"]
            return [one for one in found if one["kind"] == "h2" and one["state"] == "done"]

        (one,) = eventually(requests, "the request is there")
        assert (one["method"], one["target"], one["status"]) == ("POST", "/a?b=1", 200)
        detail = page.get(f"/api/exchange?id={one['id']}")
        assert detail["request"]["body"] == "hello"
        assert detail["answer"]["body"] == "you asked for /a?b=1"
        assert {"name": "cookie", "value": "[hidden]"} in detail["request"]["fields"]
        assert page.post(f"/api/replay?id={one['id']}") == (
            409,
            {"error": "it was HTTP/2, which is not sent again"},
        )
        running.stop()


def test_other_addresses_are_refused(start, service, tmp_path):
    path = tunnels(tmp_path / "t.yml", web("addr", service.server_port))
    running = start("run", "-c", str(path), "--inspect=0.0.0.0:0")
    assert "other machines would see everything" in running.wait_line("--inspect")
    assert running.process.wait(20) == 1


# ---- dial and nc


def echo_service():
    """Every byte back, in capitals, after the end of the input."""
    server = socket.create_server(("127.0.0.1", 0))

    def one(conn):
        with conn, contextlib.suppress(ConnectionError):
            data = b""
            while piece := conn.recv(65536):
                data += piece
            conn.sendall(data.upper())

    def loop():
        while True:
            try:
                conn, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(conn,), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return server


@pytest.fixture
def private(start):
    """A service published privately by nc; the name."""
    server = echo_service()
    name = f"capital-{server.getsockname()[1]}"
    running = start("nc", "-L", f"rstrm://{name}", "-R", f"127.0.0.1:{server.getsockname()[1]}")
    running.wait_line("online")
    yield name
    running.stop()
    server.close()


def dial(engine, *args, data=b"", code=0):
    done = subprocess.run(
        [weir.binary(), *args, *access(engine)],
        env=environment(engine),
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done


def test_standard_input_and_output(engine, private):
    data = b"hello " * 200_000
    assert dial(engine, "dial", private, data=data).stdout == data.upper(), "both ends, half-closed"
    assert dial(engine, "nc", f"rstrm://{private}", data=b"x").stdout == b"X"
    assert dial(engine, "dial", private).stdout == b""


def test_a_file_as_input(engine, private, tmp_path):
    path = tmp_path / "input"
    path.write_bytes(b"abc" * 100_000)
    with open(path, "rb") as file:
        done = subprocess.run(
            [weir.binary(), "dial", private, *access(engine)],
            env=environment(engine),
            stdin=file,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"ABC" * 100_000)


def test_a_local_port(engine, start, private):
    running = start("dial", private, "-L", "0")
    port = int(running.wait_line("listening at 127.0.0.1 port").split("port ")[1].split(",")[0])

    def ask(data):
        with socket.create_connection(("127.0.0.1", port), 20) as conn:
            conn.sendall(data)
            conn.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := conn.recv(65536):
                answer += piece
            return answer

    answers = {}
    threads = [
        threading.Thread(target=lambda i=i: answers.update({i: ask(b"a%d" % i)})) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {i: b"A%d" % i for i in range(8)}
    running.stop()


def children(process):
    return [
        pid
        for pid in os.listdir("/proc")
        if pid.isdigit() and parent_of(pid) == process.pid
    ]


def parent_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_a_program_answers(engine, start):
    running = start("nc", "-L", "rstrm://upper", "-c", "tr a-z A-Z")
    running.wait_line("upper: online")
    assert dial(engine, "dial", "upper", data=b"abc" * 50_000).stdout == b"ABC" * 50_000
    assert dial(engine, "dial", "upper", data=b"again").stdout == b"AGAIN"
    eventually(lambda: not children(running.process), "its programs have ended")
    running.stop()


def test_a_program_that_is_not_there(engine, start):
    running = start("nc", "-L", "rstrm://missing", "-e", "/nowhere/program")
    running.wait_line("missing: online")
    assert dial(engine, "dial", "missing", data=b"x", code=1).stdout == b""
    running.wait_line("/nowhere/program")
    running.stop()


def test_a_program_leaves_its_input_unread(engine, start):
    running = start("nc", "-L", "rstrm://five", "-c", "head -c 5; exit 0")
    running.wait_line("five: online")
    sent = b"hello" + b"x" * 1_000_000
    assert dial(engine, "dial", "five", data=sent).stdout == b"hello", "and an end in order"
    eventually(lambda: not children(running.process), "it has ended")
    running.stop()


def test_a_program_fails(engine, start):
    running = start("nc", "-L", "rstrm://fails", "-c", "cat; echo oh dear; exit 3")
    running.wait_line("fails: online")
    sent = b"x" * 100_000
    assert dial(engine, "dial", "fails", data=sent).stdout == sent + b"oh dear\n", "all it said"
    running.wait_line("exit status 3")
    running.stop()


def test_a_program_is_killed(engine, start):
    running = start("nc", "-L", "rstrm://killed", "-c", "echo begun; read line; kill -9 $$")
    running.wait_line("killed: online")
    visitor = start("dial", "killed", stdin=subprocess.PIPE)
    visitor.wait_line("begun")
    visitor.process.stdin.write("go\n")
    visitor.process.stdin.close()
    assert visitor.process.wait(30) == 1
    visitor.join()
    assert any("broke off" in line for line in visitor.errors), visitor.errors
    running.wait_line("ended by signal 9")
    running.stop()


def test_a_program_ends_with_its_server(engine, start):
    running = start("nc", "-L", "rstrm://sleeper", "-c", "sleep 1000")
    running.wait_line("sleeper: online")
    visitor = start("dial", "sleeper", stdin=subprocess.PIPE)
    (child,) = eventually(lambda: children(running.process), "the program runs")
    running.stop()
    eventually(lambda: not os.path.exists(f"/proc/{child}"), "it has ended, too")
    visitor.process.kill()


def test_without_a_tunnel(engine, start):
    """A place for standard input and output, and a local port for it."""
    server = echo_service()
    place = f"127.0.0.1:{server.getsockname()[1]}"
    data = b"hello " * 100_000
    assert dial(engine, "nc", place, data=data).stdout == data.upper()
    running = start("nc", "-L", "0", "-R", place)
    port = int(re.search(r"port (\d+)", running.wait_line("listening at 127.0.0.1"))[1])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), 20) as conn:
            conn.sendall(data)
            conn.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := conn.recv(65536):
                answer += piece
        assert answer == data.upper()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    with contextlib.suppress(ConnectionResetError):  # as early as connect
        with socket.create_connection(("127.0.0.1", port), 20) as conn:
            assert conn.recv(1) == b""
    running.wait_line(f"{place}: nobody listens there")
    lost = dial(engine, "nc", place, data=b"x", code=1)
    assert b"nobody listens there" in lost.stderr and lost.stdout == b""
    running.stop()


def test_a_place_that_breaks_off(engine):
    server = socket.create_server(("127.0.0.1", 0))

    def one():
        conn, _ = server.accept()
        conn.sendall(b"half")
        conn.recv(1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()

    threading.Thread(target=one, daemon=True).start()
    place = f"127.0.0.1:{server.getsockname()[1]}"
    lost = dial(engine, "nc", place, data=b"x", code=1)
    assert b"broke off" in lost.stderr
    server.close()


def test_nobody_has_that_name(engine):
    done = dial(engine, "dial", "nobody", data=b"x", code=1)
    assert b"nobody" in done.stderr and done.stdout == b""


def test_endpoints_that_do_not_fit(engine):
    assert dial(engine, "nc", "127.0.0.1:http", code=64).stderr
    assert dial(engine, "nc", "127.0.0.1", code=64).stderr
    assert dial(engine, "nc", "-L", "x:1", "-R", "127.0.0.1:2", code=64).stderr
    assert dial(engine, "nc", "rstrm://a", "-R", "127.0.0.1:2", code=64).stderr
    assert dial(engine, "nc", "-L", "rstrm://a", "-R", "rstrm://b", code=64).stderr
    assert dial(engine, "nc", "-L", "1", "-e", "cat", code=64).stderr
    assert dial(engine, "nc", "-L", "rstrm://a", "-e", "cat", "-c", "cat", code=64).stderr
    assert dial(engine, "dial", code=64).stderr


# ---- The guide


def guide():
    """The lines of docs/agent.md that run, dial or nc are."""
    text = (weir.ROOT / "docs/agent.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S)
    words = ("weir run ", "weir dial ", "weir nc ")
    return [line for block in blocks for line in block.splitlines() if line.startswith(words)]


def with_ports(words, port):
    """The ports of the guide may be taken here."""
    return [
        word.replace("127.0.0.1:15433", "0")
        .replace("15432", "0")
        .replace("8081", "0")
        .replace(":5432", f":{port}")
        for word in words
    ]


def try_lines(lines, engine, start, service, directory):
    """Each does what it is there for. A tunnel db, and one named echo, are there for those that dial."""
    tunnels(directory / "tunnels.yml", web("guide", service.server_port))
    server = echo_service()
    containers = Docker(directory)
    port = service.server_port
    containers.containers = [container("guide", **{"rstream.tunnel.guide.forward": str(port)})]
    db = start("nc", "-L", "rstrm://db", "-R", f"127.0.0.1:{server.getsockname()[1]}")
    echo = start("nc", "-L", "rstrm://echo", "-c", "cat")
    db.wait_line("online")
    echo.wait_line("online")
    for line in lines:
        words = with_ports(shlex.split(line)[1:], server.getsockname()[1])
        words = ["--inspect=0" if word == "--inspect" else word for word in words]
        if "--docker" in words:
            words += ["--docker-socket", containers.path]
        publishes_db = words[:3] == ["nc", "-L", "rstrm://db"]
        if publishes_db or ("db" in words and words[0] == "forward"):
            db.stop()
        running = start(*words, cwd=directory)
        if "--check" in words or len(words) == 2 and words[0] in ("dial", "nc"):
            assert running.process.wait(20) == 0, (line, running.errors)
            continue
        published = words[0] in ("run", "forward") or words[2].startswith("rstrm://")
        running.wait_line("online" if published else "listening")
        running.stop()
        if db.process.poll() is not None:
            db = start("nc", "-L", "rstrm://db", "-R", f"127.0.0.1:{server.getsockname()[1]}")
            db.wait_line("online")
    db.stop()
    echo.stop()
    containers.stop()
    server.close()


def test_every_line_of_the_guide_works(engine, start, service, tmp_path):
    lines = guide()
    assert len(lines) >= 11
    try_lines(lines, engine, start, service, tmp_path)


@pytest.mark.parametrize("command", ["forward", "run", "dial", "nc"])
def test_every_example_works(engine, start, service, tmp_path, command):
    """Those of the help, and so of the manual's pages."""
    _, _, examples = weir.run(command, "--help").stdout.partition("\nexamples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.startswith("  weir ")]
    assert len(lines) >= 2
    try_lines(lines, engine, start, service, tmp_path)
