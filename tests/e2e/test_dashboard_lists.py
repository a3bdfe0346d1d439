# SPDX-License-Identifier: Apache-2.0
"""Lists of ten thousand rows: those in sight exist and no others, and to move on costs what it costs in
a list of a hundred."""
import pytest

from lib import browser as chromium
from lib import health, stage
from lib.wait import eventually

FEW, MANY = 100, 10_000
LISTS = {"services": "", "cells": "#relay", "tunnels": "#tunnels"}

LENGTH = """
return Number(document.querySelector(`.rows[aria-label="${arguments[0]}"] li`)?.ariaSetSize ?? 0)
"""
# By two rows a frame from where the list is, then to its end: the most rows that existed, how many
# elements came in one frame at the most, and the last row.
RIDE = """
const [steps, done] = arguments;
const list = document.querySelector('.rows');
const row = list.querySelector('li').offsetHeight;
let rows = 0, came = 0, most = 0, step = 0;
const watch = new MutationObserver((all) => {
  all.forEach((one) => { came += [...one.addedNodes].filter((node) => node.tagName === 'LI').length; });
});
watch.observe(list, { childList: true });
function next() {
  rows = Math.max(rows, list.querySelectorAll('.row').length);
  most = Math.max(most, came);
  came = 0;
  if (step < steps) { step++; list.scrollTop += 2 * row; requestAnimationFrame(next); return; }
  watch.disconnect();
  list.scrollTop = list.scrollHeight;
  requestAnimationFrame(() => requestAnimationFrame(() => done({
    rows, most, last: [...list.querySelectorAll('li')].at(-1).getAttribute('aria-posinset') })));
}
requestAnimationFrame(next);
"""


class Site:
    def __init__(self, directory, count):
        lab = health.Lab(directory)
        check = {"type": "process", "pid_file": str(directory / "good.pid"), "interval": 3600}
        lab.write({f"service-{i:05}": check for i in range(count)})
        self.neighbours = stage.Neighbours(count)
        self.monitor = health.Monitor(
            directory / "registry.yml", *self.neighbours.options(), env=lab.env)

    def stop(self):
        self.monitor.stop()
        self.neighbours.stop()


@pytest.fixture(scope="module", name="sites")
def sites_fixture(tmp_path_factory):
    sites = {count: Site(tmp_path_factory.mktemp("site"), count) for count in (FEW, MANY)}
    yield sites
    for site in sites.values():
        site.stop()


@pytest.fixture(scope="module", name="browser")
def browser_fixture(tmp_path_factory):
    driver = chromium.start(tmp_path_factory.mktemp("chromium"))
    driver.set_window_size(1280, 1000)
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


def ride(browser, site, view, count):
    browser.get("about:blank")
    browser.get(f"{site.monitor.url}/health{LISTS[view]}")
    eventually(lambda: browser.execute_script(LENGTH, view) == count, f"all of {count} {view}", 60)
    return browser.execute_async_script(RIDE, 40)


@pytest.mark.parametrize("view", LISTS)
def test_a_long_list_is_as_light_as_a_short_one(sites, browser, view):
    short = ride(browser, sites[FEW], view, FEW)
    long = ride(browser, sites[MANY], view, MANY)
    assert (short["last"], long["last"]) == (str(FEW), str(MANY))
    assert long["rows"] <= short["rows"] + 4 < FEW
    assert 0 < long["most"] <= short["most"] + 4
