# SPDX-License-Identifier: Apache-2.0
"""A published page in headless Chromium: over h2, with server-sent events that come one by one, a
WebSocket on the same connection (RFC 8441), and an upload."""
import threading

import pytest

from lib import browser as chromium
from lib import http1, ws
from lib.site import Site

CLOSE = 8
PAGE = b"<!doctype html><title>published</title>"

# What a page hears is put into a box that the test takes from.
LISTEN = """
window.box = [];
window.waiting = null;
window.put = (item) => {
    if (window.waiting) { const take = window.waiting; window.waiting = null; take(item); }
    else { window.box.push(item); }
};
"""
TAKE = """
const done = arguments[0];
if (window.box.length > 0) { done(window.box.shift()); } else { window.waiting = done; }
"""
EVENTS = """
const source = new EventSource('/events');
source.onmessage = (event) => window.put(event.data);
window.source = source;
"""
SOCKET = """
const socket = new WebSocket(`wss://${location.host}/socket`, ['echo']);
socket.onopen = () => window.put(`open ${socket.protocol}`);
socket.onmessage = (event) => window.put(event.data);
socket.onclose = (event) => window.put(`closed ${event.code} ${event.wasClean}`);
window.socket = socket;
"""
UPLOAD = """
const done = arguments[1];
fetch('/upload', {method: 'POST', body: 'u'.repeat(arguments[0])})
    .then((answer) => answer.text()).then(done, (error) => done(String(error)));
"""


class Origin:
    """What is published: a page, events that the test releases, an echo, and a count of bytes."""

    def __init__(self):
        self.more = threading.Semaphore(0)
        self.seen = {}

    def __call__(self, stream):
        while (message := http1.read_request(stream)) is not None:
            self.seen[message.target] = message
            if message.target == "/events":
                self.send_events(stream)
                return
            if message.target == "/socket":
                self.echo(stream, message)
                return
            body = str(len(message.body)).encode() if message.method == "POST" else PAGE
            stream.send(http1.answer(body, fields=["Content-Type: text/html"]))

    def send_events(self, stream):
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            if not self.more.acquire(timeout=20):
                return
            stream.send(b"data: %d\n\n" % number)
        stream.recv_all(20)

    def echo(self, stream, message):
        accept = ws.accept_of(message["sec-websocket-key"])
        stream.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Protocol: echo\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept.encode()
        )
        while True:
            first, length = stream.recv_exact(2, 20)
            key = stream.recv_exact(4)
            payload = ws.mask(stream.recv_exact(length & 127), key)
            stream.send(ws.frame(first & 15, payload, key=None))
            if first & 15 == CLOSE:
                return


@pytest.fixture(name="browser")
def browser_fixture(tmp_path, engine):
    driver = chromium.start(
        tmp_path, "--no-proxy-server", "--ignore-certificate-errors",
        f"--host-resolver-rules=MAP *.t.{engine.host} 127.0.0.1")
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


def take(browser):
    return browser.execute_async_script(TAKE)


def test_a_published_page(browser, engine):
    service = Origin()
    site = Site(engine, "browser", service)
    browser.get(f"https://{site.host}:{engine.port}/")
    assert browser.title == "published"
    assert service.seen["/"]["x-forwarded-proto"] == "https"
    entry = "return performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert browser.execute_script(entry) == "h2"
    browser.execute_script(LISTEN)

    browser.execute_script(EVENTS)
    for number in range(3):  # the next one is sent when this one is here
        service.more.release()
        assert take(browser) == str(number)
    browser.execute_script("window.source.close()")

    browser.execute_script(SOCKET)
    assert take(browser) == "open echo"
    assert "origin" in dict(service.seen["/socket"].fields)
    for text in ("to", "and fro"):
        browser.execute_script("window.socket.send(arguments[0])", text)
        assert take(browser) == text
    browser.execute_script("window.socket.close(1000)")
    assert take(browser) == "closed 1000 true"

    assert browser.execute_async_script(UPLOAD, 3_000_000) == "3000000"
