# SPDX-License-Identifier: Apache-2.0
"""TLS of a service's own, inside the stream that its agent carries."""
import ssl


class Server:
    """Reads and writes like lib.tls.Pipe. server_name and protocol are what the client asked for."""

    def __init__(self, pipe, cert, key, alpn=()):
        self.pipe = pipe
        self.server_name = None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        context.sni_callback = self._note_name
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.left = b""
        self._until(self.tls.do_handshake)
        self.protocol = self.tls.selected_alpn_protocol()

    def _note_name(self, _socket, name, _context):
        self.server_name = name

    def _flush(self):
        self.pipe.send(self.outgoing.read())

    def _until(self, act, timeout=60):
        """Calls act until it needs no more bytes; EOFError when there are none."""
        while True:
            try:
                result = act()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.pipe.recv_record(timeout)
                if not data:
                    raise EOFError(f"inside: {self.pipe.ended}") from None
                self.incoming.write(data)

    def recv_record(self, timeout=60):
        if self.left:
            data, self.left = self.left, b""
            return data
        try:
            return self._until(lambda: self.tls.read(65536), timeout)
        except (EOFError, ssl.SSLZeroReturnError):
            return b""

    def recv_exact(self, size, timeout=60):
        data = b""
        while len(data) < size:
            more = self.recv_record(timeout)
            if not more:
                raise EOFError(f"{len(data)} of {size} bytes")
            data += more
        self.left = data[size:]
        return data[:size]

    def recv_until(self, end, timeout=60):
        data = b""
        while not data.endswith(end):
            data += self.recv_exact(1, timeout)
        return data

    def send(self, data):
        if data:
            self.tls.write(data)
            self._flush()

    def send_notify(self):
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # the client's is not here yet
        self._flush()
