# SPDX-License-Identifier: Apache-2.0
"""The API's description of itself: valid OpenAPI, true, and a page without foreign hosts."""
import html.parser
import json
import re
import subprocess

import pytest

from lib import health

VALIDATE = """
use JSON::Validator;
my $validator = JSON::Validator->new;
$validator->schema($ARGV[0]);
print "$_\\n" for @{$validator->schema->errors};
print ref($validator->schema), "\\n";
"""


@pytest.fixture
def monitor(lab, serve):
    up = health.Switch(lab)
    lab.write({"web": up.check})
    monitor = serve()
    monitor.wait_status("web", "healthy")
    return monitor


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def filled(path):
    return re.sub(r"\{(\w+)\}", lambda m: "here" if m[1] == "machine" else "web", path)


def test_it_is_valid(lab, monitor):
    file = lab.directory / "openapi.json"
    file.write_bytes(monitor.ask("GET", "/openapi.json").body)
    done = subprocess.run(["perl", "-e", VALIDATE, str(file)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("JSON::Validator::Schema::OpenAPIv3\n", "")


def test_it_is_consistent(monitor):
    document = monitor.get("/openapi.json")
    assert document["openapi"] == "3.0.3"
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names)) > 60
    for path, _, operation in operations(document):
        in_path = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
        assert in_path == re.findall(r"\{(\w+)\}", path)
        assert operation["summary"] and "default" in operation["responses"]


def test_every_path_is_served(monitor):
    """With the method that is told; a GET answers with the type that is told."""
    for path, method, operation in operations(monitor.get("/openapi.json")):
        answer = monitor.ask("OPTIONS", filled(path))
        assert method in answer.headers["allow"].split(", "), path
        if method == "GET" and path != "/":
            answer = monitor.ask("GET", filled(path), headers={"Accept": "*/*"})
            (kind,) = operation["responses"]["2XX"]["content"]
            if answer.status == 200 and path != "/api/metrics/all/stream":
                assert answer.headers["content-type"].split(";")[0] == kind, path
            assert answer.status in (200, 302, 404), (path, answer.status)


def test_every_parameter_is_read(monitor):
    """A number or a truth value that is none is refused: so it was looked at."""
    seen = 0
    for path, method, operation in operations(monitor.get("/openapi.json")):
        for parameter in operation["parameters"]:
            if parameter["in"] == "query" and parameter["schema"]["type"] in ("integer", "boolean"):
                answer = monitor.ask(method, f"{filled(path)}?{parameter['name']}=x")
                assert answer.status == 422, (path, parameter["name"])
                assert parameter["name"] in json.dumps(answer.json()["field_errors"])
                seen += 1
    assert seen > 10


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        assert tag != "script"
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_for_people(monitor):
    for path in ("/docs", "/redoc"):
        answer = monitor.ask("GET", path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        page = Page(answer.body.decode())
        # Nothing is loaded from anywhere else.
        assert page.links == ["/health/style.css", "/openapi.json"]
        for told in monitor.get("/openapi.json")["paths"]:
            assert told in page.texts, told
        assert "/api/deployment/ws/{id}" in page.texts


def test_everybody_may_read_it(lab, serve):
    lab.write({})
    tokens = lab.directory / "tokens"
    tokens.write_text("operator-token-01234 operator\n")
    monitor = serve("--tokens", str(tokens), "--public-read", "false")
    document = monitor.get("/openapi.json")
    assert monitor.ask("GET", "/docs").status == 200
    for path, method, operation in operations(document):
        answer = monitor.ask(method, filled(path))
        open_to_all = operation.get("security") == []
        assert (answer.status != 401) == open_to_all, (method, path, answer.status)
