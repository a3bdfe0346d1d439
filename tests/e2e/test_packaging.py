# SPDX-License-Identifier: Apache-2.0
"""What can be tested of containers without one: that the compose file means what the program means,
and that the image brings the libraries the program asks for."""
import json
import os
import pathlib
import re
import subprocess

import yaml

from lib import weir

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "packaging/compose/engine.yml"
DOCKERFILE = (ROOT / "packaging/docker/Dockerfile").read_text()
CONTROL = (ROOT / "packaging/debian/debian/control").read_text()
INSTALL = (ROOT / "packaging/docker/install.sh").read_text()
VARIABLES = {"TOKEN_SECRET": "0123456789abcdef0123456789abcdef"}


def expanded(value, variables):
    return re.sub(r"\$\{(\w+):\?[^}]*\}", lambda found: variables[found[1]], value)


def service():
    return yaml.safe_load(COMPOSE.read_text())["services"]["engine"]


def test_its_variables_are_keys_of_the_engine(engine):
    environment = {name: expanded(value, VARIABLES) for name, value in service()["environment"].items()}
    listen = {"RSTREAM_ENGINE_HTTP__ENABLED": "true"}
    printed = subprocess.run(
        [weir.binary(), "config", "print", "engine", "-c", str(engine.config)],
        env={**weir.base_environment(), **environment, **listen}, capture_output=True, text=True, timeout=20,
    )
    assert printed.returncode == 0, printed.stderr
    for value in ("[::]:8443", "[::]:8080", "127.0.0.1:9090"):
        assert value in printed.stdout
    assert VARIABLES["TOKEN_SECRET"] not in printed.stdout


def test_its_ports_are_those_that_are_listened_on():
    engine = service()
    published = dict(port.split(":") for port in engine["ports"])
    assert published == {"443": "8443", "80": "8080"}
    for name, key in (("8443", "TLS"), ("8080", "HTTP")):
        assert engine["environment"][f"RSTREAM_ENGINE_{key}__LISTEN_ADDR"] == f"[::]:{name}"
    assert engine["environment"]["RSTREAM_ENGINE_TLS__PUBLIC_PORT"] == "443"


def test_its_health_check_is_answered(engine):
    check = service()["healthcheck"]["test"]
    assert check[0] == "CMD"
    command = [
        expanded(word, {"ENGINE_HOST": engine.host}).replace("127.0.0.1:8443", f"127.0.0.1:{engine.port}")
        for word in check[1:]
    ]
    assert subprocess.run(command, timeout=20, check=False).returncode == 0
    wrong = [word.replace(engine.host, "elsewhere.test") for word in command]
    assert subprocess.run(wrong, stderr=subprocess.DEVNULL, timeout=20, check=False).returncode != 0


def test_the_image_runs_what_there_is():
    """Its steps are the script that the chroot's test runs; its user is not root; its words are commands."""
    assert "/weir/packaging/docker/install.sh /weir/build/release/bin/weir" in DOCKERFILE
    user = re.search(r"^USER (\w+)$", DOCKERFILE, re.M)[1]
    assert re.search(rf"^useradd .* {user}$", INSTALL, re.M)
    entry, words, check = (
        json.loads(re.search(rf"{key} (\[.*\])$", DOCKERFILE, re.M)[1])
        for key in ("^ENTRYPOINT", "^CMD", "^HEALTHCHECK.* CMD"))
    assert entry == check[:1] == ["/usr/bin/weir"]
    for command in (words, check[1:]):
        helped = subprocess.run([weir.binary(), *command, "--help"], capture_output=True, text=True, timeout=20, check=True)
        assert helped.stdout.startswith(f"weir {' '.join(command)}")


def objdump(*words):
    return subprocess.run(
        ["objdump", *words, weir.binary()], capture_output=True, text=True, timeout=20, check=True).stdout


def package_of(path):
    """"" when it is no Debian package's."""
    owner = subprocess.run(
        ["dpkg", "-S", os.path.realpath(path)], capture_output=True, text=True, timeout=20, check=False)
    return owner.stdout.split(":")[0]


def needed():
    """What weir names itself: libraries of libraries are their packages' affair. Name and package."""
    linked = subprocess.run(["ldd", weir.binary()], capture_output=True, text=True, timeout=20, check=True)
    paths = dict(re.findall(r"(\S+) => (\S+)", linked.stdout))
    names = set(re.findall(r"NEEDED\s+(\S+)", objdump("-p")))
    return {name: package_of(paths.get(name, "")) for name in names}


def loaded():
    """What it loads only when there is need: names of libraries among its constants."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, timeout=20, check=True)
    paths = dict(re.findall(r"^\s+(\S+) .* => (\S+)$", cache.stdout, re.M)[::-1])
    constants = pathlib.Path(weir.binary()).read_bytes()
    names = {name.decode() for name in re.findall(rb"\0(lib[a-z0-9_+-]+\.so\.[0-9.]+)(?=\0)", constants)}
    return {name: package_of(paths.get(name, "")) for name in names - set(needed())}


def test_the_image_has_the_libraries():
    for name, package in {**needed(), **loaded()}.items():
        if package and not package.startswith(("libc6", "libasan", "libubsan", "libtsan", "libgcc")):
            assert re.search(rf"\b{re.escape(package)}\b", INSTALL), f"{name} is of {package}, which the image does not install"


def test_the_package_depends_on_what_is_loaded():
    """dpkg-shlibdeps finds what is linked, and nothing else."""
    depends = re.search(r"^Package: weir\n.*?^Depends: (.*?)\n\w", CONTROL, re.M | re.S)[1]
    packages = loaded()
    assert {"libpq.so.5", "libsqlite3.so.0"} <= set(packages)
    for name, package in packages.items():
        assert package and re.search(rf"(^|, *){re.escape(package)}\b", depends), f"{name} is of {package}"
