# SPDX-License-Identifier: Apache-2.0
"""`weir forward` under test: its lines, its words to the person, its end."""
import http.server
import json
import signal
import socketserver
import subprocess
import threading

from lib import weir
from lib.wait import eventually


class Forward:
    """A running `weir forward`. Its output is JSON, unless an argument says otherwise."""

    def __init__(
        self, engine, *args, token=None, output="json", address="127.0.0.1", within=(), env=None
    ):
        self.process = subprocess.Popen(
            [
                *within,
                weir.binary(),
                "forward",
                "--engine",
                f"{address}:{engine.port}",
                "--engine-tls-server-name",
                engine.host,
                "--engine-tls-ca-file",
                engine.ca,
                *(["-o", output] if output else []),
                *map(str, args),
            ],
            env={
                **weir.base_environment(),
                "RSTREAM_AUTHENTICATION_TOKEN": token or engine.token(),
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self.errors = []
        self.threads = [
            threading.Thread(target=self._read, args=where, daemon=True)
            for where in (
                (self.process.stdout, self.lines),
                (self.process.stderr, self.errors),
            )
        ]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))
        stream.close()

    def told(self):
        """The objects it has printed."""
        return [json.loads(line) for line in list(self.lines)]

    def statuses(self):
        return [entry["status"] for entry in self.told() if "status" in entry]

    def wait_status(self, status, count=1):
        """The count-th status that begins so."""
        found = []

        def seen():
            found[:] = [e for e in self.told() if e.get("status", "").startswith(status)]
            return len(found) >= count

        eventually(seen, f"status {status}, {count} times; {self.lines} {self.errors}")
        return found[count - 1]

    def online(self, count=1):
        return self.wait_status("online", count)

    def said(self, words):
        """Waits for a line on standard error."""
        eventually(lambda: any(words in line for line in list(self.errors)), words)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=20):
        code = self.process.wait(timeout)
        for thread in self.threads:
            thread.join(5)
        text = "\n".join(self.errors)
        for word in ("Sanitizer", "runtime error", "broken invariant"):
            assert word not in text, text
        return code

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"exit code {code}: {self.errors}"

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)


class Service:
    """A local HTTP service that says what it was asked."""

    def __init__(self, port=0, address="127.0.0.1"):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):  # pylint: disable=invalid-name
                body = f"you asked for {self.path}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):  # pylint: disable=arguments-differ
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Server((address, port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
