# SPDX-License-Identifier: Apache-2.0
"""Published HTTP between programs that are not ours: nginx, nghttpd and Node behind the agent; curl and
h2load before the engine."""
import hashlib
import re
import subprocess

import pytest

from lib import forward, targets
from lib.site import Site, label_of

PAGE = b"a page of one kilobyte " * 45
BIG = bytes(range(256)) * 16384  # 4 MiB


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp("root")
    directory.chmod(0o755)
    (directory / "page").write_bytes(PAGE)
    (directory / "big").write_bytes(BIG)
    return directory


@pytest.fixture(scope="module")
def nginx(root):
    port = targets.free_port()
    config = root / "nginx.conf"
    config.write_text(
        f"""daemon off; master_process off; pid {root}/nginx.pid; error_log stderr; user root;
events {{}}
http {{ access_log off; client_max_body_size 0; client_body_temp_path {root};
proxy_temp_path {root}; fastcgi_temp_path {root}; uwsgi_temp_path {root}; scgi_temp_path {root};
gzip on; gzip_types *; gzip_min_length 1;
server {{ listen 127.0.0.1:{port}; root {root};
  location = /host {{ return 200 "$http_host $scheme $http_x_forwarded_proto $request_uri"; }}
  location = /upload {{ client_body_in_file_only clean; client_body_buffer_size 8k;
    proxy_pass http://127.0.0.1:{port}/taken; }}
  location = /taken {{ return 200 "$http_content_length\\n"; }}
}} }}
"""
    )
    server = targets.Program(["/usr/sbin/nginx", "-c", config], port)
    yield server
    server.stop()


def nghttpd(root):
    port = targets.free_port()
    return targets.Program(["nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", root, port], port)


@pytest.fixture
def publish(engine, request):
    label = label_of(request.node.name)
    return lambda port, **properties: Site(engine, label, forward.to(port), **properties)


def fetch(engine, site, path, *args):
    done = engine.curl(site.host, path, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


VERSIONS = pytest.mark.parametrize("version", ["--http1.1", "--http2"])


@VERSIONS
def test_nginx(engine, nginx, publish, version):
    site = publish(nginx.port)
    assert fetch(engine, site, "/page", version) == PAGE
    assert fetch(engine, site, "/page", version, "--compressed") == PAGE
    assert fetch(engine, site, "/page", version, "-r", "2-5") == PAGE[2:6]
    assert fetch(engine, site, "/big", version) == BIG
    assert b"Content-Length" in fetch(engine, site, "/page", "--http1.1", "-I").title()
    name = f"{site.host}:{engine.port}"
    assert fetch(engine, site, "/host?a=%2F", version) == f"{name} http https /host?a=%2F".encode()


@VERSIONS
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_uploads_to_nginx(engine, nginx, publish, root, version, chunked):
    site = publish(nginx.port)
    more = ["-H", "Transfer-Encoding: chunked"] if chunked and version == "--http1.1" else []
    source = "-" if chunked else str(root / "big")
    done = subprocess.run(
        ["curl", "-sS", version, "--noproxy", "*", "--cacert", engine.ca, "-T", source, *more,
         "--resolve", f"{site.host}:{engine.port}:127.0.0.1",
         f"https://{site.host}:{engine.port}/upload"],
        input=BIG if chunked else None, capture_output=True, timeout=30, check=True)
    assert done.stdout == b"%d\n" % len(BIG)


@VERSIONS
def test_nghttpd_without_tls(engine, publish, root, version):
    server = nghttpd(root)
    try:
        site = publish(server.port, http_version="h2c")
        assert fetch(engine, site, "/page", version) == PAGE
        assert fetch(engine, site, "/big", version) == BIG
    finally:
        server.stop()


@VERSIONS
def test_nghttpd_with_a_certificate_of_its_own(engine, publish, root, authority, version):
    cert, key = authority.issue("service", hosts=["service.internal"])
    port = targets.free_port()
    server = targets.Program(["nghttpd", "-a", "127.0.0.1", "-d", root, port, key, cert], port)
    try:
        site = publish(port, upstream_tls=True)
        assert fetch(engine, site, "/page", version) == PAGE
        assert fetch(engine, site, "/big", version) == BIG
    finally:
        server.stop()


NODE = """
const http = require('http'), crypto = require('crypto');
http.createServer((request, response) => {
  const sum = crypto.createHash('sha256');
  request.on('data', piece => sum.update(piece));
  request.on('end', () => {
    response.setHeader('Trailer', 'X-Sum');
    response.write('begun ');
    response.addTrailers({'X-Sum': sum.digest('hex')});
    response.end('and done');
  });
}).on('upgrade', (request, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n');
  socket.pipe(socket);
}).listen(%d, '127.0.0.1');
"""


def test_node(engine, publish):
    port = targets.free_port()
    server = targets.Program(["node", "-e", NODE % port], port)
    try:
        site = publish(port)
        visitor = site.visitor()
        for body in (b"abc", BIG):
            message = site.ask(visitor, "/", "POST", body=body)
            assert message.body == b"begun and done"
            assert message.trailers == [("x-sum", hashlib.sha256(body).hexdigest())]
        message = site.ask(visitor, fields=["Connection: Upgrade", "Upgrade: echo"])
        assert message.status == 101
        visitor.send(b"to and fro")
        assert visitor.recv_exact(10) == b"to and fro"
        assert site.streams <= 2
    finally:
        server.stop()


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
@pytest.mark.parametrize("kind", ["nginx", "h2c"])
def test_h2load(engine, nginx, publish, root, alpn, kind):
    server = nghttpd(root) if kind == "h2c" else None
    try:
        site = publish(server.port, http_version="h2c") if server else publish(nginx.port)
        done = subprocess.run(
            ["h2load", "-n", "400", "-c", "4", "-m", "8", f"--npn-list={alpn}",
             f"--connect-to=127.0.0.1:{engine.port}", f"https://{site.host}:{engine.port}/page"],
            capture_output=True, text=True, timeout=60, check=True)
        assert re.search(r"400 succeeded, 0 failed, 0 errored", done.stdout), done.stdout
        assert "status codes: 400 2xx" in done.stdout
        if kind == "h2c":
            assert site.streams == 4
    finally:
        if server:
            server.stop()


# ---- Other visitors


def test_nghttp(engine, nginx, publish):
    """Several requests on one connection, and a head that asks for an answer in other terms."""
    site = publish(nginx.port)
    url = f"https://127.0.0.1:{engine.port}"
    done = subprocess.run(
        ["nghttp", "-y", "-H", f":authority: {site.host}:{engine.port}", f"{url}/page", f"{url}/host"],
        capture_output=True, text=True, timeout=30, check=True)
    assert PAGE.decode() in done.stdout
    assert f"{site.host}:{engine.port} http https /host" in done.stdout


def test_s_client(engine, nginx, publish):
    site = publish(nginx.port)
    request = f"GET /page HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n"
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{engine.port}", "-servername", site.host,
         "-CAfile", engine.ca, "-verify_return_error", "-verify_hostname", site.host, "-ign_eof",
         "-alpn", "http/1.1"],
        input=request.encode(), capture_output=True, timeout=30, check=True)
    assert b"ALPN protocol: http/1.1" in done.stdout
    assert b"Verify return code: 0 (ok)" in done.stdout
    assert b"HTTP/1.1 200 OK\r\n" in done.stdout and PAGE in done.stdout
