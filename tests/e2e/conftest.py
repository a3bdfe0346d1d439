# SPDX-License-Identifier: Apache-2.0
"""One platform and one relay per module, configured by the module's RELAY_ENV and WORKERS.

After every test its sockets are closed and the books of every running relay are checked.
"""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
# pylint: disable=wrong-import-position
from lib import browser as chromium  # noqa: E402
from lib import certs, health, pictures, tls, weir, ws  # noqa: E402
from lib.clock import NS_PER_S  # noqa: E402
from lib.engine import Engine  # noqa: E402
from lib.platform import StubPlatform  # noqa: E402
from lib.stage import Stage  # noqa: E402
from lib.world import World  # noqa: E402


@pytest.fixture(scope="module")
def platform():
    stub = StubPlatform()
    yield stub
    stub.stop()


@pytest.fixture(scope="module")
def relay(request, platform):
    env = getattr(request.module, "RELAY_ENV", {})
    workers = getattr(request.module, "WORKERS", 2)
    running = weir.Relay(
        {"SERVER_URL": platform.origin, **env}, workers, platform_ports=[platform.port]
    )
    running.settle()
    yield running
    running.stop()


@pytest.fixture
def world(relay, platform):
    return World(relay, platform)


@pytest.fixture
def start(platform):
    """Starts relays of the test's own: start(RELAY_X="1") gives a World."""
    started = []

    def starter(workers=2, stub=None, **env):
        stub = stub or platform
        running = weir.Relay({"SERVER_URL": stub.origin, **env}, workers, platform_ports=[stub.port])
        started.append(running)
        running.settle()
        return World(running, stub)

    yield starter
    ws.close_all()
    for running in started:
        if running in weir.live:
            running.check_books()
            running.stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return certs.Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def engine(request, authority, tmp_path_factory):
    """One engine per module, configured by the module's ENGINE_SETTINGS and WORKERS."""
    settings = getattr(request.module, "ENGINE_SETTINGS", {})
    workers = getattr(request.module, "WORKERS", 2)
    running = Engine(authority, tmp_path_factory.mktemp("engine"), settings, workers)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def impatient(authority, tmp_path_factory):
    """An engine for tests that wait for its deadline. All others have one that no machine is too slow
    for."""
    settings = {"timeouts": {"stream_request_seconds": 1}}
    running = Engine(authority, tmp_path_factory.mktemp("impatient"), settings)
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def books():
    yield
    ws.close_all()
    tls.close_all()
    for running in list(weir.live):
        running.check_books()


# ---- Health: a directory with a registry, and monitors of it


@pytest.fixture
def lab(tmp_path):
    return health.Lab(tmp_path)


@pytest.fixture
def serve(lab):
    running = []

    def start(*args, env=None, **kwargs):
        registry = lab.directory / "registry.yml"
        running.append(health.Monitor(registry, *args, env={**lab.env, **(env or {})}, **kwargs))
        return running[-1]

    yield start
    for monitor in running:
        monitor.stop()


# ---- A site whose page stands still


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    running = Stage(tmp_path_factory.mktemp("stage"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def camera(stage, tmp_path_factory):  # pylint: disable=redefined-outer-name
    """A browser whose clock is the stage's."""
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    yield pictures.Camera(driver, stage.clock.offsets["wall"] * 1000 // NS_PER_S)
    driver.quit()
