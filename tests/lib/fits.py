# SPDX-License-Identifier: Apache-2.0
"""Finds text that does not fit: cut off without a title that says all, on other text, beside the window,
or in a column so narrow that words are torn to pieces."""

MISFITS = r"""
const root = document.querySelector('dialog[open]') ?? document.body;
const found = [];
const say = (what, node) => found.push(`${what}: ${node.data.trim().slice(0, 60)}`);
const scrolls = (style) => /auto|scroll/.test(style.overflowX + style.overflowY);

// What is seen of it: its boxes, cut where an element around it cuts or scrolls.
function boxes(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  let seen = [...range.getClientRects()].map(({ left, right, top, bottom }) => ({ left, right, top, bottom }));
  for (let up = node.parentElement; up !== null && up !== document.body; up = up.parentElement) {
    const style = getComputedStyle(up);
    if (style.overflowX === 'visible' && style.overflowY === 'visible') continue;
    const box = up.getBoundingClientRect();
    const scroller = scrolls(style);
    seen = seen.flatMap((one) => {
      if (!scroller && one.right > box.right + 1 && style.textOverflow !== 'ellipsis') say('cut off', node);
      const cut = { left: Math.max(one.left, box.left), right: Math.min(one.right, box.right),
                    top: Math.max(one.top, box.top), bottom: Math.min(one.bottom, box.bottom) };
      return cut.right - cut.left > 1 && cut.bottom - cut.top > 1 ? [cut] : [];
    });
  }
  return seen;
}

const texts = [];
const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode;
  const parent = node.parentElement;
  if (node.data.trim() === '' || parent.closest('svg, select, .uplot, .hidden') !== null) continue;
  const style = getComputedStyle(parent);
  if (style.visibility === 'hidden') continue;
  const shown = boxes(node);
  // One line for each word is the most that a column so narrow may make of a text.
  if (new Set(shown.map((box) => box.top)).size > node.data.trim().split(/[\s-]+/).length + 1) say('in pieces', node);
  shown.forEach((box) => {
    if (box.right > innerWidth + 1 || box.left < -1) say('beside the window', node);
    texts.push({ node, box });
  });
  const ellipsis = parent.closest('.cell') ?? parent;
  if (shown.length > 0 && getComputedStyle(ellipsis).textOverflow === 'ellipsis' &&
      ellipsis.scrollWidth > ellipsis.clientWidth + 1 && ellipsis.closest('[title]') === null) {
    say('ends in … without a title', node);
  }
}
texts.sort((a, b) => a.box.top - b.box.top);
texts.forEach((one, index) => {
  for (const other of texts.slice(index + 1)) {
    if (other.box.top > one.box.bottom - 4) break;
    const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
    const down = Math.min(one.box.bottom, other.box.bottom) - other.box.top;
    if (one.node !== other.node && across > 2 && down > 4) say(`lies on "${one.node.data.trim()}"`, other.node);
  }
});
if (document.documentElement.scrollWidth > innerWidth) {
  found.push(`the page is wider than its window: ${document.documentElement.scrollWidth}`);
}
return [...new Set(found)];
"""
