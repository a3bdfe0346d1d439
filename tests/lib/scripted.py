# SPDX-License-Identifier: Apache-2.0
"""An engine of rstrm/1 that does what a test says, however wrong: the agent's other side."""
import queue
import socket
import ssl
import struct
import threading

from lib import rstrm
from lib.engine import HOST, jwt

INTERVAL_MS = 5000


class Connection:
    """One of the agent's, after its first frame; those that only wait have none yet."""

    def __init__(self, connection):
        self.tls = connection
        self.tls.settimeout(20)
        self.first = None

    def send(self, data):
        self.tls.sendall(data)

    def recv_exact(self, size):
        data = b""
        while len(data) < size:
            piece = self.tls.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def write(self, member, **fields):
        self.send(rstrm.frame(rstrm.message(member, **fields)))

    def read(self):
        if self.first:
            first, self.first = self.first, None
            return first
        (length,) = struct.unpack(">I", self.recv_exact(4))
        return rstrm.parse(self.recv_exact(length))

    def expect(self, member, ignore=("heartbeat",)):
        while True:
            found, part = self.read()
            if found == member:
                return part
            assert found in ignore, f"{found}, not {member}"

    # ---- What a good engine does

    def open(self, liveness=(INTERVAL_MS, 15000), **ok):
        """Takes the control channel; the request."""
        request = self.expect("open_control_channel_req")
        if liveness:
            ok["liveness"] = {
                "heartbeat_interval_ms": liveness[0],
                "heartbeat_timeout_ms": liveness[1],
            }
        self.write(
            "open_control_channel_rsp",
            ok={"client_id": "client-1", "server_details": {"agent": "scripted"}, **ok},
        )
        return request

    def open_tunnel(self, tunnel_id="tunnel-1"):
        request = self.expect("open_tunnel_req")
        self.answer_tunnel(request, tunnel_id)
        return request

    def answer_tunnel(self, request, tunnel_id, **more):
        properties = {
            "id": tunnel_id,
            "publish": True,
            "protocol": "http",
            "hostname": f"{tunnel_id}.t.{HOST}",
            **more,
        }
        self.write(
            "open_tunnel_rsp", request_id=request.request_id, tunnel_properties=properties
        )

    def ask(self, stream_id="stream-1", tunnel_id="tunnel-1", **more):
        fields = {"secret": f"secret of {stream_id}", **more}
        self.write("proxy_conn_req", tunnel_id=tunnel_id, stream_id=stream_id, **fields)

    def reset(self):
        self.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tls.close()

    def close(self):
        self.tls.close()

    def ended(self):
        """Whether the agent has ended it; reads what was still on its way."""
        try:
            while self.tls.recv(65536):
                pass
        except OSError:
            pass
        return True


class Scripted:
    """Listens; `next` gives the connections in the order of their first frames."""

    def __init__(self, authority):
        self.host = HOST
        self.ca = str(authority.path)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert, key = authority.issue(HOST, stem="scripted", hosts=[HOST])
        self.context.load_cert_chain(cert, key)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols([rstrm.ALPN])
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(2048)
        self.port = self.listener.getsockname()[1]
        self.connections = queue.Queue()
        self.opened = []
        self.attempts = 0
        self.deaf = threading.Event()  # connections are taken, and nothing is said to them
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def token(self):
        return jwt({"sub": "somebody"})

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.attempts += 1
            self.opened.append(connection)
            if not self.deaf.is_set():
                threading.Thread(target=self._shake, args=(connection,), daemon=True).start()

    def _shake(self, connection):
        try:
            connection.settimeout(20)
            secured = self.context.wrap_socket(connection, server_side=True)
        except OSError:
            return
        self.opened.append(secured)
        connection = Connection(secured)
        try:
            connection.first = connection.read()
        except (EOFError, OSError):
            return
        self.connections.put(connection)

    def next(self, timeout=20):
        return self.connections.get(timeout=timeout)

    def channel(self, **options):
        connection = self.next()
        connection.open(**options)
        return connection

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        for connection in self.opened:
            connection.close()
