# SPDX-License-Identifier: Apache-2.0
"""A page in headless Chromium: the browser's own WebSocket, token in the subprotocol."""

import pytest

from lib import browser as chromium
from lib import frames as f
from lib.platform import Answer

OPEN = """
const [url, protocols, done] = arguments;
const socket = new WebSocket(url, protocols);
window.socket = socket;
window.inbox = [];
window.waiting = null;
function put(item) {
    if (window.waiting) { const take = window.waiting; window.waiting = null; take(item); }
    else { window.inbox.push(item); }
}
socket.onmessage = (event) => put({text: event.data});
socket.onopen = () => done({open: true, protocol: socket.protocol, extensions: socket.extensions});
socket.onclose = (event) => {
    const item = {code: event.code, reason: event.reason, clean: event.wasClean};
    put(item);
    done(item);
};
"""
TAKE = """
const done = arguments[0];
if (window.inbox.length > 0) { done(window.inbox.shift()); } else { window.waiting = done; }
"""
SEND = "window.socket.send(arguments[0]);"


@pytest.fixture(scope="module", name="browser")
def browser_fixture(tmp_path_factory, platform):
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    driver.set_script_timeout(20)
    page = b"<!doctype html><title>weir</title>"
    platform.page("GET", "/page", Answer(200, page, [("content-type", "text/html")]))
    driver.get(platform.origin + "/page")
    yield driver
    driver.quit()


def open_socket(browser, world, protocols, path=None):
    url = f"ws://{world.relay.host}:{world.relay.port}{path or world.path('client')}"
    return browser.execute_async_script(OPEN, url, protocols)


def take(browser):
    return browser.execute_async_script(TAKE)


def test_conversation(browser, world):
    daemon = world.daemon()
    opened = open_socket(browser, world, ["viewport-relay-v1", f"auth.{world.token('client')}"])
    assert opened == {"open": True, "protocol": "viewport-relay-v1", "extensions": ""}
    browser.execute_script(SEND, f.text(f.init_v3("k1")))
    assert daemon.recv_text() == f.text(f.init_v3("k1"))
    daemon.send(f.text(f.response_v3("k1", "s1")))
    assert take(browser) == {"text": f.text(f.response_v3("k1", "s1"))}
    text = f.text(f.e2ee("s1", ciphertext="ä€\U0001f600" * 1000))
    browser.execute_script(SEND, text)
    assert daemon.recv_text() == text
    daemon.send(text)
    assert take(browser) == {"text": text}
    browser.execute_script("window.socket.close(1000, 'bye')")
    closed = take(browser)
    assert (closed["code"], closed["clean"]) == (1000, True)


def test_only_the_token_offered(browser, world):
    token = world.token("client")
    assert open_socket(browser, world, [f"auth.{token}"])["protocol"] == f"auth.{token}"
    browser.execute_script("window.socket.close()")
    assert take(browser)["clean"] is True


def test_status_frame(browser, world):
    open_socket(browser, world, ["v1", f"auth.{world.token('client')}"])
    browser.execute_script(SEND, "{}")
    assert take(browser) == {"text": f.invalid_frame_status(world.workspace)}
    browser.execute_script("window.socket.close()")
    assert take(browser)["clean"] is True


def test_refused_token(browser, world):
    seen = open_socket(browser, world, ["v1", "auth.no-such-token"])
    assert seen == {"code": 1006, "reason": "", "clean": False}


def test_rejected_claims(browser, world):
    token = world.token("client", workspaceId="other")
    open_socket(browser, world, ["v1", f"auth.{token}"])
    assert take(browser) == {"code": 4008, "reason": "workspace claim mismatch", "clean": True}
