# SPDX-License-Identifier: Apache-2.0
"""How the page looks: as in tests/e2e/pictures, at three widths, light and dark, and nothing is cut off
or lies on something else.

WEIR_PICTURES=write makes the pictures anew, and those of the documentation (docs/images). A picture
that differs is left in build/pictures."""
import os

import pytest

from lib import fits, pictures, weir
from lib.wait import eventually

KEPT = weir.ROOT / "tests/e2e/pictures"
DOCS = weir.ROOT / "docs/images"
LEFT = weir.ROOT / "build/pictures"
WRITE = os.environ.get("WEIR_PICTURES") == "write"

SIZES = [(320, 1500), (1280, 1000), (1920, 1080)]
SCHEMES = ["light", "dark"]
# Name, what comes behind /health, and what is there when there is nothing more to come.
HEAT = "document.querySelector('.heat') !== null"
PARTS = "new Set([...document.querySelectorAll('.log .badge')].map(e => e.innerText))"
VIEWS = {
    "health": ("", f"document.querySelectorAll('.day').length > 8 && {HEAT}"),
    "service": ("#service=queue%40app-2", f"document.querySelector('dialog tbody tr') !== null && {HEAT}"),
    "relay": ("#relay", "document.body.innerText.includes('frames/s')"),
    "tunnels": ("#tunnels", "/requests\\s+[0-9]/.test(document.body.innerText)"),
    "timeline": ("#timeline", f"{PARTS}.size === 3"),
}
IN_DOCS = {"health-1280-light", "health-1280-dark", "health-320-dark", "service-1280-light",
           "relay-1280-light", "tunnels-1280-light", "timeline-1280-light"}


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


def complaint(name, taken):
    """What there is to say against a picture that was taken."""
    now = pictures.half(taken)
    if WRITE:
        KEPT.mkdir(exist_ok=True)
        pictures.keep(now, KEPT / f"{name}.png")
        if name in IN_DOCS:
            DOCS.mkdir(exist_ok=True)
            pictures.keep(taken, DOCS / f"page-{name}.png")
        return None
    places = pictures.differing(now, pictures.load(KEPT / f"{name}.png"))
    if len(places) <= pictures.SPOTS_MAX:
        return None
    LEFT.mkdir(parents=True, exist_ok=True)
    now.save(LEFT / f"{name}.png")
    return f"{name} differs in {len(places)} pixels, as at {places[:3]}; see {LEFT / name}.png"


def test_it_looks_as_it_did(camera, view):
    complaints = []
    for width, height in SIZES:
        for scheme in SCHEMES:
            camera.look(width, height, scheme)
            camera.level()
            complaints.append(complaint(f"{view}-{width}-{scheme}", camera.take()))
    assert [one for one in complaints if one] == []


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
    return pictures.half(camera.take())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_seen(camera, still, mistake):
    camera.driver.execute_script(RESTORE)
    camera.painted()
    assert len(pictures.differing(pictures.half(camera.take()), still)) <= pictures.SPOTS_MAX
    camera.driver.execute_script(MISTAKES[mistake])
    camera.painted()
    places = pictures.differing(pictures.half(camera.take()), still)
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
