# SPDX-License-Identifier: Apache-2.0
"""The monitor's page in a browser: it stands without scripts, and lives with them."""
import gzip

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from lib import browser as chromium
from lib import targets, weir
from lib.health import Monitor, Switch
from lib.wait import eventually

AXE = weir.ROOT / "build/web/node_modules/axe-core/axe.min.js"
EVIL = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module", name="browser")
def browser_fixture(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    driver.set_window_size(1280, 1000)
    yield driver
    driver.quit()


@pytest.fixture(name="page")
def page_fixture(browser):
    browser.get("about:blank")  # nothing of an earlier page asks any more
    browser.get_log("browser")
    return Page(browser)


class Page:
    """What a reader sees. Everything is read in one go: the page redraws itself at any time."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, monitor, path="/health"):
        self.driver.get(monitor.url + path)
        self.wait_live()

    def wait_live(self, word="live"):
        eventually(lambda: self.text(".connection") == [word], f"the page is {word}", 30)

    def text(self, selector):
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())",
            selector)

    def click(self, selector, index=0):
        eventually(lambda: self.driver.execute_script(
            "const e = document.querySelectorAll(arguments[0])[arguments[1]];"
            "e?.click(); return e !== undefined", selector, index), f"{selector} to click")

    def choose(self, index, word):
        self.driver.execute_script(
            "const e = document.querySelectorAll('.filters select')[arguments[0]];"
            "e.value = arguments[1]; e.dispatchEvent(new Event('change', {bubbles: true}))",
            index, word)

    def names(self):
        return [text.split()[0] for text in self.text(".rows .name")]

    def wait_row(self, name, *words):
        def there():
            return [row for row in self.text(".rows .row")
                    if name in row and all(word in row for word in words)]
        return eventually(there, f"{name} with {words}: {self.text('.rows .row')}", 20)[0]

    def focused(self):
        return self.driver.execute_script("return document.activeElement.innerText")

    def keys(self, *keys):
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def complaints(self):
        return [line for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]


def three(lab):
    up = Switch(lab, "up")
    down = Switch(lab, "down", on=False)
    lab.write({"web": up.check, "db": down.check},
              {"pi1": {"ip": "127.0.0.1", "roles": ["edge"]}, "pi2": {"ip": "127.0.0.1"}},
              idle={"current_host": "pi2"})
    return up, down


def test_it_lives(lab, serve, page):
    up, down = three(lab)
    monitor = serve()
    page.open(monitor, "/")
    assert page.driver.current_url == monitor.url + "/health"
    page.wait_row("web", "healthy", "pi1")
    page.wait_row("db", "unhealthy", "pid file missing")
    page.wait_row("idle", "unknown", "no health check declared")
    eventually(lambda: "unhealthy" in page.text(".banner h1")[0], "the cluster")
    eventually(lambda: page.driver.title == "unhealthy - weir health", "the tab says it, too")
    eventually(lambda: "db" in page.text(".worst")[0], "the worst")
    # Tiles come with the next snapshot.
    eventually(lambda: "1 of 2 healthy" in page.text(".machines li")[0], "the machine", 20)
    # Without asking again: long before the next snapshot would come, twice in a row.
    page.driver.execute_script("window.fetch = () => new Promise(() => {})")
    down.on()
    page.wait_row("db", "healthy")
    up.off()
    page.wait_row("web", "unhealthy")
    assert "web" in page.text(".events li")[0]
    assert page.complaints() == []


def test_it_comes_back_after_a_restart(lab, page):
    three(lab)
    monitor = Monitor(lab.directory / "registry.yml", env=lab.env)
    page.open(monitor)
    monitor.stop()
    page.wait_live("the monitor does not answer")
    again = Monitor(lab.directory / "registry.yml", "--listen", f"127.0.0.1:{monitor.port}",
                    env=lab.env)
    page.wait_live()
    page.driver.get_log("browser")  # what it said while nobody was there
    again.stop()


def test_filters_are_in_the_address(lab, serve, page):
    three(lab)
    monitor = serve()
    page.open(monitor)
    page.wait_row("db", "unhealthy")
    page.choose(0, "unhealthy")
    eventually(lambda: page.names() == ["db"], "one row")
    assert page.driver.current_url.endswith("/health?status=unhealthy")
    page.open(monitor, "/health?machine=pi2")
    eventually(lambda: page.names() == ["idle"], "of one machine")
    page.click(".machines button", 1)
    eventually(lambda: len(page.names()) == 3, "all of them again")
    assert page.driver.current_url.endswith("/health")
    page.driver.execute_script(
        "const e = document.querySelector('input[type=search]'); e.value = 'WE';"
        "e.dispatchEvent(new Event('input', {bubbles: true}))")
    eventually(lambda: page.names() == ["web"], "by text")
    page.open(monitor, "/health?role=edge")
    eventually(lambda: sorted(page.names()) == ["db", "web"], "by role")


def test_the_detail_of_a_service(lab, serve, page):
    three(lab)
    monitor = serve()
    page.open(monitor)
    page.wait_row("db", "unhealthy")
    page.choose(0, "unhealthy")
    eventually(lambda: page.names() == ["db"], "one row")
    page.click(".rows button")
    eventually(lambda: page.text("dialog h2") == ["db on pi1"], "the dialog")
    assert "#service=db%40pi1" in page.driver.current_url
    eventually(lambda: len(page.text("dialog tbody tr")) > 2, "its results")
    assert "failed" in page.text("dialog tbody tr")[0]
    assert "process, every 0.2 s" in page.text("dialog dd")[0]
    eventually(lambda: "failed" in page.text("dialog figcaption")[0], "numbers of the chart")
    assert page.text("dialog .uplot") != []
    page.click("dialog .actions button", 1)
    eventually(lambda: "maintenance" in page.text("dialog .badge"), "maintenance has begun")
    assert monitor.service("db")["maintenance"] is True
    eventually(lambda: page.text("dialog .actions button")[1] == "End maintenance", "and may end")
    page.click("dialog .actions button", 1)
    eventually(lambda: monitor.service("db")["maintenance"] is False, "it has ended")
    page.click("dialog .actions button", 0)
    eventually(lambda: "checked" in page.text("dialog [role=status]"), "checked now")
    page.keys(Keys.ESCAPE)
    eventually(lambda: page.text("dialog") == [], "closed")
    assert "#" not in page.driver.current_url
    page.open(monitor, "/health#service=web%40pi1")
    eventually(lambda: page.text("dialog h2") == ["web on pi1"], "by its address")


def test_by_keyboard_through_many(lab, serve, page):
    check = {"type": "process", "pid_file": str(lab.directory / "none"), "interval": 3600}
    lab.write({f"s{i:04}": check for i in range(2000)})
    page.open(serve())
    eventually(lambda: len(page.names()) > 10, "rows")
    assert len(page.names()) < 60, "only those in sight exist"
    page.driver.execute_script("document.querySelector('.rows button').focus()")
    assert "s0000" in page.focused()
    page.keys(Keys.ARROW_DOWN)
    eventually(lambda: "s0001" in page.focused(), "the next one")
    page.keys(Keys.END)
    eventually(lambda: "s1999" in page.focused(), "the last one")
    page.keys(Keys.PAGE_UP)
    eventually(lambda: "s198" in page.focused(), "a page up")
    page.keys(Keys.HOME)
    eventually(lambda: "s0000" in page.focused(), "the first one")
    page.keys(Keys.ENTER)
    eventually(lambda: page.text("dialog h2") == ["s0000 on here"], "opened")
    page.keys(Keys.ESCAPE)


def test_names_and_messages_are_text(lab, serve, page):
    lab.write({}, {"here": {"ip": "127.0.0.1"}}, **{
        "evil": {"current_host": "here", "description": EVIL,
                 "health_check": {"type": "exec", "command": f"echo \"{EVIL}\"; false",
                                  "interval": 1}}})
    monitor = serve()
    page.open(monitor)
    page.wait_row("evil", "img src=x")
    page.click(".rows button")
    eventually(lambda: "img src=x" in " ".join(page.text("dialog")), "the dialog shows it")
    assert "owned" not in page.driver.title
    assert page.driver.execute_script("return document.querySelectorAll('img').length") == 0


def test_nobody_else_is_asked(lab, serve, page):
    three(lab)
    monitor = serve()
    page.open(monitor)
    page.wait_row("web", "healthy")
    asked = page.driver.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked and all(name.startswith(monitor.url + "/") for name in asked), asked
    assert page.complaints() == [], "nothing that its policy forbids"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280, 1920])
def test_for_everybody(lab, serve, page, scheme, width):
    """axe-core finds nothing, in both schemes, and nothing is wider than the window."""
    three(lab)
    monitor = serve()
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"}]})
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    try:
        page.open(monitor)
        page.wait_row("db", "unhealthy")
        for opened in (False, True):
            if opened:
                page.click(".rows button")
                eventually(lambda: page.text("dialog tbody tr"), "the dialog")
            page.driver.execute_script(AXE.read_text())
            found = page.driver.execute_async_script(
                "axe.run().then(r => arguments[0](r.violations.map("
                "v => [v.id, v.nodes.map(n => n.html + n.failureSummary)])))")
            assert found == []
            assert page.driver.execute_script(
                "return document.documentElement.scrollWidth <= window.innerWidth")
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_token_is_asked_for_once(lab, serve, page):
    three(lab)
    tokens = lab.directory / "tokens"
    tokens.write_text("viewer-token-0123456 viewer\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "false", token="viewer-token-0123456")
    page.driver.get(monitor.url + "/health")
    page.driver.get_log("browser")

    def give(token):
        page.driver.execute_script("document.querySelector('input[type=password]').focus()")
        field = page.driver.switch_to.active_element
        field.send_keys(token, Keys.ENTER)

    eventually(lambda: page.text("main h1") == ["A token is wanted"], "the form")
    give("wrong-token-01234567")
    eventually(lambda: "not accepted" in " ".join(page.text("[role=status]")), "refused")
    page.driver.execute_script("document.querySelector('input').value = ''")
    page.driver.execute_script("sessionStorage.clear()")
    page.driver.get(monitor.url + "/health")
    eventually(lambda: page.text("main h1") == ["A token is wanted"], "the form")
    give("viewer-token-0123456")
    page.wait_live()
    page.driver.refresh()
    page.wait_live()
    assert "viewer-token" not in page.driver.current_url
    page.driver.execute_script("sessionStorage.clear()")
    page.driver.get(monitor.url + "/health?token=viewer-token-0123456")
    page.wait_live()
    assert "viewer-token" not in page.driver.current_url, "it does not stay in the address"


@pytest.fixture(name="proxy")
def proxy_fixture(tmp_path):
    running = []

    def start(monitor, upgrade):
        port = targets.free_port()
        config = tmp_path / "nginx.conf"
        config.write_text(f"""
daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
  fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
  server {{
    listen 127.0.0.1:{port};
    location /inside/weir/ {{
      proxy_pass {monitor.url}/;
      proxy_http_version 1.1;
      {upgrade}
      proxy_set_header Host $http_host;
    }}
  }}
}}
""")
        running.append(targets.Program(["nginx", "-c", str(config), "-p", str(tmp_path)], port))
        return f"http://127.0.0.1:{port}/inside/weir/health"

    yield start
    for nginx in running:
        nginx.stop()


def test_under_a_path_of_a_proxy(lab, serve, page, proxy):
    three(lab)
    monitor = serve()
    page.driver.get(proxy(monitor, "proxy_set_header Upgrade $http_upgrade;"
                                   "proxy_set_header Connection upgrade;"))
    page.wait_live()
    page.wait_row("web", "healthy")
    assert page.complaints() == []


def test_behind_a_proxy_without_sockets(lab, serve, page, proxy):
    """It asks instead, shows the same, and says so."""
    _, down = three(lab)
    monitor = serve()
    page.driver.get(proxy(monitor, ""))
    page.wait_live("asking every 5 s")
    page.wait_row("db", "unhealthy")
    down.on()
    page.wait_row("db", "healthy")
    page.wait_live("asking every 5 s")


LOSE_ONE = """
const Real = WebSocket;
window.sockets = 0;
window.lose = false;
window.WebSocket = class extends Real {
  constructor(...about) { super(...about); window.sockets++; }
  get onmessage() { return super.onmessage; }
  set onmessage(heard) {
    super.onmessage = (event) => {
      if (window.lose && JSON.parse(event.data).type === 'delta') { window.lose = false; } else { heard(event); }
    };
  }
};
"""


def test_a_message_that_is_lost(lab, serve, page):
    """The next one tells by its number; everything is told anew over another connection."""
    _, down = three(lab)
    monitor = serve()
    script = page.driver.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": LOSE_ONE})
    try:
        page.open(monitor)
        page.wait_row("db", "unhealthy")
        assert page.driver.execute_script("window.lose = true; return window.sockets") == 1
        down.on()
        eventually(lambda: page.driver.execute_script("return window.sockets") == 2, "again", 30)
        page.wait_live()
        page.wait_row("db", "healthy")
    finally:
        page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


# ---- Its files


def test_the_files_are_compressed(lab, serve):
    three(lab)
    monitor = serve()
    for path, kind in (("/health/app.js", "text/javascript"), ("/health/style.css", "text/css")):
        plain = monitor.ask("GET", path)
        packed = monitor.ask("GET", path, headers={"Accept-Encoding": "br, gzip;q=0.5"})
        assert plain.headers["content-type"].startswith(kind)
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body) / 2
        assert "Accept-Encoding" in packed.headers["vary"]
        known = {"If-None-Match": packed.headers["etag"], "Accept-Encoding": "gzip"}
        assert monitor.ask("GET", path, headers=known).status == 304
        for refused in ("identity", "gzip;q=0", "gzip; q=0.000", "gzipped"):
            answer = monitor.ask("GET", path, headers={"Accept-Encoding": refused})
            assert "content-encoding" not in answer.headers, refused
    assert b"<circle" in monitor.ask("GET", "/health/icon/healthy.svg").body
    assert monitor.ask("GET", "/health/icon/happy.svg").status == 404


def test_strips(lab, serve):
    up, down = three(lab)
    monitor = serve()
    eventually(lambda: len(monitor.service("web")["results"]) > 2, "some results")
    monitor.wait_status("db", "unhealthy")
    down.on()
    eventually(lambda: monitor.service("db")["status"] == "healthy", "some failed")
    found = monitor.get("/api/health/strips?of=web%40pi1,db%40pi1,nobody%40pi1,idle%40pi2")["strips"]
    assert [strip["service"] for strip in found] == ["web", "db", "idle"]
    web, db, idle = found
    assert all(ms >= 0 for ms in web["latency_ms"]) and len(web["day"]) == 48
    # A half hour may end in between.
    assert web["day"].strip("-") in ("h", "hh") and db["day"].strip("-") in ("u", "uu", "uh")
    assert None in db["latency_ms"] and db["latency_ms"][-1] is not None
    assert idle["latency_ms"] == [] and idle["day"] == "-" * 48
    assert monitor.get("/api/health/strips") == {"strips": []}
    assert monitor.get("/api/health/strips?of=" + "x" * 4000) == {"strips": []}
    up.off()
