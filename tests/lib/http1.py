# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on a pipe (lib.tls), for both ends of the engine: what a visitor and what a service do,
byte by byte where a test wants that."""


class Message:
    """A head and, when it was read, what followed. Names of fields are lower case."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        self.head = head
        self.start = lines[0]
        self.fields = [
            (name.lower(), value.strip())
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        ]
        self.body = b""
        self.trailers = []
        self.complete = True

    def __getitem__(self, name):
        """The value of a field, or None."""
        return dict(self.fields).get(name)

    @property
    def status(self):
        return int(self.start.split(" ")[1])

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]


def read_head(pipe, timeout=None):
    return Message(pipe.recv_until(b"\r\n\r\n", timeout))


def read_chunks(pipe, message, timeout=None):
    while True:
        size = int(pipe.recv_until(b"\r\n", timeout).split(b";")[0], 16)
        if size == 0:
            break
        message.body += pipe.recv_exact(size, timeout)
        assert pipe.recv_exact(2, timeout) == b"\r\n"
    while True:
        line = pipe.recv_until(b"\r\n", timeout).decode()
        if line == "\r\n":
            return
        name, _, value = line.partition(":")
        message.trailers.append((name.lower(), value.strip()))


def read_body(pipe, message, timeout=None):
    """By chunks or length; complete says whether the peer ended it as it should."""
    try:
        if message["transfer-encoding"] == "chunked":
            read_chunks(pipe, message, timeout)
        else:
            message.body = pipe.recv_exact(int(message["content-length"] or 0), timeout)
    except EOFError:
        message.complete = False
    return message


def read_request(pipe, timeout=60):
    """The next request, or None when the peer has ended."""
    try:
        return read_body(pipe, read_head(pipe, timeout), timeout)
    except EOFError:
        return None


def read_answer(pipe, method="GET", timeout=None):
    """The next final answer; those before it are its `interim`."""
    interim = []
    message = read_head(pipe, timeout)
    while message.status < 200 and message.status != 101:
        interim.append(message)
        message = read_head(pipe, timeout)
    message.interim = interim
    if method != "HEAD" and message.status not in (101, 204, 304):
        read_body(pipe, message, timeout)
    return message


def request(host, target="/", method="GET", fields=(), body=None):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")


def answer(body=b"", status="200 OK", fields=()):
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def service(app):
    """A handler for Agent.serve: app(request, stream) for each request, until somebody ends."""

    def handle(stream):
        while True:
            message = read_request(stream)
            if message is None or app(message, stream) is False:
                return

    return handle
