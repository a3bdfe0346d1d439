# SPDX-License-Identifier: Apache-2.0
"""A TLS client whose records are in the test's hands.

Python's own sockets close both directions at once and hide where records end. Here OpenSSL works on
buffers: what a test writes is one record, a close_notify ends one direction only, and what arrives
can be taken record by record.
"""
import socket
import ssl
import struct
import time

RECORD_HEADER_LEN = 5
live = []  # every open pipe; conftest closes them after a test


def close_all(address=None):
    """All pipes, or those to one address."""
    for pipe in list(live):
        if address in (None, pipe.address):
            pipe.close()


class Pipe:
    """A connection. `ended` says how the peer ended its direction: None, "notify", "fin", "reset"."""

    def __init__(
        self,
        address,
        server_name,
        ca,
        alpn=(),
        minimum=None,
        maximum=None,
        timeout=10,
        ciphers=None,
        source=None,
    ):
        self.timeout = timeout
        self.address = address
        self.sock = socket.create_connection(address, timeout, source and (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        live.append(self)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        context.check_hostname = server_name is not None
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if minimum:
            context.minimum_version = minimum
        if maximum:
            context.maximum_version = maximum
        if ciphers:
            context.set_ciphers(ciphers)
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self.raw = b""  # received, not yet a whole record
        self.records = []  # plaintext of each record that was not taken yet
        self.ended = None
        try:
            self._handshake()
        except BaseException:
            self.close()
            raise

    # ---- The wire

    def _flush(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def _more(self, deadline):
        """Waits for bytes of the peer. False at its end."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing came")
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.ended = "reset"
            return False
        if not data:
            self.ended = self.ended or "fin"
            return False
        self.raw += data
        return True

    def _handshake(self):
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError:
                self._flush()
                raise
            if not self._feed_record() and not self._more(deadline):
                raise ConnectionError(f"the handshake ended: {self.ended}")

    def _feed_record(self):
        """Hands OpenSSL the next whole record. False when there is none."""
        if len(self.raw) < RECORD_HEADER_LEN:
            return False
        (length,) = struct.unpack(">H", self.raw[3:5])
        if len(self.raw) < RECORD_HEADER_LEN + length:
            return False
        self.incoming.write(self.raw[: RECORD_HEADER_LEN + length])
        self.raw = self.raw[RECORD_HEADER_LEN + length :]
        return True

    def _open_record(self):
        """The plaintext of the record that was fed; empty for one that carries none."""
        try:
            data = self.tls.read(65536)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLZeroReturnError:
            data = b""
        finally:
            self._flush_quietly()
        if not data:
            self.ended = "notify"
        return data

    def _flush_quietly(self):
        try:
            self._flush()
        except OSError:
            pass  # an answer to an alert, to a peer that has gone

    # ---- Reading

    def _fetch(self, deadline):
        """One more record into records. False at the end of the peer's direction."""
        while self.ended is None:
            if not self._feed_record():
                if not self._more(deadline):
                    return False
                continue
            data = self._open_record()
            if data:
                self.records.append(data)
                return True
        return False

    def recv_record(self, timeout=None):
        """The plaintext of the next record; b"" at the end."""
        if not self.records and not self._fetch(time.monotonic() + (timeout or self.timeout)):
            return b""
        return self.records.pop(0)

    def recv_exact(self, size, timeout=None):
        """So many bytes; EOFError when the peer ends before."""
        deadline = time.monotonic() + (timeout or self.timeout)
        pieces = []
        left = size
        while left > 0:
            if not self.records and not self._fetch(deadline):
                raise EOFError(f"{size - left} of {size} bytes, then {self.ended}")
            piece = self.records.pop(0)
            if len(piece) > left:
                self.records.insert(0, piece[left:])
            pieces.append(piece[:left])
            left -= len(pieces[-1])
        return b"".join(pieces)

    def recv_until(self, end, timeout=None):
        """Everything up to and including `end`."""
        data = b""
        while not data.endswith(end):
            data += self.recv_exact(1, timeout)
        return data

    def recv_all(self, timeout=None):
        """Everything up to the end of the peer's direction."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while self._fetch(deadline):
            pass
        data = b"".join(self.records)
        self.records = []
        return data

    def recv_some(self):
        """What is here, and what one read of the socket brings."""
        if self.ended is None:
            self._more(time.monotonic() + self.timeout)
        while self.ended is None and self._feed_record():
            self.records.append(self._open_record())
        data = b"".join(self.records)
        self.records = []
        return data

    def quiet(self, seconds):
        """Nothing comes for so long, not even an end."""
        if self.records:
            return False
        try:
            self._fetch(time.monotonic() + seconds)
        except TimeoutError:
            return True
        return False

    # ---- Writing

    def send(self, data):
        """In one record, when it is no longer than a record may be."""
        if data:
            self.tls.write(data)
            self._flush()

    def send_notify(self):
        """Ends our direction of TLS; the other one goes on."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()

    # ---- The end

    def close(self):
        """Without a word in TLS, as a process that dies does."""
        try:
            # A thread that waits for bytes would keep the connection open behind a close.
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._forget()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._forget()

    def _forget(self):
        if self in live:
            live.remove(self)
        self.sock.close()

    @property
    def protocol(self):
        return self.tls.selected_alpn_protocol()
