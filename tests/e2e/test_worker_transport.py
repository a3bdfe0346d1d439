# SPDX-License-Identifier: Apache-2.0
"""Workers' HTTP requests through the relay (spec 7.8, 14.5)."""
import json
import threading

import pytest

from lib import frames as f
from lib.platform import Answer

RELAY_ENV = {
    "RELAY_INTERNAL_KEY": "internal-key-of-the-tests",
    "RELAY_WORKER_TIMEOUT_MS": "500",
    "RELAY_WORKER_MAX_RESPONSE_BYTES": "20000",
    "RELAY_WORKER_MAX_INFLIGHT": "3",
}


class Worker:
    def __init__(self, world, executor="me_1"):
        self.world = world
        self.peer = world.worker(executor)
        self.base = f"/api/runtime/workspaces/{world.workspace}/managed-executors/{executor}"

    def send(self, path, **request):
        self.peer.send(f.text(f.worker_request(path, **request)))

    def answer(self):
        return json.loads(self.peer.recv_text())

    def ask(self, path, **request):
        self.send(path, **request)
        return self.answer()

    def page(self, method, path, answer):
        self.world.platform.page(method, self.base + path, answer)


@pytest.fixture(name="worker")
def worker_fixture(world):
    return Worker(world)


def test_get(worker):
    answer = Answer(200, b'{"ok":true}', [("Content-Type", "application/json"), ("X-A", "1")])
    worker.page("GET", "/tasks?x=1", answer)
    seen = worker.ask(worker.base + "/tasks?x=1", request="w7")
    assert list(seen) == ["type", "requestId", "status", "headers", "body"]
    assert seen["type"] == "viewport.worker_transport.response/v1"
    assert (seen["requestId"], seen["status"], seen["body"]) == ("w7", 200, '{"ok":true}')
    assert seen["headers"]["content-type"] == "application/json"
    assert seen["headers"]["x-a"] == "1"


def test_the_bare_path_is_allowed(worker):
    worker.page("GET", "", Answer(200, b"root"))
    assert worker.ask(worker.base)["body"] == "root"
    worker.page("GET", "/", Answer(200, b"slash"))
    assert worker.ask(worker.base + "/")["body"] == "slash"


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("body", ["", "plain", '{"a":"\\u0001\\"ä😀"}', "x" * 50000])
def test_body_passes_byte_for_byte(worker, method, body):
    got = []

    def page(request):
        got.append(request)
        return Answer(200, request.body[:5000])

    worker.page(method, "/b", page)
    seen = worker.ask(worker.base + "/b", method=method, body=body)
    assert got[0].body == body.encode()
    assert got[0].headers["content-length"] == str(len(body.encode()))
    assert seen["body"] == body[:5000]


def test_escaped_body_and_path(worker):
    got = []

    def page(request):
        got.append(request.body)
        return Answer(200, b"fine")

    worker.page("POST", "/e", page)
    worker.peer.send(
        '{"type":"viewport.worker_transport.request/v1","requestId":"\\u0077","method":"POST",'
        f'"path":"{worker.base}\\/e","body":"\\u00e4\\n\\ud83d\\ude00"}}'
    )
    seen = worker.answer()
    assert (seen["requestId"], seen["body"]) == ("w", "fine")
    assert got == ["ä\n😀".encode()]


def test_escaped_method(worker):
    worker.page("GET", "/m", Answer(200, b"fine"))
    worker.peer.send(
        '{"type":"viewport.worker_transport.request/v1","requestId":"w","method":"G\\u0045T",'
        f'"path":"{worker.base}/m"}}'
    )
    assert worker.answer()["body"] == "fine"


def test_request_id_comes_back_unchanged(worker):
    worker.page("GET", "/id", Answer(200, b"fine"))
    for request in (" padded ", 'q"\\', "ä\u0000b", "x" * 1000):
        assert worker.ask(worker.base + "/id", request=request)["requestId"] == request


def test_missing_body_is_empty(worker):
    got = []

    def page(request):
        got.append(request)
        return Answer(200, b"fine")

    worker.page("POST", "/none", page)
    worker.ask(worker.base + "/none", method="POST")
    assert got[0].body == b""


def test_get_has_no_body(worker):
    got = []

    def page(request):
        got.append(request)
        return Answer(200, b"fine")

    worker.page("GET", "/get", page)
    worker.ask(worker.base + "/get", method="GET", body="not sent")
    assert got[0].body == b""
    assert "transfer-encoding" not in got[0].headers


PASSED = """authorization accept content-type x-viewport-run-lease x-viewport-assignment-claim
x-viewport-worker-fingerprint x-viewport-worker-timestamp x-viewport-worker-nonce
x-viewport-worker-body-sha256 x-viewport-worker-signature x-viewport-server-id""".split()


def test_request_headers(worker):
    got = []

    def page(request):
        got.append(request)
        return Answer(200, b"fine")

    worker.page("POST", "/h", page)
    headers = {name.title(): f"value of {name}" for name in PASSED}
    dropped = {
        "Cookie": "c",
        "X-Relay-Internal-Key": "forged",
        "Host": "elsewhere",
        "X-Forwarded-For": "1.2.3.4",
        "Transfer-Encoding": "chunked",
        "X-Other": "o",
    }
    worker.ask(
        worker.base + "/h",
        method="POST",
        body="x",
        headers={**headers, **dropped, "Accept ": "no", "Accept-Language": "de"},
    )
    seen = got[0].headers
    for name in PASSED:
        assert seen[name] == f"value of {name}"
    for name in ("cookie", "x-relay-internal-key", "x-forwarded-for", "x-other", "accept-language"):
        assert name not in seen
    assert seen["host"] == f"127.0.0.1:{worker.world.platform.port}"


def test_header_values_that_are_no_strings_are_left_out(worker):
    got = []

    def page(request):
        got.append(request)
        return Answer(200, b"fine")

    worker.page("GET", "/v", page)
    worker.ask(worker.base + "/v", headers={"x-viewport-server-id": 7, "x-viewport-run-lease": None})
    assert "x-viewport-server-id" not in got[0].headers


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "a\nb", "a\u0000b"])
def test_header_values_cannot_inject(worker, value):
    got = []

    def page(request):
        got.append(request)
        return Answer(200, b"fine")

    worker.page("GET", "/inject", page)
    seen = worker.ask(worker.base + "/inject", headers={"x-viewport-run-lease": value})
    assert seen["status"] in (200, 502)
    assert all("x-injected" not in request.headers for request in got)


def test_response_headers(worker):
    hidden = [("Set-Cookie", "s"), ("Authorization", "a"), ("Cookie", "c"), ("Keep-Alive", "k")]
    worker.page("GET", "/r", Answer(200, b"fine", [*hidden, ("X-Kept", "ä".encode().decode("latin-1"))]))
    seen = worker.ask(worker.base + "/r")["headers"]
    for name in ("set-cookie", "authorization", "cookie", "keep-alive", "content-length"):
        assert name not in seen
    assert "x-kept" in seen
    assert all(name == name.lower() for name in seen)


@pytest.mark.parametrize("status", [201, 204, 304, 400, 404, 500, 503])
def test_status_passes(worker, status):
    body = b"" if status in (204, 304) else b"text"
    worker.page("GET", "/s", Answer(status, body))
    seen = worker.ask(worker.base + "/s")
    assert (seen["status"], seen["body"]) == (status, body.decode())


def test_redirect_is_not_followed(worker):
    worker.page("GET", "/from", Answer(302, b"moved", [("location", worker.base + "/to")]))
    worker.page("GET", "/to", Answer(200, b"no"))
    seen = worker.ask(worker.base + "/from")
    assert (seen["status"], seen["body"]) == (302, "moved")


DENIED = [
    "/api/runtime/workspaces/other/managed-executors/me_1/x",
    "/api/runtime/workspaces/{w}/managed-executors/me_2",
    "/api/runtime/workspaces/{w}/managed-executors/me_1x",
    "/api/runtime/workspaces/{w}/managed-executors/me_1?x=1",
    "/api/runtime/workspaces/{w}/managed-executors/me_1#x",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/#x",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/../me_2",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/..",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/./x",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/%2e%2e/me_2",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/%2E%2e/me_2",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/.%2e/me_2",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/x%2f..%2fy",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/..\\me_2",
    "/api/runtime/workspaces/{w}/managed-executors/me_1\\x",
    "/api/runtime/workspaces/{w}/managed-executors/me_1//x",
    "/api/runtime/workspaces/{w}//managed-executors/me_1/x",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/x\r\ny",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/x y",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/\u0000",
    "/api/runtime/workspaces/{w}/managed-executors/me_1/\u0085",
    "/api/runtime/workspaces/",
]


@pytest.mark.parametrize("path", DENIED)
def test_path_denied(worker, path):
    before = len(worker.world.platform.requests)
    rejected = worker.world.relay.metric("relay_worker_transport_rejected_total")
    seen = worker.ask(path.format(w=worker.world.workspace))
    assert seen["status"] == 403
    assert seen["headers"] == {"content-type": "application/json"}
    assert seen["body"] == '{"ok":false,"reason":"WORKER_TRANSPORT_PATH_DENIED"}'
    assert len(worker.world.platform.requests) == before
    assert worker.world.relay.metric("relay_worker_transport_rejected_total") == rejected + 1


def test_worker_without_executor_claim(world):
    peer = world.join("worker", target=None)
    peer.send(
        f.text(
            f.worker_request(f"/api/runtime/workspaces/{world.workspace}/managed-executors/me_1")
        )
    )
    assert json.loads(peer.recv_text())["status"] == 403


def test_ids_are_encoded(world):
    world.workspace = "a:b"
    peer = world.worker("me 1/ä")
    path = "/api/runtime/workspaces/a%3Ab/managed-executors/me%201%2F%C3%A4"
    peer.send(f.text(f.worker_request("/api/runtime/workspaces/a:b/managed-executors/me 1/ä")))
    assert json.loads(peer.recv_text())["status"] == 403
    world.workspace = "a:b"
    plain = world.worker("me:1")
    path = "/api/runtime/workspaces/a%3Ab/managed-executors/me%3A1"
    world.platform.page("GET", path + "/x", Answer(200, b"fine"))
    plain.send(f.text(f.worker_request(path + "/x")))
    assert json.loads(plain.recv_text())["body"] == "fine"


FAILURES = [
    Answer(200, b"", fault="reset"),
    Answer(200, b"x" * 100, fault="cut"),
    Answer(200, b"", fault="silence"),
    Answer(200, b"x" * 20001),
]


@pytest.mark.parametrize("answer", FAILURES, ids=["reset", "cut", "silence", "oversize"])
def test_failure(worker, answer):
    mark = worker.world.relay.log.mark()
    before = worker.world.relay.metric("relay_worker_transport_forward_failed_total")
    worker.page("GET", "/f", answer)
    seen = worker.ask(worker.base + "/f")
    assert seen["status"] == 502
    assert seen["body"] == '{"ok":false,"reason":"WORKER_TRANSPORT_FORWARD_FAILED"}'
    worker.world.relay.log.wait("worker_transport_forward_failed", mark)
    after = worker.world.relay.metric("relay_worker_transport_forward_failed_total")
    assert after == before + 1


def test_answers_in_order_of_completion(worker):
    gates = [threading.Event() for _ in range(3)]
    for n, gate in enumerate(gates):
        worker.page("GET", f"/{n}", Answer(200, str(n).encode(), gate=gate))
        worker.send(f"{worker.base}/{n}", request=f"w{n}")
    for n in (1, 2, 0):
        gates[n].set()
        assert worker.answer()["requestId"] == f"w{n}"


def test_too_many_at_once(worker):
    gate = threading.Event()
    worker.page("GET", "/slow", Answer(200, b"late", gate=gate))
    for n in range(4):
        worker.send(worker.base + "/slow", request=f"w{n}")
    seen = worker.answer()
    assert (seen["requestId"], seen["status"]) == ("w3", 429)
    gate.set()
    assert {worker.answer()["requestId"] for _ in range(3)} == {"w0", "w1", "w2"}


def test_worker_leaves_while_it_waits(worker):
    gate = threading.Event()
    worker.page("GET", "/slow", Answer(200, b"late", gate=gate))
    for n in range(3):
        worker.send(worker.base + "/slow", request=f"w{n}")
    worker.peer.expect_silence_until(b"all are on their way")
    worker.peer.reset()
    worker.world.relay.wait_metric("relay_connections_total", 0)
    gate.set()


INVALID = [
    "{}",
    "x",
    f.text(f.worker_request("/elsewhere")),
    f.text(f.worker_request("/api/runtime/workspaces/w", method="DELETE")),
    f.text(f.worker_request("/api/runtime/workspaces/w", method="get")),
    f.text(f.worker_request("/api/runtime/workspaces/w", headers=[])),
    f.text(f.worker_request("/api/runtime/workspaces/w", headers=None)),
    f.text(f.worker_request("/api/runtime/workspaces/w", body=1)),
    f.text(f.worker_request("/api/runtime/workspaces/w", body=None)),
    f.text(f.worker_request("/api/runtime/workspaces/w", request=" ")),
    f.text(f.e2ee()),
    f.text(f.response_v3()),
]


def test_invalid_frames_are_met_with_silence(worker):
    mark = worker.world.relay.log.mark()
    before = worker.world.relay.metric("relay_frames_daemon_rejected_total")
    for text in INVALID:
        worker.peer.send(text)
    worker.peer.expect_silence_until(b"no answer")
    after = worker.world.relay.metric("relay_frames_daemon_rejected_total")
    assert after == before + len(INVALID)
    worker.world.relay.log.wait(
        "worker_frame_rejected", mark, reason="invalid_worker_transport_frame"
    )
