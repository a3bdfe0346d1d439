# SPDX-License-Identifier: Apache-2.0
"""`weir up -c weir.yml`: relay, platform, engine and health in one process."""
import http.server
import json
import os
import signal
import subprocess
import threading
import urllib.request

import pytest

from lib import browser as chromium
from lib import frames as f
from lib import weir, ws
from lib.engine import HOST, SECRET, free_port, jwt
from lib.page import Page
from lib.wait import eventually
from lib.world import World

AXE = weir.ROOT / "build/web/node_modules/axe-core/axe.min.js"


class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # pylint: disable=invalid-name
        body = b"from behind the tunnel"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


@pytest.fixture(name="service")
def service_fixture():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Up(weir.Relay):
    """All parts of a file; `self.engine` sees its engine as the tests of the engine do."""

    def __init__(self, path, state_dir):
        self.state_dir = state_dir
        env = {name: None for name in (
            "RELAY_TLS", "RELAY_ADMIN_TOKEN", "RELAY_ENABLE_ADMIN_HTTP", "RELAY_LISTEN_PORT",
            "RELAY_BACKPLANE_MODE")}
        super().__init__(env, args=("up", "-c", str(path)))
        weir.live.remove(self)  # its admin token is one of its own making

    def health_url(self, path):
        port = self.log.wait("health_started")["details"]["port"]
        return f"http://127.0.0.1:{port}{path}"


@pytest.fixture(name="files")
def files_fixture(tmp_path, authority, service):
    """A weir.yml with everything in it; edit(old, new) changes it."""
    cert, key = authority.issue(HOST, hosts=[HOST, f"*.t.{HOST}"])
    (tmp_path / "registry.yml").write_text(
        "hosts:\n  here: {ip: 127.0.0.1}\n"
        f"services:\n  behind: {{hostname: behind, current_host: here, port: {service}, "
        f"healthcheck_url: 'http://127.0.0.1:{service}/'}}\n"
    )
    path = tmp_path / "weir.yml"
    path.write_text(f"""\
state_dir: {tmp_path}/state
platform:
relay:
  listen_port: 0
  tls: 0
  max_clients_per_workspace: 7
  trusted_proxies: [127.0.0.1, 10.0.0.0/8]
engine:
  engine: {{host: {HOST}, log_level: info}}
  tls: {{enabled: true, listen_addr: "127.0.0.1:{free_port()}"}}
  certs: {{static: {{enabled: true, cert_file: {cert}, key_file: {key}}}}}
  auth: {{jwt: {{enabled: true, token_jwt_secret: {SECRET}}}}}
  metrics:
    tunnel_labels: 10
    prometheus: {{enabled: true, listen_addr: "127.0.0.1:{free_port()}"}}
health:
  registry: {tmp_path}/registry.yml
  listen: 127.0.0.1:0
  metrics_interval: 60
""")
    return path


@pytest.fixture(name="up")
def up_fixture(files):
    running = Up(files, files.parent / "state")
    yield running
    ws.close_all()
    running.stop()


def minted(up, role, *more):
    result = weir.run(
        "token", "relay", "--state-dir", str(up.state_dir), "--role", role, "--workspace", "demo",
        "--target", "laptop", *more)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def ask(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_every_part_works(up, authority, service):
    world = World(up, None)
    daemon, client = world.peer(), world.peer()
    daemon.upgrade(ws.path_of("workspace-daemon", "demo", "laptop"),
                   minted(up, "workspace-daemon"))
    client.upgrade(ws.path_of("client", "demo", "laptop"),
                   minted(up, "client", "--scope", "runtime"))
    client.send(f.text(f.e2ee()))
    assert daemon.recv_text() == f.text(f.e2ee())

    def healthy():
        return ask(up.health_url("/api/health/services/behind"))["status"] == "healthy"

    eventually(healthy, "the check has run")
    port = up.log.wait("engine_started")["details"]["port"]
    agent = subprocess.Popen(
        [weir.binary(), "forward", str(service), "--host", "web", "-o", "none",
         "--engine", f"127.0.0.1:{port}", "--engine-tls-ca-file", str(authority.path),
         "--engine-tls-server-name", HOST],
        env={**weir.base_environment(), "RSTREAM_AUTHENTICATION_TOKEN": jwt({"exp": 4102444800})},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: visit(authority, port) == b"from behind the tunnel", "it is published")
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait(20)


def visit(authority, port):
    host = f"web.t.{HOST}"
    return subprocess.run(
        ["curl", "-s", "--noproxy", "*", "--cacert", str(authority.path), "--resolve",
         f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/"],
        env={"PATH": os.environ["PATH"]}, capture_output=True, timeout=20, check=False).stdout


def test_it_says_where_everything_is(up):
    page = eventually(lambda: up.stderr() if "  health " in up.stderr() else None, "the page")
    for part in (f"relay      ws://127.0.0.1:{up.port}", "platform   http://127.0.0.1:",
                 "engine     https://127.0.0.1:", "health     http://127.0.0.1:"):
        assert part in page
    started = up.log.wait("relay_started")["details"]
    assert started["maxClientsPerWorkspace"] == 7 and started["tlsEnabled"] is False


def test_the_environment_stands_above_the_file(files, tmp_path):
    result = weir.run("config", "check", "up", "-c", str(files),
                      env={"RELAY_MAX_CLIENTS_PER_WORKSPACE": "none"})
    assert result.returncode == 78
    assert result.stderr.startswith("RELAY_MAX_CLIENTS_PER_WORKSPACE: \"none\" is not usable")
    assert not (tmp_path / "state").exists(), "looking makes nothing"
    result = weir.run("config", "check", "up", "-c", str(files))
    assert (result.returncode, result.stdout, result.stderr) == (0, "up: fine\n", "")


@pytest.mark.parametrize("listen, fine", [
    ("127.0.0.1:8988", True), ("'[::1]:8988'", True), ("0.0.0.0:8988", False), ("10.0.0.1:8988", False)])
def test_a_monitor_for_others_wants_tokens(tmp_path, listen, fine):
    """Said already when one looks for mistakes, not only at the start."""
    path = tmp_path / "weir.yml"
    path.write_text(f"health:\n  listen: {listen}\n")
    checked = weir.run("config", "check", "up", "-c", str(path))
    assert (checked.returncode == 0) is fine
    assert fine or f"{path}:2:11: health.listen: listening beyond this machine wants tokens" in checked.stderr
    path.write_text(f"health:\n  listen: {listen}\n  tokens: {tmp_path}/tokens\n")
    assert weir.run("config", "check", "up", "-c", str(path)).returncode == 0


def test_a_reload_reads_the_engines_section(up, files):
    up.log.wait("health_started")
    mark = up.log.mark()
    files.write_text(files.read_text().replace("log_level: info", "log_level: debug"))
    up.signal(signal.SIGHUP)
    assert up.log.wait("config_changed", mark)["details"]["keys"] == "engine.log_level"
    assert up.log.wait("reload", mark)["details"]["health"] == "registry, tokens"
    files.write_text(files.read_text().replace("log_level: debug", "log_level: loud"))
    up.signal(signal.SIGHUP)
    assert "log_level" in up.log.wait("config_refused", mark)["details"]["problem"]


def test_every_mistake_at_once_with_its_place(tmp_path):
    path = tmp_path / "weir.yml"
    path.write_text("""\
stat_dir: x
workers: many
platform: {lisen: 1}
relay:
  listen_prt: 5
  listen_port: [1, 2]
  max_frame_bytes: lots
  trusted_proxies: [10.0.0.0/8, nonsense]
engine:
  tls: {listen_addr: nowhere}
health:
  listen: nowhere
  jitter: 70
  bogus: 1
""")
    result = weir.run("up", "-c", str(path))
    assert result.returncode == 78 and result.stdout == ""
    lines = result.stderr.splitlines()
    for place, words in (
        ("1:1: stat_dir", 'is "state_dir" meant?'),
        ("2:10: workers", "0 to 256"),
        ("3:12: platform.lisen", 'is "listen" meant?'),
        ("5:3: relay.listen_prt", 'is "listen_port" meant?'),
        ("6:16: relay.listen_port", "allowed: one value"),
        ("7:20: relay.max_frame_bytes", "a whole number"),
        ("8:20: relay.trusted_proxies", '"nonsense"'),
        ("10:22: engine.tls.listen_addr", "ADDRESS:PORT"),
        ("12:11: health.listen", "ADDRESS:PORT"),
        ("13:11: health.jitter", "0 to 50"),
        ("14:3: health.bogus", "there is no such key"),
    ):
        begin = f"{path}:{place}: "
        assert any(line.startswith(begin) and words in line for line in lines), (place, lines)


@pytest.mark.parametrize("text, words", [
    ("", "there is nothing to run; allowed: the sections relay, engine, health, platform"),
    ("{}", "there is nothing to run"),
    ("workers: 2", "there is nothing to run"),
    ("- relay", "allowed: a map of keys"),
    ("relay: 5", "allowed: a map of keys"),
    ("health: [1]", "allowed: a map of keys"),
    ("relay: {listen_port: 1", "1:"),
    ("relay: {}\nrelay: {}", "relay"),
    (None, "cannot be read: not found"),
])
def test_a_file_that_is_none(tmp_path, text, words):
    path = tmp_path / "weir.yml"
    if text is not None:
        path.write_text(text)
    result = weir.run("up", "-c", str(path))
    assert result.returncode == 78, result.stderr
    assert words in result.stderr and str(path) in result.stderr


def test_one_part_alone(files):
    text = files.read_text()
    files.write_text("state_dir:" + text.partition("state_dir:")[2].partition("\n")[0] + "\n" +
                     text[text.index("health:"):])
    running = subprocess.Popen(
        [weir.binary(), "up", "-c", str(files)], env=weir.base_environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = weir.Log(running.stdout)
    port = log.wait("health_started")["details"]["port"]
    assert "behind" in json.dumps(ask(f"http://127.0.0.1:{port}/api/health/dashboard"))
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 0
    assert b"relay" not in running.stderr.read()
    running.stderr.close()
    assert (files.parent / "state" / "health.db").exists(), "history is kept where state_dir says"


def test_a_platform_for_others_too(files):
    """With keys it listens where they say, and another relay is admitted by it as ours is."""
    port = free_port()
    secret = "internal-key-of-both-relays"
    text = files.read_text()
    files.write_text(text.replace("platform:\n", f"platform:\n  listen: 127.0.0.1:{port}\n"
                                                  f"  internal_key: {secret}\n"))
    running = Up(files, files.parent / "state")
    other = weir.Relay({"SERVER_URL": f"http://127.0.0.1:{port}", "RELAY_INTERNAL_KEY": secret,
                        "RELAY_TLS": "0"}, platform_ports=[port])
    try:
        for relay in (running, other):
            daemon = World(relay, None).peer()
            daemon.upgrade(ws.path_of("workspace-daemon", "demo", "laptop"),
                           minted(running, "workspace-daemon"))
            daemon.finish()
    finally:
        ws.close_all()
        other.stop()
        running.stop()


# ---- The page that shows them all


@pytest.fixture(scope="module", name="browser")
def browser_fixture(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    driver.set_window_size(1280, 1000)
    yield driver
    driver.quit()


def texts(browser, selector):
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector)


def show(browser, view):
    def there():
        return browser.execute_script(
            "const e = [...document.querySelectorAll('.views button')]"
            ".find(e => e.innerText.endsWith(arguments[0])); e?.click(); return e !== undefined", view)
    eventually(there, f"the view {view}", 20)


def judged(browser):
    browser.execute_script(AXE.read_text())
    return browser.execute_async_script(
        "axe.run().then(r => arguments[0](r.violations.map("
        "v => [v.id, v.nodes.map(n => n.html + n.failureSummary)])))")


def test_one_page_shows_all(up, browser, authority, service):
    world = World(up, None)
    daemon, client = world.peer(), world.peer()
    daemon.upgrade(ws.path_of("workspace-daemon", "demo", "laptop"),
                   minted(up, "workspace-daemon"))
    client.upgrade(ws.path_of("client", "demo", "laptop"),
                   minted(up, "client", "--scope", "runtime"))
    with pytest.raises(ws.Refused):
        world.peer().upgrade(ws.path_of("client", "demo", "laptop"), "no-token-at-all")
    port = up.log.wait("engine_started")["details"]["port"]
    agent = subprocess.Popen(
        [weir.binary(), "forward", str(service), "--host", "web", "-o", "none",
         "--engine", f"127.0.0.1:{port}", "--engine-tls-ca-file", str(authority.path),
         "--engine-tls-server-name", HOST],
        env={**weir.base_environment(), "RSTREAM_AUTHENTICATION_TOKEN": jwt({"exp": 4102444800})},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: visit(authority, port) == b"from behind the tunnel", "it is published")
        browser.get(up.health_url("/health"))
        show(browser, "relay")
        eventually(lambda: texts(browser, ".rows .name") == ["demo:laptop"], "the cell", 20)
        assert "daemon since" in texts(browser, ".rows .row")[0]
        assert "1 client" in texts(browser, ".rows .row")[0]
        assert texts(browser, ".counts li"), "somebody was turned away"
        for _ in range(20):
            client.send(f.text(f.e2ee()))
            daemon.recv_text()
        eventually(lambda: any("/s" in text and not text.endswith("\n0.0 /s")
                               for text in texts(browser, ".facts div") if "to daemons" in text),
                   "frames a second", 20)
        assert any("client_connected" in line for line in texts(browser, ".log li"))
        assert browser.current_url.endswith("#relay")
        assert judged(browser) == []
        show(browser, "tunnels")
        eventually(lambda: any(f"web.t.{HOST}" in row for row in texts(browser, ".rows .row")),
                   "the tunnel", 20)
        eventually(lambda: any("weir" in row and "1 in all" in row
                               for row in texts(browser, ".rows .row")), "its agent")
        facts = dict(text.split("\n", 1) for text in texts(browser, ".facts div"))
        assert facts["agents"] == "1" and facts["tunnels"] == "1"
        assert facts["certificate"].startswith("for ")
        assert judged(browser) == []
        browser.refresh()
        eventually(lambda: "Engine:" in " ".join(texts(browser, "h1")), "by its address", 20)
        show(browser, "timeline")
        eventually(lambda: set(texts(browser, ".events .badge")) == {"health", "relay", "engine"},
                   f"all three: {set(texts(browser, '.events .badge'))}", 20)
        assert judged(browser) == []
        browser.execute_script(
            "const e = document.querySelector('.filters select'); e.value = 'engine';"
            "e.dispatchEvent(new Event('change', {bubbles: true}))")
        eventually(lambda: set(texts(browser, ".events .badge")) == {"engine"}, "of one part")
        assert browser.current_url.endswith("?part=engine#timeline")
        browser.refresh()
        eventually(lambda: texts(browser, "h1") == ["Timeline"], "by its address", 20)
        show(browser, "health")
        eventually(lambda: texts(browser, ".connection") == ["live"], "health goes on", 20)
    finally:
        agent.send_signal(signal.SIGTERM)
        agent.wait(20)


def test_neighbours_elsewhere(lab, serve, relay, tmp_path):
    """A monitor of its own, told where the relay is."""
    lab.write({"it": {"type": "exec", "command": "true"}})
    token = tmp_path / "token"
    token.write_text(weir.ADMIN_TOKEN + "\n")
    url = f"http://127.0.0.1:{relay.port}"
    monitor = serve("--relay", url + "/", "--relay-token-file", str(token))
    page = Page(monitor)
    page.wait(lambda tables: tables.table("parts").get("relay", {}).get("heard"), "it is heard")
    assert set(page.tables.table("parts")) == {"relay"}
    assert page.tables.table("relay")["now"]["relayId"] == relay.state()["relayId"]
    page.close()
    token.write_text("another-token")
    page = Page(serve("--relay", url, "--relay-token-file", str(token)))
    page.wait(lambda tables: "does not take the token" in
              (tables.table("parts").get("relay", {}).get("problem") or ""), "refused")
    page.close()


@pytest.mark.parametrize("args, words", [
    (("--relay", "nonsense"), '--relay "nonsense" is not usable'),
    (("--relay", "ftp://x"), '--relay "ftp://x" is not usable'),
    (("--relay", "http://u:p@x"), "is not usable"),
    (("--engine-token-file", "/dev/null"), "what goes with --engine wants it, too"),
    (("--relay", "http://x", "--relay-token-file", "/nowhere"), "--relay-token-file /nowhere"),
    (("--engine", "https://x", "--engine-metrics", "x"), "--engine-metrics"),
])
def test_neighbours_that_are_none(lab, args, words):
    lab.write({"it": {"type": "exec", "command": "true"}})
    result = weir.run("health", "serve", "--registry", str(lab.directory / "registry.yml"), *args)
    assert result.returncode == 64 and words in result.stderr
