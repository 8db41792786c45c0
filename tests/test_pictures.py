"""The cards' pictures are what the games' own specimens score now."""

from __future__ import annotations

import importlib.util
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from loopkit.registry.plugins import OWN, load

GAMES = Path(__file__).parents[1] / "docs" / "games"


@pytest.fixture(scope="module")
def pictures() -> Any:
    spec = importlib.util.spec_from_file_location("game_pictures", GAMES / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_bundled_game_has_its_picture_and_it_is_drawn_from_the_game(pictures: Any) -> None:
    drawn = pictures.all_pictures()
    plugins = load()
    own = {n for n in plugins.names("games") if plugins.get("games", n).origin.distribution == OWN}
    assert set(drawn) == {f"{name}.svg" for name in own - {"own-reward"}}
    stale = [name for name, svg in drawn.items() if (GAMES / name).read_text(encoding="utf-8") != svg]
    assert not stale, "run: python docs/games/pictures.py"


@pytest.mark.parametrize("card", sorted(GAMES.glob("*.md")), ids=lambda p: p.stem)
def test_cards_show_it_with_words_for_who_cannot_see_it(card: Path) -> None:
    found = re.search(rf"!\[([^\]]+)\]\({card.stem}\.svg\)", card.read_text(encoding="utf-8"))
    assert found, f"{card.name} does not show its picture"
    svg = (GAMES / f"{card.stem}.svg").read_text(encoding="utf-8")
    texts = [t.text or "" for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    for word in ("loophole", "control", "flag"):
        assert word in found[1]
    assert "flagged" in texts
    assert all(len(t) <= 60 for t in texts[2:-1])
    for section in (
        "True goal",
        "Loophole",
        "Who is fooled",
        "## Rewards",
        "## What the paper does",
        "## Known limits",
    ):
        assert section in card.read_text(encoding="utf-8"), section


def test_wrapping_loses_nothing_but_blanks(pictures: Any) -> None:
    for text in ("a b  c", "<modify_key>" * 9, "x" * 200, "two\n\nlines", "", f"{'word ' * 40}end", " lead"):
        lines = pictures._wrapped(text)
        assert all(text[start : start + len(line)] == line and len(line) <= pictures.LETTERS for start, line in lines)
        assert "".join("".join(line.split()) for _, line in lines) == "".join(text.split())
        assert not any(line.startswith(" ") for _, line in lines[1:])
