"""Sphinx's settings. The site is the repository's own Markdown: README.md is its front page, docs/README.md its map.

    sphinx-build -W -c docs . build/site

The pages stay plain Markdown that reads well without this: only docs/reference/ holds directives.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import loopkit

ROOT = Path(__file__).parent.parent
MAP = ROOT / "docs/README.md"
LINK = re.compile(r"^- \[(?P<title>[^]]+)\]\((?P<path>[^)]+\.md)\): (?P<what>.+)$", re.M)

project = "loopkit"
author = "the loopkit authors"
copyright = author
version = release = loopkit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_click"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = sorted(p.name for p in ROOT.iterdir() if p.is_dir() and p.name != "docs")
nitpick_ignore_regex = [  # links to what is not a page of the site: their text stays
    ("myst", r"(\.\./)+loopkit/\w+"),
    ("myst", r"(\.\./)*contrib/.*"),
    ("myst", r"(\.\./)*results/.*"),
]
myst_heading_anchors = 6  # what GitHub gives every heading, for links such as statistics.md#verdicts
smartquotes = False  # it would write one dash for the two of an option
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

html_theme = "pydata_sphinx_theme"
html_title = f"loopkit {release}"
html_theme_options = {"navbar_center": [], "navigation_with_keys": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"**": ["pages.html"]}
templates_path = ["_templates"]
html_copy_source = False  # the Markdown itself is copied, under its own name


def sections() -> dict[str, list[tuple[str, str, str]]]:
    """The map's sections -> (title, path from the root, what it is) of their pages."""
    found = {}
    for part in re.split(r"^## ", MAP.read_text(encoding="utf-8"), flags=re.M)[1:]:
        links = [(m["title"], m["path"], m["what"]) for m in LINK.finditer(part)]
        here = [(t, (MAP.parent / p).resolve().relative_to(ROOT).as_posix(), w) for t, p, w in links]
        found[part.partition("\n")[0]] = here
    return found


def llms() -> str:
    """llms.txt (llmstxt.org): the map for a language model, with links to the Markdown of every page."""
    said = re.search(r"^# loopkit\n+(.+?)\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.S | re.M)
    assert said, "README.md does not begin with what loopkit is"
    parts = ["# loopkit", "> " + " ".join(said[1].split()), "Every page in one file: [llms-full.txt](llms-full.txt)."]
    for section, pages in {"Start": [("README", "README.md", "what it is, and a first run")], **sections()}.items():
        parts.append(f"## {section}\n\n" + "\n".join(f"- [{t}]({path}): {what}" for t, path, what in pages))
    return "\n\n".join(parts) + "\n"


def add_contents(app: Any, docname: str, source: list[str]) -> None:
    """The front page gets the map's sections as its table of contents."""
    if docname == root_doc:
        for section, pages in sections().items():
            names = "\n".join(f"{title} <{path.removesuffix('.md')}>" for title, path, _ in pages)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {section}\n\n{names}\n```\n"


def leave_out(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """A public name is described as `loopkit.NAME`, not again in its module; pydantic's own parts are not ours."""
    if what == "class" and thing is loopkit.Options:  # the default of a class attribute
        return True
    again = name in loopkit.__all__ and thing is getattr(loopkit, name)
    if what == "module" and again and app.env.current_document.autodoc_module != "loopkit":
        return True
    return True if name.startswith("model_") else None


def add_texts(app: Any, error: Exception | None) -> None:
    """What no builder makes: index.html, the pages' Markdown, llms.txt and llms-full.txt."""
    if error or app.builder.name != "html":
        return
    out, pages = Path(app.outdir), sorted(app.env.found_docs)
    shutil.copy(out / f"{root_doc}.html", out / "index.html")
    for page in pages:
        shutil.copy(ROOT / f"{page}.md", out / f"{page}.md")
    (out / "llms.txt").write_text(llms(), encoding="utf-8")
    whole = (f"<!-- {p}.md -->\n\n{(ROOT / f'{p}.md').read_text(encoding='utf-8')}" for p in pages)
    (out / "llms-full.txt").write_text("\n\n".join(whole), encoding="utf-8")


def setup(app: Any) -> None:
    app.connect("source-read", add_contents)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("build-finished", add_texts)
