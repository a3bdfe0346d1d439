# SPDX-License-Identifier: Apache-2.0
"""A stub of the platform: it admits, refuses, waits, lies and breaks off as a test tells it."""
import http.server
import itertools
import json
import socket
import socketserver
import ssl
import struct
import threading

from lib.wait import eventually

VALIDATE = "/api/runtime/internal/relay/validate"
GATE_TIMEOUT_S = 30


class Answer:
    """What one request gets.

    body: bytes, or an object to be written as JSON. gate: a threading.Event to wait for first.
    fault: None, "reset" (RST instead of an answer), "cut" (half of the body, then the end) or
    "silence" (nothing until the relay goes away).
    """

    def __init__(self, status=200, body=b"", headers=(), gate=None, fault=None):
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = list(headers)
        self.gate = gate
        self.fault = fault


class Request:
    def __init__(self, handler, body):
        self.method = handler.command
        self.path = handler.path
        self.headers = {k.lower(): v for k, v in handler.headers.items()}
        self.raw_headers = [(k, v) for k, v in handler.headers.items()]
        self.body = body
        self.peer = handler.client_address
        cert = getattr(handler.connection, "getpeercert", lambda: None)()
        self.certificate = cert

    def json(self):
        return json.loads(self.body)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def _serve(self):
        size = int(self.headers.get("content-length", 0))
        request = Request(self, self.rfile.read(size))
        answer = self.server.stub.take(request)
        if answer.gate is not None:
            answer.gate.wait(GATE_TIMEOUT_S)
        if answer.fault == "reset":
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.close_connection = True
            self.connection.close()
            return
        if answer.fault == "silence":
            self.close_connection = True
            self.connection.settimeout(GATE_TIMEOUT_S)
            self.connection.recv(1)
            return
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if answer.fault == "cut":
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
            return
        if answer.status not in (204, 304):
            self.wfile.write(answer.body)

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # the relay gave up, or we broke off

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = _serve


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


class TlsServer(Server):
    """The handshake runs on the connection's own thread."""

    tls = None

    def finish_request(self, request, client_address):
        try:
            request.settimeout(GATE_TIMEOUT_S)
            request = self.tls.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError) as error:
            self.stub.tls_errors.append(str(error))
            return
        super().finish_request(request, client_address)


class StubPlatform:
    """Admission by token; everything else by (method, path)."""

    def __init__(self, tls=None):
        self.server = (TlsServer if tls else Server)(("127.0.0.1", 0), Handler)
        self.server.stub = self
        self.server.tls = tls
        self.port = self.server.server_port
        self.origin = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self.tokens = {}
        self.pages = {}
        self.requests = []
        self.tls_errors = []
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    # ---- What it is told

    def answering(self, answer):
        """A new token whose admission gets this answer."""
        token = f"token-{next(self.numbers):08d}"
        self.tokens[token] = answer
        return token

    def admitting(self, gate=None, **claims):
        """A new token that is admitted with these claims."""
        return self.answering(Answer(200, {"ok": True, "claims": claims}, gate=gate))

    def page(self, method, path, answer):
        """answer: an Answer, or a function from Request to Answer."""
        self.pages[method, path] = answer

    # ---- What it has seen

    def take(self, request):
        with self.lock:
            self.requests.append(request)
        if request.path == VALIDATE:
            token = request.json().get("relayToken")
            refusal = Answer(401, {"ok": False, "reason": "TOKEN_UNKNOWN"})
            return self.tokens.get(token, refusal)
        answer = self.pages.get((request.method, request.path))
        if answer is None:
            return Answer(404, {"ok": False, "reason": "NO_SUCH_PAGE"})
        return answer(request) if callable(answer) else answer

    def asked(self, token):
        """The admission requests that carried this token."""
        with self.lock:
            requests = list(self.requests)
        return [
            r for r in requests if r.path == VALIDATE and r.json().get("relayToken") == token
        ]

    def wait_asked(self, token):
        return eventually(lambda: self.asked(token), f"an admission call for {token}")

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
