# SPDX-License-Identifier: Apache-2.0
"""An agent and a dialer of rstrm/1, written from section 4 of docs/spec/engine.md.

Both do one step for each call, so that a test can do them in the wrong order, twice or never.
`Agent.serve` lets a thread do what a good agent does.
"""
import struct
import threading

from lib import rstrm, tls

VERSION = "1.4.5"
DETAILS = {
    "agent": "weir-tests",
    "channel": "sdk",
    "version": "1.0",
    "os": "linux",
    "arch": "x86_64",
}


def details(token, **changes):
    """ClientDetails as a dict. A change of None leaves the field out."""
    full = {**DETAILS, "token": token, "protocol_version": VERSION, **changes}
    return {k: v for k, v in full.items() if v is not None}


class Framed(tls.Pipe):
    """A connection of the agent protocol."""

    def __init__(self, engine, server_name=None, **options):
        options.setdefault("alpn", [rstrm.ALPN])
        super().__init__(engine.address, server_name or engine.host, engine.ca, **options)

    def write(self, member, **fields):
        self.send(rstrm.frame(rstrm.message(member, **fields)))

    def read(self, timeout=None):
        """(member, message) of the next frame; empty ones are passed over."""
        while True:
            (length,) = struct.unpack(">I", self.recv_exact(4, timeout))
            member, part = rstrm.parse(self.recv_exact(length, timeout))
            if member:
                return member, part

    def expect(self, member, timeout=None):
        found, part = self.read(timeout)
        assert found == member, f"{found}, not {member}: {part}"
        return part


class Refused(Exception):
    """An error of the protocol: code and text."""

    def __init__(self, error):
        super().__init__(f"{error.code}: {error.message.value}")
        self.code = error.code
        self.text = error.message.value


def refusal(call, *args, **fields):
    """Calls, and gives the code it was refused with."""
    try:
        call(*args, **fields)
    except Refused as refused:
        return refused.code
    raise AssertionError("it was not refused")


class Agent(Framed):
    """A control channel. interval_ms asks for the negotiated liveness."""

    def __init__(self, engine, token=None, interval_ms=None, version=VERSION, **options):
        super().__init__(engine, **options)
        self.engine = engine
        self.requests = 0
        self.lock = threading.Lock()  # serve's threads write too
        request = {
            "client_details": details(
                engine.token() if token is None else token, protocol_version=version
            )
        }
        if interval_ms is not None:
            request["liveness"] = {"heartbeat_interval_ms": interval_ms}
        self.write("open_control_channel_req", **request)
        answer = self.expect("open_control_channel_rsp")
        if answer.HasField("error"):
            raise Refused(answer.error)
        self.opened = answer.ok
        self.client_id = answer.ok.client_id

    def write(self, member, **fields):
        with self.lock:
            super().write(member, **fields)

    # ---- Tunnels

    def ask_tunnel(self, **properties):
        """Sends the request; its id."""
        self.requests += 1
        request_id = f"request-{self.requests}"
        self.write("open_tunnel_req", request_id=request_id, tunnel_properties=properties)
        return request_id

    def told_tunnel(self, request_id):
        answer = self.expect("open_tunnel_rsp")
        assert answer.request_id == request_id
        if answer.HasField("error"):
            raise Refused(answer.error)
        return answer.tunnel_properties

    def tunnel(self, **properties):
        """An open tunnel's effective properties."""
        return self.told_tunnel(self.ask_tunnel(**properties))

    def close_tunnel(self, tunnel_id):
        self.write("close_tunnel_req", tunnel_id=tunnel_id)
        assert self.expect("close_tunnel_rsp").tunnel_id == tunnel_id

    def close_channel(self):
        self.write("close_control_channel_req")
        self.expect("close_control_channel_rsp")

    # ---- Streams

    def next_stream(self, timeout=None):
        return self.expect("proxy_conn_req", timeout)

    def connect_back(self, request, zero_rtt=True, secret=None, stream_id=None, more=b"", **options):
        """The connection the engine asked for; `more` follows the request in the same record."""
        stream = Framed(self.engine, **options)
        envelope = rstrm.message(
            "proxy_req",
            client_details=details(request.secret.value if secret is None else secret),
            stream_id=request.stream_id if stream_id is None else stream_id,
            zero_rtt=zero_rtt,
        )
        stream.send(rstrm.frame(envelope) + more)
        return stream

    def accept(self, request):
        self.write("proxy_conn_rsp", stream_id=request.stream_id)

    def refuse(self, request, code=4000, text="not today"):
        self.write(
            "proxy_conn_rsp",
            stream_id=request.stream_id,
            error={"code": code, "message": text},
        )

    def bound(self, **options):
        """Answers the next request as a good agent does; (request, stream)."""
        request = self.next_stream()
        stream = self.connect_back(request, **options)
        self.accept(request)
        return request, stream

    # ---- A good agent in a thread

    def serve(self, handler):
        """Gives every stream to handler(stream) in a thread of its own, until the channel ends."""

        def one(request):
            stream = None
            try:
                stream = self.connect_back(request)
                self.accept(request)
                handler(stream)
            except (EOFError, OSError):
                pass  # the visitor has gone, or the channel
            if stream is not None:
                stream.close()

        def loop():
            while True:
                try:
                    member, part = self.read(timeout=120)
                except (EOFError, OSError):
                    return
                if member == "proxy_conn_req":
                    threading.Thread(target=one, args=(part,), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()


def dial(engine, target, token=None, zero_rtt=False, more=b"", **fields):
    """A dial connection after its request, whose record `more` shares. Nothing is read."""
    dialer = Framed(engine)
    envelope = rstrm.message(
        "stream_req",
        client_details=details(engine.token() if token is None else token),
        tunnel_id_name=target,
        zero_rtt=zero_rtt,
        **fields,
    )
    dialer.send(rstrm.frame(envelope) + more)
    return dialer


# ---- Services behind a tunnel


def echo(stream):
    """Every byte back, and the end behind them."""
    while True:
        data = stream.recv_record(60)
        if not data:
            stream.send_notify()
            return
        stream.send(data)


def http_echo(stream):
    """One request; its head comes back as the body."""
    head = stream.recv_until(b"\r\n\r\n", 60)
    stream.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
        % (len(head), head)
    )
    stream.recv_all(60)
