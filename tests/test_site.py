"""The documentation as a site: it builds without a warning, holds every page and public name, and loads nothing."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import loopkit
from loopkit.cli import COMMANDS
from tests.pages import PAGES, ROOT, name

COMMAND = "sphinx-build -W -c docs . build/site"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built by CONTRIBUTING's command into another directory. Warnings are errors."""
    assert f".venv/bin/{COMMAND}\n" in (ROOT / "CONTRIBUTING.md").read_text()
    out = tmp_path_factory.mktemp("site")
    _, *words, _ = COMMAND.split()
    command = [sys.executable, "-m", "sphinx", "-q", *words, str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out


def test_every_page_is_there_in_html_and_as_it_is(site: Path) -> None:
    for page in PAGES:
        made = site / name(page)
        assert made.read_bytes() == page.read_bytes()
        assert "<article" in made.with_suffix(".html").read_text()
    assert (site / "index.html").read_bytes() == (site / "README.html").read_bytes()


def test_every_public_name_statistic_and_command_is_in_the_reference(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        found = InventoryFile.load(file, "", lambda base, uri: uri)
    described = {full for kind, entries in found.items() if kind.startswith("py:") for full in entries}
    assert {f"loopkit.{n}" for n in loopkit.__all__} - described == set()
    for module in sorted((ROOT / "loopkit/stats").glob("[a-z]*.py")):
        public = re.findall(r"^(?:def|class) ([A-Za-z]\w*)", module.read_text(), re.M)
        assert {f"loopkit.stats.{module.stem}.{n}" for n in public} - described == set()
    commands = (site / "docs/reference/commands.html").read_text()
    assert [c for c in COMMANDS if f'id="loopkit-{c}"' not in commands] == []


class Loads(HTMLParser):
    """What a browser fetches by itself for a page, and where its links lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.fetched += [given[k] or "" for k in ("src", "srcset", "poster", "data") if k in given and tag != "button"]
        if tag == "link" and set((given.get("rel") or "").split()) & {"stylesheet", "preload", "icon", "preconnect"}:
            self.fetched.append(given.get("href") or "")
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")


def test_a_page_fetches_nothing_from_elsewhere_and_its_links_lead_somewhere(site: Path) -> None:
    # A template of the theme's lies in _static; Sphinx's list of modules has one for Python's built-ins, unlinked.
    pages = sorted(p for p in site.rglob("*.html") if "_static" not in p.parts and p != site / "_modules/index.html")
    assert len(pages) > len(PAGES)
    broken = []
    for page in pages:
        found = Loads(page.read_text())
        assert found.fetched
        assert [u for u in found.fetched if urlsplit(u).scheme or u.startswith("//")] == [], page
        for url in [*found.fetched, *found.links]:
            to = urlsplit(url)
            if not to.scheme and to.path and not (page.parent / unquote(to.path)).exists():
                broken.append(f"{page.relative_to(site)}: {url}")
    assert broken == []
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(\s*['\"]?|@import\s+['\"])(?:https?:)?//", style.read_text()), style


def test_llms_txt_lists_every_page_and_is_of_its_format(site: Path) -> None:
    """llmstxt.org: a title, a summary as a quotation, then sections of links with what they are."""
    text = (site / "llms.txt").read_text()
    title, summary, *rest = text.split("\n\n")
    assert title == "# loopkit"
    assert summary.startswith("> Does RL training ")
    assert "\n" not in summary
    links = re.findall(r"^- \[[^]]+\]\(([^)]+)\): \S.+$", text, re.M)
    assert sorted(links) == sorted(name(p) for p in PAGES)
    assert all((site / link).exists() for link in links)
    assert [part for part in rest[1:] if not re.match(r"## \S|- \[", part)] == []
    whole = (site / "llms-full.txt").read_text()
    assert all(page.read_text() in whole for page in PAGES)


def test_the_map_has_every_page_once() -> None:
    """docs/README.md, from which the site's contents and llms.txt are made."""
    made = runpy.run_path(str(ROOT / "docs/conf.py"))["sections"]()
    listed = [path for pages in made.values() for _, path, _ in pages]
    assert sorted([*listed, "README.md"]) == sorted(name(p) for p in PAGES), (
        "docs/README.md lists each page once, under what it is for: `- [Title](page.md): what it is`"
    )
    assert list(made)[:3] == ["Tutorials", "How-to", "Reference"]
