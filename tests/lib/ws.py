# SPDX-License-Identifier: Apache-2.0
"""A WebSocket peer on a bare socket: it can do everything wrong, at any byte."""
import base64
import hashlib
import os
import socket
import struct
import time
from urllib.parse import urlencode

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
TIMEOUT_S = 10
MASK = b"\x37\xfa\x21\x3d"

opened = []  # sockets of the current test; closed after it


class Refused(Exception):
    """The upgrade was answered with something other than 101. status 0: no byte came."""

    def __init__(self, status, headers, body, raw):
        super().__init__(f"refused: {status} {headers} {body!r}")
        self.status = status
        self.headers = headers
        self.body = body
        self.raw = raw


class Closed(Exception):
    """The other side has ended the TCP connection. reset: by RST."""

    def __init__(self, reset=False):
        super().__init__("reset" if reset else "closed")
        self.reset = reset


class Frame:
    def __init__(self, first, payload, masked):
        self.fin = bool(first & 0x80)
        self.rsv = first >> 4 & 7
        self.opcode = first & 15
        self.payload = payload
        self.masked = masked

    def __repr__(self):
        return f"Frame(opcode={self.opcode}, fin={self.fin}, {self.payload[:80]!r})"


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def mask(payload, key=MASK):
    if not any(key):
        return payload
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    size = len(payload)
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def frame(opcode, payload=b"", fin=True, rsv=0, key=MASK, length=None):
    """One frame. key None: not masked. length 7, 16, 64: form of the length; None: shortest."""
    if isinstance(payload, str):
        payload = payload.encode()
    size = len(payload)
    form = length or (7 if size < 126 else 16 if size < 65536 else 64)
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if key is not None else 0
    if form == 7:
        head += bytes([bit | size])
    elif form == 16:
        head += bytes([bit | 126]) + struct.pack(">H", size)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", size)
    return head + (payload if key is None else key + mask(payload, key))


def close_payload(code, reason=""):
    return struct.pack(">H", code) + reason.encode()


def upgrade_request(path, headers=(), key=None, drop=(), method="GET", version="13",
                    host="relay.test"):
    """The bytes of an upgrade. drop: names of headers to leave out."""
    lines = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key or base64.b64encode(os.urandom(16)).decode()),
        ("Sec-WebSocket-Version", version),
    ]
    lines = [line for line in lines if line[0].lower() not in drop] + list(headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1")


def path_of(role, workspace, target=None, **more):
    query = {"role": role, "workspaceId": workspace}
    if target is not None:
        query["runtimeTargetId"] = target
    return "/ws?" + urlencode({**query, **more})


class Peer:
    """A TCP connection with a buffer."""

    def __init__(self, host, port, source=None, tls=None, receive_buffer=None):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            self.sock.bind((source, 0))
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.buffer = b""
        opened.append(self)

    def send_raw(self, data):
        self.sock.sendall(data)

    def send_split(self, data, step=1):
        """In pieces of step bytes, each in a segment of its own as far as TCP lets us."""
        for at in range(0, len(data), step):
            self.sock.sendall(data[at : at + step])

    def fill(self):
        try:
            more = self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            raise Closed(reset=True) from None
        except socket.timeout:
            raise AssertionError(f"nothing came within {self.sock.gettimeout()} s") from None
        if not more:
            raise Closed()
        self.buffer += more

    def read(self, size):
        while len(self.buffer) < size:
            self.fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        return lines[0], headers

    def read_to_end(self):
        """What is left until the other side ends. A reset counts as an end."""
        try:
            while True:
                self.fill()
        except Closed:
            data, self.buffer = self.buffer, b""
            return data

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def reset(self):
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class WebSocket(Peer):
    """connect() has sent the upgrade and read the 101."""

    def upgrade(self, path, token=None, headers=(), early=b"", key=None, **request):
        key = key or base64.b64encode(os.urandom(16)).decode()
        if token is not None:
            headers = [("Authorization", f"Bearer {token}"), *headers]
        self.send_raw(upgrade_request(path, headers, key=key, **request) + early)
        self.read_switch(key)

    def read_switch(self, key):
        try:
            start, self.headers = self.read_head()
        except Closed:
            raise Refused(0, {}, b"", self.buffer) from None
        status = int(start.split(" ")[1])
        if status != 101:
            body = self.read_to_end()
            raise Refused(status, self.headers, body, start)
        assert start == "HTTP/1.1 101 Switching Protocols", start
        assert self.headers["upgrade"].lower() == "websocket"
        assert self.headers["connection"].lower() == "upgrade"
        assert self.headers["sec-websocket-accept"] == accept_of(key)
        assert "sec-websocket-extensions" not in self.headers

    # ---- Sending

    def send_frame(self, opcode, payload=b"", **form):
        self.send_raw(frame(opcode, payload, **form))

    def send(self, text):
        self.send_frame(TEXT, text)

    def send_close(self, code=1000, reason=""):
        self.send_frame(CLOSE, close_payload(code, reason))

    # ---- Receiving

    def recv_frame(self):
        first, second = self.read(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self.read(2))[0]
            assert size >= 126, "not the shortest form"
        elif size == 127:
            size = struct.unpack(">Q", self.read(8))[0]
            assert size >= 65536, "not the shortest form"
        got = Frame(first, self.read(size), bool(second & 0x80))
        assert not got.masked, "a server must not mask"
        assert got.rsv == 0
        return got

    def recv(self):
        """The next data frame; pings are answered on the way."""
        while True:
            got = self.recv_frame()
            if got.opcode == PING:
                self.send_frame(PONG, got.payload)
            elif got.opcode != PONG:
                return got

    def recv_text(self):
        got = self.recv()
        assert got.opcode == TEXT and got.fin, got
        return got.payload.decode()

    def expect_close(self, code=None, reason=None, answer=True):
        """The close frame and the end of the connection. Frames before it are an error."""
        got = self.recv()
        assert got.opcode == CLOSE, got
        seen = struct.unpack(">H", got.payload[:2])[0] if got.payload else 1005
        text = got.payload[2:].decode()
        if code is not None:
            assert (seen, text) == (code, reason if reason is not None else ""), (seen, text)
        if answer:
            try:
                self.send_frame(CLOSE, got.payload)
            except OSError:
                pass
            assert self.read_to_end() == b""
        return seen, text

    def expect_silence_until(self, reply):
        """A ping's answer comes before anything else: what was sent earlier caused nothing."""
        self.send_frame(PING, reply)
        got = self.recv_frame()
        assert got.opcode == PONG and got.payload == reply, got

    def expect_end(self):
        """The TCP connection ends without a close frame."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            try:
                got = self.recv_frame()
            except Closed:
                return
            assert got.opcode in (PING, PONG), got
            assert time.monotonic() < end

    def finish(self):
        """A clean close from our side."""
        self.send_close()
        got = self.recv()
        while got.opcode != CLOSE:
            got = self.recv()
        self.close()


def close_all():
    while opened:
        opened.pop().close()
