# SPDX-License-Identifier: Apache-2.0
"""The page for those who use no mouse, see no colours, or want nothing to move."""
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from lib.wait import eventually

LIVE = "return document.querySelector('.connection')?.innerText === 'live'"
ROWS = "return document.querySelectorAll('.rows .row').length > 8"
FOCUSED = """
const e = document.activeElement;
const style = getComputedStyle(e);
return {
  tag: e.tagName, name: e.innerText || e.getAttribute('aria-label') || e.labels?.[0]?.innerText || '',
  classes: e.className, ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
  inside: e.getBoundingClientRect().top < innerHeight && e.getBoundingClientRect().bottom > 0,
};
"""
# Everything that does something, but for rows: of those the list's keys reach every one.
CONTROLS = """
return [...document.querySelectorAll('button, a[href], select, input, [tabindex="0"]')]
  .filter(e => !e.classList.contains('row')).length
"""


@pytest.fixture(name="page")
def page_fixture(stage, camera):
    """The page of health, as it is opened; the keyboard is where a browser puts it."""
    camera.look(1280, 1000, "light")
    return open_view(stage, camera, "")


def open_view(stage, camera, address, there=LIVE):
    camera.driver.get("about:blank")
    camera.driver.get(f"{stage.monitor.url}/health{address}")
    eventually(lambda: camera.driver.execute_script(there), "the page", 30)
    return camera.driver


def press(driver, *keys):
    ActionChains(driver, duration=0).send_keys(*keys).perform()
    return driver.execute_script(FOCUSED)


def tab_to(driver, name):
    for _ in range(120):
        focused = press(driver, Keys.TAB)
        if focused["name"].split("\n")[0].strip().endswith(name):
            return focused
    raise AssertionError(f"no tab leads to {name}")


@pytest.mark.parametrize("address", ["", "#relay", "#tunnels"])
def test_the_keyboard_reaches_all(stage, camera, address):
    camera.look(1280, 1000, "light")
    driver = open_view(stage, camera, address, ROWS)
    first = press(driver, Keys.TAB)
    assert "skip" in first["classes"] and first["ring"] and first["inside"]
    seen = [first]
    while True:
        focused = press(driver, Keys.TAB)
        if focused["tag"] == "BODY" or "skip" in focused["classes"]:
            break
        seen.append(focused)
    assert [one for one in seen if not (one["ring"] and one["inside"])] == []
    assert [one for one in seen if not one["name"].strip()] == []
    others = [one for one in seen if "row" not in one["classes"].split()]
    assert len(others) >= driver.execute_script(CONTROLS)


def test_past_the_banner(page):
    press(page, Keys.TAB)
    press(page, Keys.ENTER)
    assert page.execute_script("return document.activeElement === document.querySelector('main')")
    assert "#" not in page.current_url
    focused = press(page, Keys.TAB)
    assert focused["name"] == "edge", "the first machine"


def test_a_view_by_keyboard(page):
    tab_to(page, "relay")
    press(page, Keys.ENTER)
    eventually(lambda: page.current_url.endswith("#relay"), "the relay")
    assert page.execute_script(FOCUSED)["name"] == "relay"
    page.back()
    eventually(lambda: "Cluster" in page.execute_script("return document.body.innerText"), "back")


def test_a_state_by_keyboard(page):
    tab_to(page, "1 degraded")
    press(page, Keys.SPACE)
    names = "return [...document.querySelectorAll('.rows .name')].map(e => e.innerText)"
    eventually(lambda: page.execute_script(names) == ["billing app-1"], "what is degraded")
    assert page.current_url.endswith("?status=degraded")
    press(page, Keys.SPACE)
    eventually(lambda: len(page.execute_script(names)) > 8, "all")


@pytest.mark.parametrize("way", [Keys.ESCAPE, Keys.ENTER])
def test_the_focus_returns(page, way):
    """From a dialog, closed by Escape or by its button, to the row that opened it."""
    row = "return document.activeElement.querySelector('.name').innerText"
    page.execute_script("document.querySelector('.rows .row').focus()")
    press(page, Keys.ARROW_DOWN)
    name = page.execute_script(row)
    press(page, Keys.ENTER)
    eventually(lambda: page.execute_script("return document.querySelector('dialog[open]') !== null"),
               "the dialog")
    inside = "return document.querySelector('dialog').contains(document.activeElement)"
    assert page.execute_script(inside)
    press(page, way)
    eventually(lambda: page.execute_script("return document.querySelector('dialog') === null"),
               "closed")
    assert page.execute_script(row) == name == "dns edge"


def test_nothing_moves(stage, camera):
    camera.look(1280, 1000, "light")  # which wants less motion, too
    driver = open_view(stage, camera, "#service=queue%40app-2", "return document.querySelector("
                       "'dialog tbody tr') !== null")
    moving = driver.execute_script("""
        const still = (text) => text.split(',').every((time) => parseFloat(time) === 0);
        return [...document.querySelectorAll('*')].filter((e) => {
          const style = getComputedStyle(e);
          return !still(style.transitionDuration) || style.animationName !== 'none' ||
            style.scrollBehavior === 'smooth';
        }).map((e) => e.outerHTML.slice(0, 80))""")
    assert moving == []


# For each thing that has the colour of a state: is the state said by a word, or by a sign with a name?
UNSAID = """
const words = ['healthy', 'degraded', 'unhealthy', 'unknown'];
const found = [];
document.querySelectorAll('[class]:not(svg *)').forEach((e) => {
  const word = words.find((one) => e.classList.contains(one));
  if (word === undefined) return;
  const sign = { healthy: '✓', degraded: '!', unhealthy: '✕', unknown: '?' }[word];
  const named = e.querySelector(`[aria-label="${word}"]`) !== null;
  if (!e.innerText.includes(sign) || !(named || /[a-z]{3}/.test(e.innerText))) found.push(e.outerHTML.slice(0, 120));
});
const heights = {};
document.querySelectorAll('.day').forEach((day) => {
  if (!(day.getAttribute('aria-label') ?? '').startsWith('last 24 hours')) found.push('a day without words');
  day.querySelectorAll('rect').forEach((rect) => {
    (heights[rect.getAttribute('class')] ??= new Set()).add(rect.getAttribute('height'));
  });
});
return { found, heights: Object.fromEntries(Object.entries(heights).map(([k, v]) => [k, [...v]])) };
"""


@pytest.mark.parametrize("address", ["", "#relay", "#tunnels", "#service=queue%40app-2"])
def test_states_are_not_colours_alone(stage, camera, address):
    driver = open_view(stage, camera, address, ROWS)
    if address == "":
        eventually(lambda: driver.execute_script(
            "return document.querySelectorAll('.day .unhealthy').length > 4"), "days")
    seen = driver.execute_script(UNSAID)
    assert seen["found"] == []
    if address == "":
        tall = seen["heights"]
        assert all(len(one) == 1 for one in tall.values()), tall
        heights = [float(tall[word][0]) for word in ("none", "healthy", "degraded", "unhealthy")
                   if word in tall]
        assert heights == sorted(set(heights)) and len(heights) >= 3, "the worse, the taller"


def test_with_colours_of_the_readers_own(stage, camera):
    """Forced colours: what is chosen, and what is bad, is still told from what is not."""
    camera.look(1280, 1000, "light")
    driver = open_view(stage, camera, "?status=degraded")
    camera.ask("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    try:
        edges = driver.execute_script("""
            const edge = (e) => getComputedStyle(e).borderBottomColor;
            const [now, other] = document.querySelectorAll('.views button');
            const chosen = document.querySelector('.chip[aria-pressed=true]');
            const unchosen = document.querySelector('.chip[aria-pressed=false]');
            return [edge(now), edge(other), edge(chosen), edge(unchosen)];""")
        assert edges[0] != edges[1] and edges[2] != edges[3], edges
        assert driver.execute_script("return matchMedia('(forced-colors: active)').matches")
    finally:
        camera.look(1280, 1000, "light")
