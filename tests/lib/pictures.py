# SPDX-License-Identifier: Apache-2.0
"""Pictures of a page that stands still, and how they are compared with the ones in the tree.

What is kept is half as wide and high, in few colours. Two pictures are the same when every pixel of each
is close to one of the other's within a pixel: so that another version of the browser may set a letter
a little to the side, and nothing more."""
import base64
import io

import numpy
from PIL import Image

TOLERANCE = 48  # of 255, in any colour
SPOTS_MAX = 10  # pixels that may differ more than that
COLOURS = 128  # each of them within ten of what it stands for

# Before a page's own scripts run: its clock says what the monitor's says, and freeze() keeps everything
# from it that would change what it shows.
STAND_STILL = """
(() => {
  const shift = SHIFT_MS, Real = Date;
  let frozen = false;
  window.freeze = () => { frozen = true; };
  window.Date = class extends Real {
    constructor(...given) { if (given.length > 0) super(...given); else super(Real.now() + shift); }
    static now() { return Real.now() + shift; }
  };
  const interval = window.setInterval, asked = window.fetch;
  window.setInterval = (what, ms) => interval(() => frozen || what(), ms);
  window.fetch = (...given) => frozen ? new Promise(() => {}) : asked(...given);
  window.WebSocket = class extends WebSocket {
    set onmessage(heard) { super.onmessage = (event) => frozen || heard(event); }
    set onclose(heard) { super.onclose = (event) => frozen || heard(event); }
  };
})();
"""

# One font, no caret, nothing that moves.
STYLE = """
* { font-family: 'DejaVu Sans' !important; caret-color: transparent !important;
    animation: none !important; transition: none !important; }
"""
ADD_STYLE = """
const style = document.createElement('style');
style.textContent = arguments[0];
document.head.append(style);
"""

# Numbers that depend on how fast the machine is say always the same.
LEVEL = r"""
const SAME = [
  [/\b\d+(\.\d+)? ms\b/g, '12 ms'],
  [/\b\d+ (s|min|h|d)\b/g, '7 min'],
  [/(\d+:\d\d):\d\d/g, '$1:07'],
  [/\d+(\.\d+)?( (?:frames)?\/s)/g, '42.0$2'],
  [/(\d+(\.\d+)?|…) (B|KiB|MiB)\/s/g, '42.0 B/s'],
  [/… \/s/g, '42.0 /s'],
  [/weir \d+\.\d+\.\d+\S*/g, 'weir 0.0.0.'],
];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const node = texts.currentNode;
  const same = SAME.reduce((text, [from, to]) => text.replace(from, to), node.data);
  if (same !== node.data) node.data = same;
}
document.querySelectorAll('.spark polyline').forEach((line) => {
  const xs = line.getAttribute('points').split(' ').map((point) => point.split(',')[0]);
  line.setAttribute('points', xs.map((x, i) => `${x},${4 + (i * 7) % 11}`).join(' '));
});
document.querySelectorAll('.spark circle').forEach((dot) => dot.setAttribute('cy', '9'));
document.querySelectorAll('.uplot').forEach((chart) => { chart.style.visibility = 'hidden'; });
"""
PAINTED = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))"


class Camera:
    def __init__(self, driver, shift_ms):
        self.driver = driver
        self.ask("Emulation.setTimezoneOverride", timezoneId="UTC")
        self.ask("Emulation.setLocaleOverride", locale="en-GB")
        self.ask("Page.addScriptToEvaluateOnNewDocument",
                 source=STAND_STILL.replace("SHIFT_MS", str(shift_ms)))

    def ask(self, what, **given):
        return self.driver.execute_cdp_cmd(what, given)

    def look(self, width, height, scheme):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def freeze(self):
        self.driver.execute_script("freeze()")
        self.driver.execute_script(ADD_STYLE, STYLE)

    def painted(self):
        self.driver.execute_async_script(PAINTED)

    def level(self):
        self.painted()
        self.driver.execute_script(LEVEL)
        self.painted()

    def take(self):
        png = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        return Image.open(io.BytesIO(png)).convert("RGB")


def half(picture):
    return picture.resize((picture.width // 2, picture.height // 2), Image.BOX)


def keep(picture, path):
    few = picture.quantize(COLOURS, method=Image.MAXCOVERAGE, dither=Image.NONE)
    few.save(path, optimize=True)


def _far(one, other):
    """Which pixels of one are close to none of the nine around the same place of the other."""
    height, width, _ = one.shape
    padded = numpy.pad(other, ((1, 1), (1, 1), (0, 0)), mode="edge")
    least = numpy.full((height, width), 255, numpy.int16)
    for y in range(3):
        for x in range(3):
            apart = numpy.abs(one - padded[y:y + height, x:x + width]).max(axis=2)
            numpy.minimum(least, apart, out=least)
    return least > TOLERANCE


def differing(now, kept):
    """The places (x, y) that differ, in pixels of half(). now, kept: as half() or load() gave them."""
    one, other = (numpy.asarray(picture).astype(numpy.int16) for picture in (now, kept))
    if one.shape != other.shape:
        return [(0, 0)] * (SPOTS_MAX + 1)
    ys, xs = numpy.nonzero(_far(one, other) | _far(other, one))
    return list(zip(xs.tolist(), ys.tolist()))


def load(path):
    return Image.open(path).convert("RGB")
