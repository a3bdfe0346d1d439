# SPDX-License-Identifier: Apache-2.0
"""The monitor's HTTP as dashboards, browsers, badges and scripts use it: every route's shape, who may
read what from where, and what a page of somebody else's may not do."""
import gzip
import json
import re
import socket
import subprocess
import xml.etree.ElementTree as ET

from lib import health, weir
from lib.wait import eventually

HTML = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
SECURITY = {
    "x-content-type-options": "nosniff", "x-frame-options": "SAMEORIGIN",
    "x-xss-protection": "1; mode=block", "referrer-policy": "strict-origin-when-cross-origin",
}


def two(lab):
    """A service that is up and needs one that is down."""
    up, down = health.Switch(lab, "up"), health.Switch(lab, "down", on=False)
    lab.write(
        {}, {"pi1": {"ip": "127.0.0.1", "ssh_user": "me", "roles": ["edge", "dns"]},
             "pi2": {"ip": "198.51.100.7"}},
        web={"current_host": "pi1", "deployment_type": "docker", "port": 8080, "tls_cert": "/x",
             "hostname": "web.home", "docker_compose": "/web/docker-compose.yml",
             "description": "the <site>", "dependencies": ["db"], "health_check": up.check},
        db={"current_host": "pi1", "health_check": down.check},
        idle={"current_host": "pi2"})
    return up, down


def settled(monitor):
    monitor.wait_status("web", "healthy")
    monitor.wait_status("db", "unhealthy")
    return monitor


# ---- What stands in the registry


def test_machines(lab, serve):
    two(lab)
    monitor = settled(serve())
    machines = monitor.get("/api/machines")["machines"]
    assert [m["name"] for m in machines] == ["pi1", "pi2"]
    assert set(machines[0]) == {"name", "ip", "ssh_user", "roles", "role", "services_count", "status"}
    assert machines[0]["ip"] == "127.0.0.1" and machines[0]["ssh_user"] == "me"
    assert machines[0]["roles"] == ["edge", "dns"] and machines[0]["role"] == "edge"
    assert [m["services_count"] for m in machines] == [2, 1]
    assert machines[1]["roles"] == [] and machines[1]["role"] is None
    one = monitor.get("/api/machines/pi1")
    assert {**one, "services": None} == {**machines[0], "services": None}
    assert [s["name"] for s in one["services"]] == ["web", "db"]
    assert monitor.ask("GET", "/api/machines/nobody").status == 404


def test_services(lab, serve):
    two(lab)
    monitor = settled(serve())
    services = monitor.get("/api/services")["services"]
    assert services[0] == {
        "name": "web", "hostname": "web.home", "current_host": "pi1", "machine_name": "pi1",
        "deployment_type": "docker", "docker_compose": "/web/docker-compose.yml",
        "service_file": None, "service_name": None, "port": 8080, "description": "the <site>",
        "dependencies": ["db"], "tls_enabled": True, "requires_auth": False,
    }
    assert services[2]["port"] is None
    one = monitor.get("/api/services/web")
    assert {k: one[k] for k in services[0]} == services[0]
    assert [monitor.get(f"/api/services/{n}")["health"] for n in ("web", "db", "idle")] == [
        "healthy", "unhealthy", "unknown"]
    answer = monitor.ask("GET", "/api/services/no")
    assert answer.status == 404 and "'no'" in answer.json()["detail"]


def test_status_and_config(lab, serve):
    two(lab)
    monitor = settled(serve())
    answer = monitor.get("/api/status")
    lines = answer["output"].splitlines()
    assert answer["success"] is True
    assert lines[0] == f"{'SERVICE':25} {'TYPE':10} {'MACHINE':15} {'STATUS':10} HEALTH"
    assert lines[1:] == [
        f"{'web':25} {'docker':10} {'pi1':15} {'running':10} ✓",
        f"{'db':25} {'docker':10} {'pi1':15} {'stopped':10} ✗",
        f"{'idle':25} {'docker':10} {'pi2':15} {'unknown':10} N/A",
    ]
    done = lab.run("status")
    assert done.stdout.splitlines()[0] == lines[0]  # the command line's is the same table
    assert monitor.get("/api/config") == {
        "auth_enabled": False, "vault_enabled": False, "keycloak_url": None,
        "keycloak_realm": None, "keycloak_client_id": None}


# ---- Pictures and pages


def test_badges(lab, serve):
    name = "odd & <b>\"x\"\x1b[2J"
    up = health.Switch(lab)
    lab.write({name: up.check, "up": up.check}, idle={"current_host": "here"})
    monitor = serve()
    monitor.wait_status("up", "healthy")

    def badge(path):
        answer = monitor.ask("GET", f"/api/health/badge/{path}")
        assert answer.status == 200 and answer.headers["content-type"].startswith("image/svg+xml")
        root = ET.fromstring(answer.body.decode())
        return [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]

    assert badge("up.svg") == ["up", "healthy"]
    assert badge("idle.svg") == ["idle", "unknown"]
    assert badge("up.svg?uptime=24h") == ["up", "100.00 %"]
    assert badge("idle.svg?uptime=24h") == ["idle", "no data"]
    assert badge("odd%20%26%20%3Cb%3E%22x%22%1B%5B2J.svg")[0] == 'odd & <b>"x"\ufffd[2J'
    monitor.ask("POST", "/api/health/maintenance/up")
    assert badge("up.svg") == ["up", "maintenance"]
    assert monitor.ask("GET", "/api/health/badge/nobody.svg").status == 404
    assert monitor.ask("GET", "/api/health/badge/up.svg?uptime=7d").status == 422
    assert monitor.ask("GET", "/api/health/badge/up.png").status == 404


def test_the_page(lab, serve):
    two(lab)
    monitor = settled(serve())
    answer = monitor.ask("GET", "/")
    assert (answer.status, answer.headers["location"]) == (302, "health")
    page = monitor.ask("GET", "/health", headers=HTML)
    text = page.body.decode()
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Accept" in page.headers["vary"]
    assert "Cluster: unhealthy" in text and "<noscript><meta http-equiv" in text
    assert text.index(">web<") < text.index(">db<") < text.index(">idle<")
    assert "pid file missing" in text and "no health check declared" in text
    assert monitor.ask("GET", "/health/style.css").headers["content-type"] == "text/css; charset=utf-8"
    only = monitor.ask("GET", "/health?status=unhealthy", headers=HTML).body.decode()
    assert ">db<" in only and ">web<" not in only and "1 of 3 services shown" in only
    assert ">web<" in monitor.ask("GET", "/health?text=WE&machine=pi1", headers=HTML).body.decode()
    # A program gets what it always got.
    for accept in ("*/*", "application/json", ""):
        assert monitor.ask("GET", "/health", headers={"Accept": accept}).json()["status"] == "healthy"


def test_names_stay_text_on_the_page(lab, serve):
    name = "<script>alert('1')</script>\x07"
    lab.write({name: {"type": "exec", "command": "echo '<img src=x>'; false", "interval": 1}},
              {"<i>": {"ip": "127.0.0.1"}})
    monitor = serve()
    eventually(lambda: monitor.get("/api/health/dashboard")["services"][0]["last_checked"], "a check")
    text = monitor.ask("GET", "/health?text=%22%3E%3Cscript%3E", headers=HTML).body.decode()
    assert 'value="&quot;&gt;&lt;script&gt;"' in text
    text = monitor.ask("GET", "/health", headers=HTML).body.decode()
    assert "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;\ufffd" in text
    assert "&lt;img src=x&gt;" in text and "&lt;i&gt;" in text
    for tag in ("<script>", "<img", "<i>", "\x07"):
        assert tag not in text
    assert text.count("<script") == 1, "our own"


def test_another_dashboard(lab, serve, tmp_path):
    two(lab)
    ui = tmp_path / "dist"
    (ui / "assets").mkdir(parents=True)
    (ui / "index.html").write_text("<title>theirs</title>")
    (ui / "assets" / "app.js").write_text("// theirs")
    (ui / "secret").symlink_to("/etc/passwd")
    (ui / ".env").write_text("KEY=1")
    monitor = serve("--ui-dir", str(ui))
    page = monitor.ask("GET", "/", headers=HTML)
    assert (page.status, page.body) == (200, b"<title>theirs</title>")
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    script = monitor.ask("GET", "/assets/app.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    again = monitor.ask("GET", "/assets/app.js", headers={"If-None-Match": script.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert monitor.ask("HEAD", "/assets/app.js").headers["content-length"] == "9"
    # Where a browser goes, the dashboard finds its way; a program is told that nothing is there.
    assert monitor.ask("GET", "/cluster/pi1", headers=HTML).body == b"<title>theirs</title>"
    assert monitor.ask("GET", "/cluster/pi1").status == 404
    assert monitor.ask("GET", "/api/nothing", headers=HTML).status == 404
    assert monitor.ask("POST", "/assets/app.js").status == 404
    for path in ("/secret", "/.env", "/../registry.yml", "/assets/../../registry.yml",
                 "/..%2fregistry.yml", "/assets//app.js", "/assets/", "/assets"):
        answer = monitor.ask("GET", path)
        assert answer.status == 404, path
    assert monitor.get("/ping") == {"status": "ok"}
    assert lab.run("serve", "--ui-dir", str(ui / "none")).returncode == 64


def test_what_the_older_dashboard_asks_for(lab, serve):
    """The requests that portoser's own page makes, and the fields that its tiles and cards read."""
    two(lab)
    monitor = settled(serve())
    assert monitor.get("/api/config")["auth_enabled"] is False
    assert {"name", "ip", "role"} <= set(monitor.get("/api/machines")["machines"][0])
    assert {"name", "machine_name", "current_host"} <= set(monitor.get("/api/services")["services"][0])
    page = monitor.get("/api/health/dashboard?refresh=true")
    tiles = [page[f"{k}_services"] for k in ("total", "healthy", "degraded", "unhealthy")]
    assert tiles == [3, 1, 0, 2]
    problems = monitor.get("/api/diagnostics/problems/frequency")
    assert set(problems[0]) == {"problem_type", "count", "last_seen", "services_affected", "severity"}
    card = monitor.get("/api/services/db/health")
    assert {"service", "status", "healthy", "output", "health_score", "trend", "problems",
            "observations"} <= set(card)
    assert set(card["problems"][0]) == {"name", "description"}
    assert set(card["observations"][0]) == {"type", "name", "message"}
    cards = monitor.get("/api/diagnostics/health/all")
    assert [(c["service"], c["status"]) for c in cards] == [
        ("web", "healthy"), ("db", "unhealthy"), ("idle", "unknown")]
    sample = monitor.ask("GET", "/api/metrics/web/pi1?timeRange=1h")
    assert sample.status == 200 and sample.json()["time_range"] == "1h"
    assert sample.headers["x-workers-status"] == "disabled"
    assert [m["machine"] for m in monitor.get("/api/metrics/all")] == ["pi1", "pi2"]


# ---- Headers


def raw(monitor, request):
    with socket.create_connection(("127.0.0.1", monitor.port), 5) as conn:
        conn.sendall(request.encode())
        seen = b""
        while chunk := conn.recv(65536):
            seen += chunk
        return seen.decode()


def test_every_answer_has_its_headers(lab, serve):
    two(lab)
    monitor = settled(serve())
    tag = monitor.ask("GET", "/api/health/dashboard?refresh=false").headers["etag"]
    for method, path, headers, status in (
        ("GET", "/ping", {}, 200), ("GET", "/nothing", {}, 404), ("PUT", "/ping", {}, 405),
        ("GET", "/api/health/dashboard?refresh=false", {"If-None-Match": tag}, 304),
        ("GET", "/metrics", {}, 200), ("GET", "/", {}, 302), ("OPTIONS", "/ping", {}, 204),
    ):
        answer = monitor.ask(method, path, headers=headers)
        assert answer.status == status, path
        assert SECURITY.items() <= dict(answer.headers).items(), path
        assert answer.headers["permissions-policy"].count("=()") == 8
    assert monitor.ask("PUT", "/ping").headers["allow"] == "GET, HEAD, OPTIONS"
    # Those that no route sees: too large, and no HTTP.
    for request, status in (
        ("POST /api/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n", 413),
        ("GET /ping HTTP/1.1\r\n\r\n", 400),
        (f"GET /ping HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 20000}\r\n\r\n", 431),
    ):
        head = raw(monitor, request).lower()
        assert head.startswith(f"http/1.1 {status} "), head
        assert "x-content-type-options: nosniff\r\n" in head


def test_transport_security_is_asked_for_over_tls_only(lab, serve):
    two(lab)
    monitor = serve()
    through = {"X-Forwarded-Proto": "https"}
    assert "strict-transport-security" not in monitor.ask("GET", "/ping").headers
    assert monitor.ask("GET", "/ping", headers=through).headers["strict-transport-security"] == "max-age=31536000"
    monitor = serve(env={"ENVIRONMENT": "development"})
    assert "strict-transport-security" not in monitor.ask("GET", "/ping", headers=through).headers


def test_pages_of_other_origins(lab, serve):
    two(lab)
    listed = "https://board.example"
    monitor = serve(env={"CORS_ALLOWED_ORIGINS": f"http://a.example, {listed}/"})
    answer = monitor.ask("GET", "/api/health/dashboard", headers={"Origin": listed})
    assert answer.headers["access-control-allow-origin"] == listed
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    other = monitor.ask("GET", "/api/health/dashboard", headers={"Origin": "https://evil.example"})
    assert other.status == 200 and "access-control-allow-origin" not in other.headers
    asks = {"Origin": listed, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type"}
    answer = monitor.ask("OPTIONS", "/api/health/check/web", headers=asks)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert "Content-Type" in answer.headers["access-control-allow-headers"]
    assert "content-length" not in answer.headers
    refused = monitor.ask("OPTIONS", "/api/health/check/web", headers={**asks, "Origin": "https://x.example"})
    assert refused.status == 403 and "CORS_ALLOWED_ORIGINS" in refused.json()["detail"]
    assert monitor.ask("OPTIONS", "/api/none", headers=asks).status == 404
    # A page that is named may also change something.
    assert monitor.ask("POST", "/api/health/check/web", headers={"Origin": listed}).status == 202
    assert monitor.ask("POST", "/api/health/check/web", headers={"Origin": "https://x.example"}).status == 403


def test_every_origin(lab, serve):
    two(lab)
    monitor = serve(env={"CORS_ALLOWED_ORIGINS": "*"})
    answer = monitor.ask("GET", "/ping", headers={"Origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    # To read is one thing, to change something another.
    assert monitor.ask("POST", "/api/health/check/web", headers={"Origin": "https://any.example"}).status == 403


def test_dashboards_under_development(lab, serve):
    two(lab)
    origin = {"Origin": "http://localhost:5173"}
    assert "access-control-allow-origin" not in serve().ask("GET", "/ping", headers=origin).headers
    monitor = serve(env={"ENVIRONMENT": "development"})
    assert monitor.ask("GET", "/ping", headers=origin).headers["access-control-allow-origin"] == origin["Origin"]


def test_a_name_that_points_here_is_not_ours(lab, serve):
    """DNS rebinding: a page of evil.example whose name now leads to 127.0.0.1."""
    two(lab)
    monitor = serve("--allow-host", "nas.home,board.home")
    for host, status in (
        ("evil.example", 421), ("evil.example:8988", 421), ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421), ("notlocalhost", 421), ("[::1", 421), ("", 421),
        ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1:8988", 200), ("[::1]:8988", 200),
        ("192.168.1.2", 200), ("x.localhost", 200), ("nas.home", 200), ("board.home:80", 200),
        (socket.gethostname(), 200),
    ):
        answer = raw(monitor, f"GET /api/health/dashboard HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        assert answer.startswith(f"HTTP/1.1 {status} "), (host, answer[:200])
    assert "--allow-host" in raw(monitor, "GET /ping HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")


def test_behind_tokens_the_name_does_not_matter(lab, serve):
    two(lab)
    tokens = lab.directory / "tokens"
    tokens.write_text("viewer-token-0123456 viewer\nadmin-token-01234567 admin\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "false")
    ask = "GET {} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    assert raw(monitor, ask.format("/api/health")).startswith("HTTP/1.1 200 ")
    assert raw(monitor, ask.format("/metrics")).startswith("HTTP/1.1 401 ")
    page = monitor.ask("GET", "/health", headers=HTML)
    assert page.status == 401 and b"A token is wanted" in page.body
    page = monitor.ask("GET", "/health?token=viewer-token-0123456", headers=HTML)
    assert page.status == 200 and b">web<" in page.body


def test_what_is_public(lab, serve):
    """public_read opens health, metrics and badges, and nothing that names addresses and users."""
    two(lab)
    tokens = lab.directory / "tokens"
    tokens.write_text("viewer-token-0123456 viewer\nadmin-token-01234567 admin\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "true", token="")
    opened = ("/ping", "/health", "/api/health", "/api/config", "/api/health/dashboard", "/metrics",
              "/api/metrics", "/api/health/timeline", "/api/health/heatmap", "/api/devices/metrics",
              "/api/health/badge/web.svg", "/api/health/services/web", "/api/health/machines/pi1")
    closed = ("/api/machines", "/api/services", "/api/machines/pi1", "/api/services/web",
              "/api/status", "/api/devices", "/api/uptime/all", "/api/metrics/all",
              "/api/diagnostics/health/all")
    for path in opened:
        assert monitor.ask("GET", path).status == 200, path
    for path in closed:
        assert monitor.ask("GET", path).status == 401, path
        assert monitor.ask("GET", f"{path}?token=viewer-token-0123456").status == 200, path


# ---- All of them


def routes():
    text = (weir.ROOT / "src/health/api/api_routes.def").read_text()
    return re.findall(r'^API_ROUTE\("(\w+)", "([^"]+)"', text, re.M)


def test_every_route_is_there(lab, serve):
    """None is missing or shadowed by another, and HEAD is answered wherever GET is."""
    two(lab)
    monitor = settled(serve())
    assert monitor.ask("POST", "/api/diagnostics/run", {"service": "web"}).status == 200
    for method, pattern in routes():
        path = pattern.format(service="web", machine="pi1", name="web", status="healthy")
        answer = monitor.ask(method, path)
        if pattern == "/api/metrics/{service}/{machine}/history":
            assert answer.status == 404 and answer.json()["detail"] == "No metrics found"
            continue
        # Without what it needs a POST may be refused, but it is known.
        assert answer.status in (200, 202, 302, 400, 422), (method, path, answer.status)
        if method == "GET":
            head = monitor.ask("HEAD", path)
            assert (head.status, head.body) == (answer.status, b""), path
            assert head.headers.get("content-type") == answer.headers.get("content-type"), path
        counted = monitor.ask("GET", "/metrics").body.decode()
        assert f'http_requests_total{{method="{method}",endpoint="{pattern}"' in counted, pattern


# ---- Foreign clients


def test_curl(lab, serve):
    two(lab)
    monitor = settled(serve())

    def curl(*args):
        return subprocess.run(["curl", "-sS", *args], capture_output=True, text=True, timeout=20,
                              check=True).stdout

    assert json.loads(curl(f"{monitor.url}/health"))["status"] == "healthy"
    assert curl("-L", "-H", "Accept: text/html", monitor.url).startswith("<!DOCTYPE html>")
    assert curl("-o", "/dev/null", "-w", "%{http_code}", f"{monitor.url}/api/health/dashboard?strict=1") == "503"
    head = curl("-I", f"{monitor.url}/api/health/badge/web.svg")
    assert re.search(r"(?i)content-length: [1-9]", head)
    assert curl("-X", "OPTIONS", "-i", f"{monitor.url}/ping").startswith("HTTP/1.1 204")


# ---- gzip


def packed(monitor, path, **headers):
    answer = monitor.ask("GET", path, headers={"Accept-Encoding": "gzip", **headers})
    if answer.headers.get("content-encoding") == "gzip":
        assert int(answer.headers["content-length"]) == len(answer.body)
        return answer, gzip.decompress(answer.body)
    return answer, None


def test_answers_are_packed_for_who_takes_that(lab, serve):
    lab.write({}, **{f"service-{i}": {"current_host": "here"} for i in range(40)})
    monitor = serve()
    for path in ("/api/health/dashboard", "/metrics", "/openapi.json", "/docs", "/api/services",
                 "/ping"):
        plain = monitor.ask("GET", path)
        assert "content-encoding" not in plain.headers
        assert "Accept-Encoding" in plain.headers["vary"]
        answer, body = packed(monitor, path)
        assert "Accept-Encoding" in answer.headers["vary"]
        if len(plain.body) < 1024:  # not worth it
            assert body is None
            continue
        assert len(answer.body) < len(plain.body) / 2
        assert answer.headers["content-type"] == plain.headers["content-type"]
        assert body[:200] == plain.body[:200] or path in ("/api/health/dashboard", "/metrics")
    for coding in ("identity", "gzip;q=0", "br", "*;q=0"):
        answer = monitor.ask("GET", "/api/services", headers={"Accept-Encoding": coding})
        assert "content-encoding" not in answer.headers, coding
    head = monitor.ask("HEAD", "/api/services", headers={"Accept-Encoding": "gzip"})
    answer, _ = packed(monitor, "/api/services")
    assert head.body == b"" and head.headers["content-length"] == answer.headers["content-length"]
    assert head.headers["content-encoding"] == "gzip"


def test_each_coding_has_a_tag_of_its_own(lab, serve):
    lab.write({}, **{f"service-{i}": {"current_host": "here"} for i in range(40)})
    ui = lab.directory / "ui"
    ui.mkdir()
    (ui / "app.js").write_text("let x = 1;\n" * 500)
    monitor = serve("--ui-dir", str(ui))
    monitor.ask("GET", "/api/health/dashboard")  # with refresh=false it is this one from now on
    for path in ("/app.js", "/api/health/dashboard?refresh=false"):
        plain = monitor.ask("GET", path)
        answer, body = packed(monitor, path)
        assert body == plain.body
        tags = {"identity": plain.headers["etag"], "gzip": answer.headers["etag"]}
        assert len(set(tags.values())) == 2
        for asked in tags:
            for known in tags:
                again = monitor.ask("GET", path, headers={"Accept-Encoding": asked,
                                                          "If-None-Match": tags[known]})
                assert again.status == (304 if asked == known else 200), (asked, known)
                assert again.headers["etag"] == tags[asked]
                if again.status == 304:
                    assert again.body == b"" and "content-encoding" not in again.headers
        # Also a second time, when it is packed already.
        assert packed(monitor, path)[1] == plain.body


def test_what_is_packed_is_what_curl_unpacks(lab, serve):
    lab.write({}, **{f"service-{i}": {"current_host": "here"} for i in range(40)})
    monitor = serve()
    for coding in ((), ("--compressed",)):
        done = subprocess.run(["curl", "-sS", *coding, f"{monitor.url}/api/health/dashboard"],
                              capture_output=True, check=True)
        assert json.loads(done.stdout)["total_services"] == 40
