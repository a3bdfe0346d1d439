# SPDX-License-Identifier: Apache-2.0
"""How the page looks, at three widths: nothing is cut off or lies on something else."""
import pytest

from lib import fits, pictures
from lib.wait import eventually

SIZES = [(320, 1500), (1280, 1000), (1920, 1080)]
# Name, what comes behind /health, and what is there when there is nothing more to come.
VIEWS = {
    "health": ("", "[...document.querySelectorAll('.day')].length > 8"),
    "service": ("#service=queue%40app-2", "document.querySelector('dialog tbody tr') !== null"),
    "relay": ("#relay", "document.body.innerText.includes('frames/s')"),
    "tunnels": ("#tunnels", "/requests\\s+[0-9]/.test(document.body.innerText)"),
    "timeline": ("#timeline", "document.querySelectorAll('.log li').length > 40"),
}


def show(stage, camera, view):
    """Opens a view that stands still from here on."""
    address, there = VIEWS[view]
    camera.look(1280, 1000, "light")
    camera.driver.get("about:blank")
    camera.driver.get(f"{stage.monitor.url}/health{address}")
    eventually(lambda: camera.driver.execute_script(f"return {there}"), view, 30)
    camera.freeze()


@pytest.fixture(scope="module", params=VIEWS, name="view")
def view_fixture(request, stage, camera):
    show(stage, camera, request.param)
    return request.param


def test_texts_fit(camera, view):
    complaints = []
    for width, height in SIZES:
        camera.look(width, height, "light")
        camera.painted()
        complaints += camera.driver.execute_script(fits.MISFITS)
    assert complaints == [], view


# ---- That these tests can fail


# What somebody might do to the page by mistake, each small.
MISTAKES = {
    "another word": "document.querySelector('h1 .state').lastChild.data = 'unwell'",
    "a letter more": "document.querySelector('.rows .name').firstChild.data = 'caddyy'",
    "another colour": "document.body.style.setProperty('--healthy', '#0b57d0')",
    "a row less": "document.querySelector('.rows li').remove()",
    "moved a little": "document.querySelector('main').style.paddingTop = '6px'",
}


KEEP = "window.kept = document.body.cloneNode(true)"
RESTORE = "document.body.replaceWith(window.kept.cloneNode(true))"


@pytest.fixture(scope="module", name="still")
def still_fixture(stage, camera):
    """The picture of a page that takes what is done to it, and is put back by RESTORE."""
    show(stage, camera, "health")
    camera.level()
    camera.driver.execute_script(KEEP)
    return pictures.reduce(camera.take())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(camera, still, mistake):
    camera.driver.execute_script(RESTORE)
    camera.painted()
    assert len(pictures.differing(pictures.reduce(camera.take()), still)) <= pictures.SPOTS_MAX
    camera.driver.execute_script(MISTAKES[mistake])
    camera.painted()
    places = pictures.differing(pictures.reduce(camera.take()), still)
    assert len(places) > pictures.SPOTS_MAX, places


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("mistake, found", [
    ("document.querySelector('h1').style.cssText = 'width: 60px; overflow: hidden'", "cut off"),
    ("document.querySelector('.worst').style.marginTop = '-20px'", "lies on"),
    ("document.querySelector('h1').style.marginLeft = '1270px'", "wider"),
])
def test_a_misfit_is_seen(camera, mistake, found):
    camera.driver.execute_script(RESTORE)
    camera.driver.execute_script(mistake)
    camera.painted()
    seen = camera.driver.execute_script(fits.MISFITS)
    assert any(found in text for text in seen), seen
