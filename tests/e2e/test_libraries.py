# SPDX-License-Identifier: Apache-2.0
"""SQLite and libpq are loaded by those who keep something there, libyaml by those who read a file: others
start without them, and whoever lacks them says what to install."""
import pathlib
import re
import shutil

import pytest

from lib import weir
from lib.platform import StubPlatform

PACKAGES = {"libsqlite3.so.0": "libsqlite3-0", "libpq.so.5": "libpq5", "libyaml-0.so.2": "libyaml-0-2"}
REGISTRY = "services:\n  web:\n    hostname: web.test\n"


@pytest.fixture(name="without")
def without_fixture(tmp_path):
    """The variables of a machine that lacks the library."""

    def build(*names):
        directory = tmp_path / "lib"
        directory.mkdir()
        for name in names:
            (directory / name).touch()
        return {"LD_LIBRARY_PATH": str(directory), "WEIR_STATE_DIR": str(tmp_path / "state")}

    return build


def platform(database=None):
    return {"WEIR_PLATFORM_LISTEN": "127.0.0.1:0", **({"WEIR_PLATFORM_DATABASE": database} if database else {})}


def said(finished):
    return finished.stdout + finished.stderr


def test_a_platform_without_sqlite(without):
    finished = weir.run("platform", env={**without("libsqlite3.so.0"), **platform()})
    assert finished.returncode not in (0, 99), said(finished)
    assert "libsqlite3.so.0 cannot be loaded; install the Debian package libsqlite3-0" in said(finished)


def test_a_platform_without_libpq(without):
    url = "postgresql://nobody@127.0.0.1:9/nothing"
    finished = weir.run("platform", env={**without("libpq.so.5"), **platform(url)})
    assert finished.returncode not in (0, 99), said(finished)
    assert "libpq.so.5 cannot be loaded; install the Debian package libpq5" in said(finished)
    assert "nobody@" not in said(finished)


def test_its_keys_without_libpq(without, tmp_path):
    url = "postgresql://nobody@127.0.0.1:9/nothing"
    finished = weir.run("platform", "keys", "--state-dir", str(tmp_path / "state"),
                        env={**without("libpq.so.5"), **platform(url)})
    assert finished.returncode == 69, said(finished)
    assert finished.stderr == "weir platform keys: libpq.so.5 cannot be loaded; install the Debian package libpq5\n"


def test_a_library_that_is_too_old(tmp_path):
    other = next(path for path in pathlib.Path("/usr/lib").rglob("libz.so.1") if path.is_file())
    shutil.copy(other, tmp_path / "libpq.so.5")
    url = "postgresql://nobody@127.0.0.1:9/nothing"
    finished = weir.run("platform", env={**platform(url), "LD_LIBRARY_PATH": str(tmp_path),
                                         "WEIR_STATE_DIR": str(tmp_path / "state")})
    assert finished.returncode not in (0, 99), said(finished)
    assert re.search(r"libpq\.so\.5 has no PQ\w+; install a newer Debian package libpq5", said(finished))


def test_a_monitor_without_sqlite(without, tmp_path):
    registry = tmp_path / "registry.yml"
    registry.write_text(REGISTRY)
    finished = weir.run("health", "serve", "--registry", str(registry), "--listen", "127.0.0.1:0", "--socket", "none",
                        env=without("libsqlite3.so.0"))
    assert finished.returncode not in (0, 99), said(finished)
    assert "libsqlite3.so.0 cannot be loaded; install the Debian package libsqlite3-0" in said(finished)


def test_a_file_without_libyaml(without, tmp_path):
    file = tmp_path / "weir.yml"
    file.write_text("platform: {}\n")
    finished = weir.run("config", "check", "platform", "-c", str(file), env=without("libyaml-0.so.2"))
    assert finished.returncode == 78, said(finished)
    assert f"{file}: libyaml-0.so.2 cannot be loaded; install the Debian package libyaml-0-2" in finished.stderr


def test_a_relay_needs_none(without):
    stub = StubPlatform()
    relay = weir.Relay({"SERVER_URL": stub.origin, **without(*PACKAGES)}, 1, platform_ports=[stub.port])
    try:
        assert relay.request("GET", "/health").status == 200
    finally:
        relay.stop()
        stub.stop()
