# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 on a pipe, over python3-h2, for both ends of the engine."""
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions


class Peer:
    """One end of a connection; requests or answers by stream, as far as they are here."""

    def __init__(self, pipe, client):
        self.pipe = pipe
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=client, header_encoding="utf-8")
        )
        self.messages = {}
        self.refilling = True  # give the window back for what was received
        self.goaway = None
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.pipe.send(self.h2.data_to_send())

    def take(self, timeout=None):
        """What one record brings, as events. None at the end."""
        data = self.pipe.recv_record(timeout)
        if not data:
            return None
        return self.feed(data)

    def feed(self, data):
        events = self.h2.receive_data(data)
        for event in events:
            self._note(event)
        self.flush()
        return events

    def _note(self, event):
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
        stream_id = getattr(event, "stream_id", None)
        if not stream_id:
            return
        message = self.messages.setdefault(stream_id, Stream())
        if isinstance(event, (h2.events.RequestReceived, h2.events.ResponseReceived)):
            message.fields = event.headers
        elif isinstance(event, h2.events.InformationalResponseReceived):
            message.interim.append(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            message.body += event.data
            if self.refilling and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            message.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            message.ended = True
        elif isinstance(event, h2.events.StreamReset):
            message.reset = event.error_code

    def send_body(self, stream_id, data, end=True, timeout=30):
        """As the peer's windows allow."""
        deadline = time.monotonic() + timeout
        while data:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size)
            if room == 0:
                assert self.take(deadline - time.monotonic()) is not None, "the peer left"
                continue
            piece, data = data[:room], data[room:]
            self.h2.send_data(stream_id, piece)
            self.flush()
        if end:
            self.h2.end_stream(stream_id)
            self.flush()


class Stream:
    def __init__(self):
        self.fields = []
        self.interim = []
        self.body = bytearray()
        self.trailers = []
        self.ended = False
        self.reset = None

    def __getitem__(self, name):
        return dict(self.fields).get(name)

    @property
    def status(self):
        return int(self[":status"])


class Visitor(Peer):
    def __init__(self, site):
        super().__init__(site.engine.visit(site.host, alpn=["h2"]), client=True)
        self.site = site

    def ask(self, path="/", method="GET", fields=(), end=True):
        """Sends a head; the stream's number."""
        stream_id = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", self.site.host),
                (":path", path), *fields]
        self.h2.send_headers(stream_id, head, end_stream=end)
        self.flush()
        return stream_id

    def answer(self, stream_id, timeout=15):
        """Waits until the stream has ended, one way or the other."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.messages.get(stream_id)
            if message and (message.ended or message.reset is not None):
                return message
            assert self.take(deadline - time.monotonic()) is not None, "the engine left"

    def get(self, path="/", **named):
        return self.answer(self.ask(path, **named))


def service(app, prepare=None):
    """A handler for Site.serve: app(peer, stream_id, request) for each complete request."""

    def handle(stream):
        peer = Peer(stream, client=False)
        if prepare is not None:
            prepare(peer)
        told = set()
        while True:
            try:
                if peer.take(60) is None:
                    return
            except h2.exceptions.ProtocolError:
                return  # the library closes for good after a GOAWAY of its own
            for stream_id, request in list(peer.messages.items()):
                if request.ended and stream_id not in told:
                    told.add(stream_id)
                    app(peer, stream_id, request)
                    peer.flush()

    return handle


def answer(peer, stream_id, body=b"", status=200, fields=(), trailers=()):
    peer.h2.send_headers(stream_id, [(":status", str(status)), *fields])
    peer.send_body(stream_id, body, end=not trailers)
    if trailers:
        peer.h2.send_headers(stream_id, trailers, end_stream=True)
        peer.flush()
