# SPDX-License-Identifier: Apache-2.0
"""An allocation, or a system call, fails somewhere between a visitor and three kinds of services:
HTTP/1.1, h2 and TLS of their own. Whichever it is, the engine refuses to start and says why, or it
serves, whatever becomes of the requests, and drains with exit code 0. Every tenth is tried, from
another one for each kind of fault; only builds with the fault seams take part."""
import re
import signal

import pytest

from lib import http1, http2, inner_tls, tls
from lib.engine import Engine
from lib.site import Site

FAR = 1_000_000
STRIDE = 10
PATIENCE_S = 1


def echo(message, stream):
    stream.send(http1.answer(message.body or message.target.encode()))


def ask_http1(engine, _pair):
    site = Site(engine, "one", http1.service(echo))
    visitor = site.visitor()
    site.ask(visitor, "/1", timeout=PATIENCE_S)
    site.ask(visitor, "/2", "POST", body=b"x" * 100_000, timeout=PATIENCE_S)
    visitor.send(
        http1.request(site.host, "/", "POST", ["Transfer-Encoding: chunked"])
        + http1.chunk(b"abc")
        + b"0\r\nX-Sum: 3\r\n\r\n"
    )
    http1.read_answer(visitor, timeout=PATIENCE_S)


def ask_h2(engine, _pair):
    def app(peer, stream_id, request):
        http2.answer(peer, stream_id, bytes(request.body), trailers=[("x-sum", "3")])

    site = Site(engine, "two", http2.service(app), http_version="h2c")
    site.get("/1", "POST", body=b"x" * 100_000, timeout=PATIENCE_S)
    visitor = http2.Visitor(site)
    visitor.answer(visitor.ask("/2"), timeout=PATIENCE_S)


def ask_encrypted(engine, pair):
    site = Site(
        engine,
        "inside",
        lambda stream: http1.service(echo)(inner_tls.Server(stream, *pair)),
        upstream_tls=True,
    )
    site.get("/1", timeout=PATIENCE_S)


def session(engine, pair):
    for ask in (ask_http1, ask_h2, ask_encrypted):
        try:
            ask(engine, pair)
        except Exception:  # pylint: disable=broad-exception-caught
            pass  # anything may fail because of the fault, but nothing may take long
    tls.close_all()


def run_under(name, number, authority, directory, pair):
    """How many allocations or calls there were in all; None when it did not start."""
    settings = {"timeouts": {"stream_request_seconds": 1}}
    try:
        engine = Engine(authority, directory, settings, 1, env={name: str(number)})
    except AssertionError as refused:
        assert "Sanitizer" not in str(refused) and "did not start: ''" not in str(refused)
        return None
    session(engine, pair)
    if engine.process.poll() is None:
        engine.signal(signal.SIGTERM)
    code = engine.wait()
    errors = engine.stderr()
    where = f"{name}={number}: exit code {code}\n{errors}"
    assert code in (0, 1), where
    assert "Sanitizer" not in errors and "runtime error" not in errors, where
    assert "broken invariant" not in errors, where
    counts = re.search(r"weir: (\d+) allocations, (\d+) system calls", errors)
    return counts and int(counts[1 if name == "WEIR_FAIL_ALLOCATION" else 2])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name,first", [("WEIR_FAIL_ALLOCATION", 3), ("WEIR_FAIL_SYSCALL", 7)])
def test_a_fault_on_the_way_has_an_outcome(authority, tmp_path, name, first):
    pair = authority.issue("inside", hosts=["inside"])
    last = run_under(name, FAR, authority, tmp_path, pair)
    assert last is not None and last > first, "a whole session without a fault"
    for number in range(first, last + 1, STRIDE):
        run_under(name, number, authority, tmp_path, pair)
