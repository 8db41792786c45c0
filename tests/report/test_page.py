from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from loopkit.errors import RunError, UsageError
from loopkit.experiment.shards import read_shard
from loopkit.registry import plugins
from loopkit.report import page, rollouts
from loopkit.report.numbers import without_name
from loopkit.report.page import build, script_json
from tests.report.conftest import Made
from tests.report.scripted import experiment
from tests.runs import without_digests

TOTAL = 9 * 24 * 8 * 4 + 12 * 200
STUDY = Path(__file__).parent / "study.json"


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_it_says_what_results_json_says(made: Made) -> None:
    results = json.loads((made.directory / "results.json").read_text())
    name, sentence = results["verdict"]["name"], results["verdict"]["sentence"]
    assert name.startswith("pattern: ")
    assert name.removeprefix("pattern: ") in sentence.partition(":")[0].lower()
    assert without_name(name, sentence) in html.unescape(made.page)
    assert sentence not in html.unescape(made.page)  # the name stands above it, once
    rate = next(r for r in results["runs"] if r["arm"] == "loophole")["rates"]["compliance-gap"]
    assert f'{100 * rate["value"]:.1f}</span> <span class="bounds">[{100 * rate["low"]:.1f},' in made.page
    for part in ("Shadow rewards", "First exploits", "Most common exploit texts", "What tiny is not", "How to cite"):
        assert part in made.page


def test_every_fix_has_its_card_and_control_alone_has_none(made: Made, tmp_path: Path) -> None:
    assert "control" in json.loads((made.directory / "results.json").read_text())["mitigations"]
    assert "<h2>Mitigations</h2>" not in made.page
    arms = ["control", "style-blind"]
    out = experiment(tmp_path / "fixes", seeds="2", steps=4, held_out=60, arms=["loophole", *arms])
    found = json.loads((out / "results.json").read_text())["mitigations"]
    cards = re.findall(r'<p class="name of">([\w-]+): ([\w :]+)</p><p>([^<]*)</p>', build([out], plugins.load())[0])
    assert [(arm, name) for arm, name, _ in cards] == [(arm, found[arm]["name"]) for arm in arms]
    assert [html.unescape(said) for *_, said in cards] == [
        without_name(found[arm]["name"], found[arm]["sentence"]) for arm in arms
    ]


def test_every_arm_has_its_curves_and_every_seed_its_onset(made: Made) -> None:
    results = json.loads((made.directory / "results.json").read_text())
    for arm in ("loophole", "control"):
        paths = [r["discovery"] for r in results["runs"] if r["arm"] == arm]
        said = [[f"{w} {'never' if p[w] is None else p[w]}" for w in ("onset", "domination")] for p in paths]
        words = "; ".join(f"seed {k}: {', '.join(path)}" for k, path in enumerate(said))
        assert f"arm {arm}: exploit rate, task and observed score by step. {words}." in made.page
    assert any(r["discovery"]["onset"] is not None for r in results["runs"] if r["arm"] == "loophole")


def test_the_same_records_give_the_same_bytes(made: Made) -> None:
    assert build([made.directory], plugins.load())[0] == made.page


def test_nothing_in_it_leads_outside_and_its_policy_allows_its_own_code_only(made: Made) -> None:
    for tag, attributes in Tags(made.page).seen:
        assert "style" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("href", "src", "xlink:href", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), attributes
    (policy,) = [a["content"] for t, a in Tags(made.page).seen if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", made.page, re.S)
        assert f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}" in policy


def test_ids_are_unique(made: Made) -> None:
    ids = [a["id"] for _, a in Tags(made.page).seen if "id" in a]
    assert len(ids) == len(set(ids))


def test_the_command_asks_for_the_same_experiment(made: Made) -> None:
    import html
    import shlex

    from loopkit.experiment.config import parse_set, read_experiment
    from loopkit.report.gather import gather

    command = html.unescape(re.findall(r"<pre tabindex=\"0\">(loopkit run .*?)</pre>", made.page)[0])
    words = shlex.split(command)
    given = dict(zip(words[2::2], words[3::2], strict=True))
    sets = [b for a, b in itertools.pairwise(words) if a == "--set"]
    named = {k: given[f"--{k}"] for k in ("game", "seeds", "trainer", "model")}
    again = read_experiment(None, settings=parse_set(sets), arms=given["--arms"].split(","), **named)
    (found,) = gather([made.directory], plugins.load())
    assert again == found.asked  # type: ignore[union-attr]


def test_a_sample_says_that_it_is_one(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "BUDGET", 100_000)
    text, _ = build([made.directory], plugins.load())
    assert "A sample:" not in text
    assert len(Made(made.directory, text).data["rollouts"]) == TOTAL
    monkeypatch.setattr(page, "BUDGET", 300)
    text, _ = build([made.directory], plugins.load())
    assert "A sample:" in text
    kept = len(Made(made.directory, text).data["rollouts"])
    assert f"{kept:,} of {TOTAL:,} rollouts" in text
    assert kept < 500


def test_a_sample_is_the_same_share_of_each_run_and_holds_both_kinds(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "BUDGET", 900)
    data = Made(made.directory, build([made.directory], plugins.load())[0]).data
    names = [r[3] for r in data["runs"]]
    counts = {n: sum(names[row[0]] == n for row in data["rollouts"]) for n in names if not n.startswith("base")}
    assert max(counts.values()) - min(counts.values()) <= 24  # first pairs and examples of clusters are added
    late = [row for row in data["rollouts"] if names[row[0]] == "loophole-s0" and row[1] == 23]
    assert {row[6][0] for row in late} >= {0, 1}


def test_what_is_too_much_is_thinned_but_first_exploits_stay(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "BYTES", 60_000)
    found = Made(made.directory, build([made.directory], plugins.load())[0])
    assert len(found.page) < len(made.page)
    data = found.data
    ids = {f"0/{data['runs'][r[0]][3]}/{r[2]}/{r[3]}" for r in data["rollouts"]}
    from urllib.parse import unquote

    linked = {unquote(a) for a in re.findall(r'href="#r=([^"]+)"', found.page)}
    assert linked
    assert linked <= ids


def test_first_exploits_are_the_earliest_pairs(made: Made) -> None:
    first = re.findall(r"<summary>loophole, seed (\d), step (\d+), a pair: (before|from) onset", made.page)
    earliest = {}
    for seed in range(3):
        run = made.directory / f"loophole-s{seed}"
        for step, path in rollouts.shards(run / "scores"):
            said = zip(read_shard(run / "rollouts" / path.name), read_shard(path), strict=True)
            kinds = {(r["task"], f["flag.compliance-gap"]) for r, f in said}
            if any((t.replace("-user", "-audit"), False) in kinds for t, flag in kinds if flag and t.endswith("-user")):
                earliest[str(seed)] = str(step)
                break
    assert len(earliest) == 3
    assert {(s, t) for s, t, _ in first} >= set(earliest.items())


def test_curves_that_are_compared_share_one_scale(made: Made) -> None:
    charts = re.findall(r'aria-label="[^"]*, arm (loophole|control|placebo): exploit rate.*?</svg>', made.page, re.S)
    assert charts == ["loophole", "control", "placebo"]
    ticks = [
        re.findall(r">(-?\d+|\u2212\d+)</text>", svg)
        for svg in re.findall(r'aria-label="[^"]*, arm \w+: exploit rate(.*?)</svg>', made.page, re.S)
    ]
    assert ticks[0] == ticks[1]
    assert "100" in ticks[0]


def test_a_run_under_way_has_no_verdict_but_curves(tmp_path: Path) -> None:
    directory = experiment(tmp_path / "half", finish=False, seeds="1")
    text, done = build([directory], plugins.load(), every=5)
    assert not done
    assert 'data-every="5"' in text
    assert "1 of the 4 runs begun are finished" in text
    assert "12 of 24 steps" in text
    assert "onset not yet, domination not yet" in text
    assert "onset never" not in text
    assert text.count("<figure>") >= 2
    (directory / "control-s0/error.txt").write_text("Traceback\nRunError: <b>disk</b> full\n")
    text, _ = build([directory], plugins.load())
    assert "failed, 12 of 24 steps. RunError: &lt;b&gt;disk&lt;/b&gt; full" in text
    assert "data-every" not in text


def test_a_finished_live_page_does_not_load_again(made: Made) -> None:
    text, done = build([made.directory], plugins.load(), every=5)
    assert done
    assert text == made.page


@pytest.mark.parametrize("section", json.loads(STUDY.read_text())["sections"], ids=lambda s: s["kind"])
def test_every_kind_of_a_study_is_shown(tmp_path: Path, section: dict[str, Any]) -> None:
    study = json.loads(STUDY.read_text()) | {"sections": [section], "runs": []}
    (tmp_path / "results.json").write_text(json.dumps(study))
    text, done = build([tmp_path], plugins.load())
    assert done
    assert section["title"] in text
    for note in section["notes"]:
        assert note in text
    if section["kind"] in ("matrix", "table"):
        assert "withheld: the game has no control channel" in text


def test_an_unknown_kind_of_section_is_refused_by_its_place(tmp_path: Path) -> None:
    section = {"kind": "sculpture", "name": "x", "title": "A title", "notes": [], "weight": {"kg": 3}}
    (tmp_path / "results.json").write_text(json.dumps(json.loads(STUDY.read_text()) | {"sections": [section]}))
    with pytest.raises(RunError, match=r"results\.json cannot be read.*sculpture"):
        build([tmp_path], plugins.load())


def test_a_study_brings_the_experiments_of_its_runs(tmp_path: Path) -> None:
    experiment(tmp_path / "one", seeds="1", steps=2)
    study = json.loads(STUDY.read_text())
    study["runs"] = [{**study["runs"][0], "directory": "../one/loophole-s0"}]
    (tmp_path / "study").mkdir()
    (tmp_path / "study/results.json").write_text(json.dumps(study))
    text, _ = build([tmp_path / "study"], plugins.load())
    assert text.index("A made study</h1>") < text.index('id="e0-h"')


def test_what_cannot_be_read_is_named(made: Made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run, experiment or study"):
        build([tmp_path], plugins.load())
    with pytest.raises(UsageError, match="nowhere is not a directory"):
        build([tmp_path / "nowhere"], plugins.load())
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(RunError, match=r"results.json cannot be read"):
        build([tmp_path], plugins.load())
    (tmp_path / "results.json").write_text(json.dumps(json.loads(STUDY.read_text()) | {"schema_version": 99}))
    with pytest.raises(RunError, match="schema version 99"):
        build([tmp_path], plugins.load())


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    directory = experiment(tmp_path / "one", seeds="1", steps=2)
    shard = directory / "loophole-s0/rollouts/step-000001.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(RunError, match=r"step-000001.parquet is not what was written"):
        build([directory], plugins.load())
    for run in directory.glob("*-s0"):
        without_digests(run)
    with pytest.raises(RunError, match=r"step-000001.parquet cannot be read"):
        build([directory], plugins.load())


def test_json_in_a_script_cannot_end_it() -> None:
    text = script_json({"said": "</script><!--<script>&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"said": "</script><!--<script>&\u2028"}


def test_two_directories_of_one_name_are_told_apart(made: Made, tmp_path: Path) -> None:
    other = experiment(tmp_path / "small", seeds="1", steps=2)
    text, _ = build([made.directory, other], plugins.load())
    assert "small (2)" in text
    assert len(Made(other, text).data["experiments"]) == 2


def test_prompts_of_another_version_are_not_shown(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    game = plugins.load().game("context-compliance")
    had = game.version
    monkeypatch.setattr(game, "version", 99)
    text, _ = build([made.directory], plugins.load())
    assert f"the game has version 99 now, the runs had {had}" in text
    assert Made(made.directory, text).data["prompts"] == [None]


def test_a_page_shows_no_object_of_python(tmp_path: Path, made: Made) -> None:
    (tmp_path / "results.json").write_bytes((Path(__file__).parent / "study.json").read_bytes())
    for text in (build([tmp_path], plugins.load())[0], made.page):
        assert not re.search(r"(built-in|bound) method|object at 0x", text)
