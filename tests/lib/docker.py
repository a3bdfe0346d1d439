# SPDX-License-Identifier: Apache-2.0
"""An engine of containers as `weir run --docker` sees it: GET /containers/json and GET /events over a
Unix socket. `containers` is what it lists; `changed` tells who follows."""
import http.server
import json
import os
import queue
import socketserver
import threading


def container(name, ip="127.0.0.1", network="bridge", **labels):
    """labels: of the tunnel `name`, with _ for each dot or dash; or "whole" ones with dots."""
    return {
        "Id": f"id-{name}",
        "Names": [f"/{name}"],
        "State": "running",
        "Labels": labels,
        "HostConfig": {"NetworkMode": network},
        "NetworkSettings": {"Networks": {network: {"IPAddress": ip}}},
    }


class Docker:
    def __init__(self, directory):
        self.path = str(directory / "docker.sock")
        self.containers = []
        self.asked = []  # the targets of all requests
        self.followers = []
        self.server = None
        self.start()

    def start(self):
        docker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                docker.asked.append(self.path)
                self.close_connection = True
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                if self.path.startswith("/events?"):
                    self.follow()
                    return
                body = json.dumps(docker.containers).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def follow(self):
                events = queue.Queue()
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                docker.followers.append(events)
                for event in iter(events.get, None):
                    line = json.dumps(event).encode() + b"\n"
                    try:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        self.wfile.flush()
                    except OSError:
                        return

            def log_message(self, *_):
                pass

            def address_string(self):
                return "unix"

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def changed(self, *containers):
        """These are what there is now."""
        self.containers = list(containers)
        for events in self.followers:
            events.put({"Type": "container", "Action": "start"})

    def stop(self):
        followers, self.followers = self.followers, []
        for events in followers:
            events.put(None)
        self.server.shutdown()
        self.server.server_close()
        os.unlink(self.path)
