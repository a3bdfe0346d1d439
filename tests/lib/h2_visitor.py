# SPDX-License-Identifier: Apache-2.0
"""A visitor who speaks HTTP/2, over python3-h2: one connection, events by stream."""
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions


class Answer:
    def __init__(self):
        self.status = None
        self.headers = {}
        self.informational = []
        self.body = b""
        self.trailers = {}
        self.ended = False
        self.reset = None


class Visitor:
    """What is not read stays in the connection; read() makes progress until a condition holds."""

    def __init__(self, engine, server_name, window=None, auto_window=True, **options):
        self.engine = engine
        self.pipe = engine.visit(server_name, alpn=["h2"], **options)
        assert self.pipe.protocol == "h2"
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.auto_window = auto_window
        self.h2.initiate_connection()
        if window is not None:
            self.h2.update_settings({4: window})
        self.flush()
        self.answers = {}
        self.goaway = None
        self.settings = None
        self.closed = False

    def flush(self):
        self.pipe.send(self.h2.data_to_send())

    def request(self, authority, path="/", method="GET", headers=(), body=None, end=True):
        """Sends a request; its stream. body None: none."""
        stream = self.h2.get_next_available_stream_id()
        fields = [
            (":method", method),
            (":scheme", "https"),
            (":authority", authority),
            (":path", path),
        ]
        return self.raw_request([*fields, *headers], body, end, stream)

    def raw_request(self, fields, body=None, end=True, stream=None):
        stream = stream or self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, fields, end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        self.h2.send_data(stream, data, end_stream=end)
        self.flush()

    def _take(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None), Answer())
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = dict(event.headers)
            answer.status = int(answer.headers[":status"])
        elif isinstance(event, h2.events.InformationalResponseReceived):
            answer.informational.append(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.auto_window:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings = event.changed_settings

    def read(self, done, timeout=10):
        """Takes what comes until done() holds or the connection ends; what done() says then."""
        deadline = time.monotonic() + timeout
        while not done():
            data = self.pipe.recv_record(max(deadline - time.monotonic(), 0.01))
            if not data:
                self.closed = True
                return done()
            try:
                for event in self.h2.receive_data(data):
                    self._take(event)
            except h2.exceptions.ProtocolError:
                self.closed = True
                return done()
            self.flush()
        return done()

    def finish(self, stream, timeout=10):
        """The whole answer."""
        answer = self.answers[stream]
        self.read(lambda: answer.ended or answer.reset is not None, timeout)
        return answer

    def get(self, authority, path="/", **options):
        return self.finish(self.request(authority, path, **options))

    def close(self):
        self.pipe.close()
