# SPDX-License-Identifier: Apache-2.0
"""The pages hang together: every link leads somewhere, every page is found from the table of contents and
says for whom it is and where to go next, every block says whether it is run, and every name is one.
What the blocks do is run by tests/guides.py."""
import functools
import re

import pytest

from lib import markdown, weir

PAGES = markdown.pages()
DOCS = weir.ROOT / "docs"
CONTENTS = DOCS / "README.md"
# Written once and for all, or printed by the program; the README beside them says for whom they are.
WITHOUT_FRAME = {"adr", "reference", "spec"}
# Run, compared with what came out, an example, and what is no command.
LANGUAGES = {"sh", "output", "console", "", "yaml", "json", "text"}

# Names of other programs.
FOREIGN = {
    "GatewayPorts", "MemoryMax", "RESPONSE_TIME", "known_hosts", "proxy_pass", "proxy_read_timeout", "remotePort",
    "subDomainHost",
}
# What a name may be short for; the variables of a hook are made from members.
PREFIXES = ("", "weir_engine_", "weir_platform_", "portoser_", "relay_")


def guides():
    return [page for page in PAGES if DOCS in page.parents
            and (page.name == "README.md" or page.parent.name not in WITHOUT_FRAME)]


def name(page):
    return str(page.relative_to(weir.ROOT))


def inside(page):
    """The pages that a page links to."""
    for _, target in markdown.links(page.read_text()):
        if "://" not in target and target.partition("#")[0].endswith(".md"):
            yield (page.parent / target.partition("#")[0]).resolve()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    for line, target in markdown.links(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name(page)}:{line}: {target}"
        if anchor:
            assert anchor in set(markdown.anchors(there.read_text())), f"{name(page)}:{line}: {target}"


def test_every_page_is_found_from_the_contents():
    found, todo = set(), [CONTENTS]
    while todo:
        page = todo.pop()
        if page not in found:
            found.add(page)
            # An index leads on; a guide that is named only by another guide would not be found.
            todo += inside(page) if page.name == "README.md" else []
    lost = [name(page) for page in PAGES if page not in found and page != weir.ROOT / "README.md"]
    assert lost == []


def test_every_picture_is_shown():
    shown = {(page.parent / target).resolve() for page in PAGES for _, target in markdown.links(page.read_text())}
    assert {path for path in (DOCS / "images").iterdir() if path not in shown} == set()


def test_the_readme_leads_to_the_contents():
    assert CONTENTS in set(inside(weir.ROOT / "README.md"))


@pytest.mark.parametrize("page", guides(), ids=name)
def test_every_page_says_for_whom_it_is_and_where_to_go_next(page):
    paragraphs = [part for part in page.read_text().split("\n\n") if part.strip()]
    assert paragraphs[0].startswith("# ")
    assert re.match(r"For (whoever|anybody|people)\b", paragraphs[1]), paragraphs[1]
    assert paragraphs[-1].startswith("Next: "), paragraphs[-1]
    assert list(markdown.links(paragraphs[-1])), "it leads nowhere"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page):
    before = None
    for block in markdown.blocks(page.read_text()):
        where = f"{name(page)}:{block.line}"
        assert block.language in LANGUAGES, where
        if block.language == "":
            for line in block.lines:
                assert not re.match(r"\s*([$#] )?(weir|rstream|curl) ", line), f"{where}: sh or console?"
        if block.language == "output":
            assert before in ("sh", "output"), f"{where}: output of what?"
        before = block.language


def words(text):
    return set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))


@pytest.fixture(name="known", scope="module")
def known_fixture():
    """Every word of the sources, of what the program prints of itself, and of what is packed; and tests."""
    found = {word for path in (weir.ROOT / "tests").rglob("*") for word in words(path.name)}
    for top in ("src", "docs/reference", "packaging", "web/src", "examples"):
        for path in (weir.ROOT / top).rglob("*"):
            if path.is_file() and path.suffix not in (".png", ".gz"):
                found |= words(path.read_text(errors="replace"))
    return found


@pytest.mark.parametrize("page", guides(), ids=name)
def test_every_name_is_one(page, known):
    """Names of settings, series, events, reasons and members: whatever has a hump or an underscore."""
    text = markdown.without_blocks(page.read_text())
    for code in re.findall(r"`([^`\n]+)`", text):
        for word in words(code) - FOREIGN:
            if re.search(r"[a-z0-9]_[a-z0-9]|[A-Z0-9]_[A-Z0-9]|[a-z][A-Z]", word) and not word.endswith("_"):
                meant = {prefix + word for prefix in PREFIXES} | {word.removeprefix("WEIR_").lower()}
                assert meant & known, f"{name(page)}: {word}"


def commands(text):
    """What of a page begins with weir: in blocks, in indented lines, in code within a line."""
    plain = markdown.without_blocks(text)
    lines = re.findall(r"`([^`\n]+)`", plain) + re.findall(r"^    (.*)$", plain, re.MULTILINE)
    for block in markdown.blocks(text):
        if block.language in ("sh", "console"):
            lines += re.sub(r"\\\n\s*", " ", block.text).splitlines()
    for line in lines:
        line = re.sub(r"(?<=\S)\s+# .*", "", line)
        line = re.sub(r"'[^']*'|\"[^\"]*\"", "TEXT", line)
        yield from re.findall(r"(?:^|[ ;|(])weir ([a-z-][^;|&<>()]*)", line)


@functools.lru_cache(maxsize=None)
def told(*path):
    return weir.run(*path, "--help").stdout


def children(path):
    found = re.search(r"^commands:\n((?: .*\n)+)", told(*path), re.MULTILINE)
    return re.findall(r"^  ([a-z-]+)", found[1], re.MULTILINE) if found else []


def options(path):
    both = re.findall(r"--\[no-\]([a-z-]+)", told(*path))
    one = re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", told(*path))
    return {"--help", "--version", *one, *(f"--{x}" for x in both), *(f"--no-{x}" for x in both)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_one(page):
    """Its words are commands, and its options stand in what it tells of itself."""
    for command in commands(page.read_text()):
        where = f"{name(page)}: weir {command}"
        path = []
        for word in command.split():
            if word not in children(path):
                break
            path.append(word)
        assert path or command.startswith("-"), where
        used = re.findall(r"(?<=\s)--?[a-z][a-z-]*", f" {command}".partition(" -- ")[0])
        assert set(used) <= options(path), f"{where}: {set(used) - options(path)}"


def test_what_visitors_get_is_what_the_edge_says():
    """The table of docs/night.md has every answer of a tunnel that is not well, with its status."""
    table = (weir.ROOT / "src/engine/edge/edge_errors.def").read_text()
    known = {label: status for status, label in re.findall(r'^EDGE_ERROR\(\w+, (\d+), "(\w+)"', table, re.MULTILINE)}
    told = {}
    for statuses, labels in re.findall(r"^\| ([\d, ]+) \| (`[^|]*`) \|", (DOCS / "night.md").read_text(), re.MULTILINE):
        for label in re.findall(r"`(\w+)`", labels):
            told[label] = statuses
    assert len(told) > 8
    for label, statuses in told.items():
        assert known[label] in statuses.split(", "), label
    assert {label for label, status in known.items() if status > "500"} <= set(told)
