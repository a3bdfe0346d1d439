# SPDX-License-Identifier: Apache-2.0
"""A target that counts its checks itself, by service."""
import http.server
import threading
import time


class Counted:
    """GET /NAME answers 200, or 503 while NAME is in `sick`; `at(NAME)` are the times of arrival."""

    def __init__(self):
        self.times = {}
        self.sick = set()
        self.lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path[1:]
                with outer.lock:
                    outer.times.setdefault(name, []).append(time.monotonic())
                self.send_response(503 if name in outer.sick else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def checks(self, count, interval):
        return {f"s{i}": {"type": "http", "url": f"http://127.0.0.1:{self.port}/s{i}",
                          "interval": interval, "timeout": interval} for i in range(count)}

    def at(self, name, since=0.0):
        with self.lock:
            return [t for t in self.times.get(name, []) if t >= since]

    def names(self):
        with self.lock:
            return sorted(self.times)

    def gaps(self, since, until=None):
        """The longest time without a check of each service, from since on."""
        until = time.monotonic() if until is None else until
        longest = {}
        for name in self.names():
            marks = [since, *self.at(name, since), until]
            longest[name] = max(b - a for a, b in zip(marks, marks[1:]))
        return longest

    def close(self):
        self.server.shutdown()
        self.server.server_close()
