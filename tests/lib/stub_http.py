# SPDX-License-Identifier: Apache-2.0
"""A server that answers as a test says: StubHttp(answer, context) calls answer(request) in a thread
for each request. It gets (method, path, headers, body) and gives (status, headers, body) with the
body as bytes, or an iterator of bytes that is sent as it comes; None closes without an answer."""
import dataclasses
import http.server
import json
import ssl
import threading
import time

from lib.engine import jwt


@dataclasses.dataclass
class Request:
    method: str
    path: str
    headers: dict
    body: bytes


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # a connection too many would be tried again a second later


class StubHttp:
    def __init__(self, answer, context=None):
        self.answer = answer
        self.requests = []
        self.lock = threading.Lock()
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                length = int(self.headers.get("Content-Length", 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                request = Request(self.command, self.path, headers, self.rfile.read(length))
                with stub.lock:
                    stub.requests.append(request)
                given = stub.answer(request)
                self.close_connection = True
                if given is None:
                    return
                status, fields, body = given
                self.send_response(status)
                for key, value in fields.items():
                    self.send_header(key, value)
                if isinstance(body, bytes):
                    self.send_header("Content-Length", str(len(body)))
                    body = [body]
                self.send_header("Connection", "close")
                self.end_headers()
                for part in body:
                    self.wfile.write(part)
                    self.wfile.flush()

            do_GET = do_POST = serve

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass  # the client has gone

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def seen(self):
        with self.lock:
            return list(self.requests)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


class StubEngine(StubHttp):
    """Stands in for an engine that holds what a test says; over TLS, as lib.cli.Cli wants one.
    GET /api/sse gives what `feed` yields."""

    def __init__(self, authority, tunnels=(), clients=(), feed=None):
        self.host = "edge.test"
        self.ca = str(authority.path)
        self.tunnels = list(tunnels)
        self.clients = list(clients)
        self.feed = feed
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue(self.host, "stub-engine", hosts=[self.host]))
        super().__init__(self.serve, context)

    def token(self, **claims):
        return jwt({"exp": int(time.time()) + 3600, **claims})

    def serve(self, request):
        path = request.path.partition("?")[0]
        if path == "/api/sse" and self.feed is not None:
            return 200, {"Content-Type": "text/event-stream"}, self.feed()
        lists = {"/api/tunnels": self.tunnels, "/api/clients": self.clients}
        if path not in lists:
            return 404, {}, b'{"error": "there is no such page"}'
        return 200, {"Content-Type": "application/json"}, json.dumps(lists[path]).encode()


def sse(event):
    return b"data: " + json.dumps(event).encode() + b"\n\n"
