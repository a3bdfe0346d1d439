# SPDX-License-Identifier: Apache-2.0
"""The Markdown of this tree: its pages, their fenced blocks, headings and links."""
import dataclasses
import pathlib
import re
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the line of its first fence, counted from 1."""

    language: str
    line: int
    lines: tuple

    @property
    def text(self):
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def last_line(self):
        return self.line + len(self.lines) + 1


def pages(root=ROOT):
    """Every page that people read; what a build or a package manager brought is not ours."""
    top = [root / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md")]
    return [path for path in top if path.exists()] + sorted((root / "docs").rglob("*.md"))


def blocks(text):
    found, inside, begin = [], None, 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r" *```(.*)$", line)
        if fence and inside is None:
            inside, begin, language = [], number, fence.group(1).strip()
        elif fence:
            found.append(Block(language, begin, tuple(inside)))
            inside = None
        elif inside is not None:
            inside.append(line)
    assert inside is None, f"the block of line {begin} has no end"
    return found


def without_blocks(text):
    """The text with its fenced blocks blanked, so that line numbers stay."""
    lines = text.splitlines()
    for block in blocks(text):
        lines[block.line - 1 : block.last_line] = [""] * (block.last_line - block.line + 1)
    return "\n".join(lines) + "\n"


def anchors(text):
    """What a page's headings can be linked by, as the usual renderers make it."""
    seen = {}
    for title in re.findall(r"^#{1,6} +(.*?) *#*$", without_blocks(text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").lower()
        kept = "".join(
            c for c in plain if c in " -_" or unicodedata.category(c)[0] in "LN").replace(" ", "-")
        seen[kept] = seen.get(kept, -1) + 1
        yield kept if seen[kept] == 0 else f"{kept}-{seen[kept]}"


def links(text):
    """(line, target) of every link and picture; code is no link."""
    for number, line in enumerate(without_blocks(text).splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "``", line)):
            yield number, target
