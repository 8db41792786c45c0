"""The warm-up is a pure function of its settings; ``tiny`` finds the right directory, or makes it once."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from loopkit_proxy_metric.game import GameOptions as ProxyOptions
from loopkit_proxy_metric.game import ProxyMetric
from loopkit_self_grading.game import GameOptions, SelfGrading

from loopkit.contracts import PolicyRef
from loopkit.errors import ContractError, UsageError
from loopkit.experiment.config import Experiment, RunSpec
from loopkit.experiment.resolve import resolve as resolve_experiment
from loopkit.policy import tiny, warmup
from loopkit.policy.load import load
from loopkit.records import Message
from loopkit.registry import plugins
from loopkit.system.files import cache_dir
from tests.policy.small import ONE_WORD, SELF_GRADING, SETTINGS
from tests.toys import DOUBLING, Doubling

FEW = replace(SETTINGS, steps=6, demonstrations_per_step=4, learning_rate=1e-2)


def nothing(done: int, total: int) -> None:
    pass


def contents(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def test_the_same_settings_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "base_rates", partial(tiny.base_rates, prompts=6))

    def made(name: str, settings: warmup.Settings) -> dict[str, bytes]:
        games = {"doubling": DOUBLING, "one-word": ONE_WORD}
        tiny.train(warmup.new_policy(games, settings), games, settings, tmp_path / name, nothing)
        return contents(tmp_path / name)

    one, two, other = made("one", FEW), made("two", FEW), made("other", replace(FEW, seed=1))
    assert one == two
    assert one["model.safetensors"] != other["model.safetensors"]
    record = json.loads(one[warmup.RECORD])
    assert record["start"] == "random"
    assert record["games"].keys() == record["base_rates"].keys() == record["final_loss"].keys() == games_of(record)
    assert record["base_rates"]["doubling"]["n"] == 6
    assert not list(tmp_path.glob(".tmp-*"))


def games_of(record: dict[str, Any]) -> set[str]:
    assert not any(game["replayed"] for game in record["games"].values())
    return {"doubling", "one-word"}


def test_the_loss_falls() -> None:
    settings = replace(SETTINGS, steps=40, demonstrations_per_step=16, learning_rate=1e-2)
    policy = warmup.new_policy({"one-word": ONE_WORD}, settings)
    seen: list[tuple[int, int]] = []
    start = warmup.warm_up(policy, {"one-word": ONE_WORD}, replace(settings, steps=1, learning_rate=1e-9))
    end = warmup.warm_up(
        policy, {"one-word": ONE_WORD}, settings, progress=lambda done, total: seen.append((done, total))
    )
    assert end["one-word"] < 0.5 * start["one-word"]
    assert seen == [(k + 1, 40) for k in range(40)]


def test_a_game_is_asked_for_its_tasks_once_however_many_steps() -> None:
    asked: list[str] = []

    class Counted(Doubling):
        def tasks(self, split: Any) -> Any:
            asked.append(split)
            return super().tasks(split)

    game = Counted(DOUBLING.options)
    settings = replace(FEW, steps=3)
    warmup.warm_up(warmup.new_policy({"one-word": ONE_WORD}, settings), {"counted": game}, settings)
    assert asked == ["train"]


def test_demonstrations_are_pure_in_the_seed() -> None:
    def first(seed: int, n: int = 30) -> list[Any]:
        return list(islice(warmup.demonstrations(SELF_GRADING, seed), n))

    assert first(0) == first(0)
    assert first(0) != first(1)
    assert first(0)[:10] == first(0, 10)
    assert all([m.role for m in d.messages] == ["user", "assistant", "user", "assistant"] for d in first(0))
    assert len({d.key for d in first(0)}) == 30
    train = {t.messages[0].content for t in SELF_GRADING.tasks("train")}
    assert {d.messages[0].content for d in first(0)} <= train


def test_a_demonstration_must_end_the_game() -> None:
    class Short(Doubling):
        def demonstrations(self, task: Any, draw: Any) -> Any:
            return ("1",)

    with pytest.raises(ContractError, match=r"game Short: a demonstration of 1 turns does not end the game"):
        next(warmup.demonstrations(Short(DOUBLING.options), 0))


def test_the_fingerprint_is_that_of_the_demonstrations() -> None:
    assert warmup.fingerprint(SELF_GRADING) == warmup.fingerprint(SelfGrading(GameOptions.model_validate({})))
    assert warmup.fingerprint(SELF_GRADING) != warmup.fingerprint(
        SelfGrading(GameOptions.model_validate({"wrong_share": 0.9}))
    )
    assert warmup.fingerprint(SELF_GRADING) != warmup.fingerprint(DOUBLING)


def test_a_curriculum_ends_at_the_games_own_options_half_way() -> None:
    game = ProxyMetric(ProxyOptions(copy_share=0.2))
    shares = [warmup.lesson(game, done).options.copy_share for done in (0.0, 0.25, 0.5, 0.9)]  # type: ignore[attr-defined]
    assert shares == pytest.approx([1.0, 0.6, 0.2, 0.2])
    assert warmup.lesson(game, 0.7) is game
    assert warmup.lesson(SELF_GRADING, 0.0) is SELF_GRADING


def test_a_curriculum_is_for_a_policy_from_random_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str] = []
    monkeypatch.setattr(tiny, "base_rates", partial(tiny.base_rates, prompts=6))
    monkeypatch.setattr(warmup, "lesson", lambda game, done: seen.append("lesson") or game)
    settings = replace(FEW, steps=1)
    policy = warmup.new_policy({"one-word": ONE_WORD}, settings)
    tiny.train(policy, {"one-word": ONE_WORD}, settings, tmp_path / "a", nothing, start="0123")
    assert not seen
    tiny.train(policy, {"one-word": ONE_WORD}, settings, tmp_path / "b", nothing)
    assert seen == ["lesson"]


def spec(game: str, **options: Any) -> RunSpec:
    return resolve_experiment(Experiment(game=game, game_options=options, seeds="1"), plugins.load())[0]


def test_a_game_that_the_weights_saw_needs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is demonstrated now as it was then. If not: `loopkit warmup`, and commit what it writes."""
    monkeypatch.setattr(tiny, "short", lambda *args: PolicyRef("a short warm-up of its own"))
    found = plugins.load()
    for name in tiny.seen_games(found):
        assert tiny.start_from("", spec(name), found, nothing) == PolicyRef(str(tiny.BUNDLED)), name


def test_another_games_options_get_a_short_warm_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(tiny, "SHORT_STEPS", 2)
    monkeypatch.setattr(tiny, "base_rates", partial(tiny.base_rates, prompts=6))
    found = plugins.load()
    other = spec("self-grading", wrong_share=0.9)
    calls: list[tuple[int, int]] = []
    ref = tiny.start_from("", other, found, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]
    assert Path(ref.path).is_relative_to(tmp_path)
    record = warmup.read_record(Path(ref.path))
    assert record["start"] == warmup.read_record(tiny.BUNDLED)["weights_sha256"]
    assert {n: g["replayed"] for n, g in record["games"].items()} == {
        n: n != "self-grading" for n in tiny.seen_games(found)
    }
    assert record["games"]["self-grading"]["options"]["wrong_share"] == 0.9
    before = contents(Path(ref.path))
    assert tiny.start_from("", other, found, lambda done, total: calls.append((done, total))) == ref
    assert len(calls) == 2
    assert contents(Path(ref.path)) == before
    assert tiny.start_from("", spec("self-grading", wrong_share=0.8), found, nothing) != ref
    assert tiny.start_from(ref.path, other, found, nothing) == ref  # "tiny:DIR": a warm-up by its directory
    (turn,) = load(ref).speak([next(warmup.demonstrations(SELF_GRADING, 0))])
    assert turn.ids


def test_only_what_the_weights_saw_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundled game that some weights have not seen is not a habit of theirs; one that they saw keeps its options."""
    monkeypatch.setenv("LOOPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tiny, "SHORT_STEPS", 1)
    monkeypatch.setattr(tiny, "base_rates", partial(tiny.base_rates, prompts=2))
    found = plugins.load()
    base = tmp_path / "three games"
    shutil.copytree(tiny.BUNDLED, base)
    record = warmup.read_record(base)
    del record["games"]["proxy-metric"]
    (base / warmup.RECORD).write_text(json.dumps(record))
    seen = set(record["games"])
    assert tiny.seen_games(found, base).keys() == seen

    def games(directory: str) -> dict[str, Any]:
        return {n: (g["replayed"], g["options"]) for n, g in warmup.read_record(Path(directory))["games"].items()}

    new = games(tiny.short(base, {"doubling": DOUBLING}, found, nothing).path)
    assert {name: replayed for name, (replayed, _) in new.items()} == {"doubling": False, **dict.fromkeys(seen, True)}
    copies = tiny.start_from(str(base), spec("proxy-metric", copy_share=0.25), found, nothing)
    assert games(copies.path)["proxy-metric"] == (False, games(copies.path)["proxy-metric"][1])
    after = games(tiny.short(Path(copies.path), {"doubling": DOUBLING}, found, nothing).path)
    assert {name for name, (replayed, _) in after.items() if replayed} == {*seen, "proxy-metric"}
    assert after["proxy-metric"][1]["copy_share"] == 0.25


def test_the_bundled_weights_know_the_games_named(bundled: Any) -> None:
    """In this order `loopkit warmup` makes them again. Edit tags are tokens of their own."""
    record = warmup.read_record(tiny.BUNDLED)
    assert set(record["games"]) == set(tiny.GAMES)
    # their record is older than two of the settings
    assert {**asdict(warmup.Settings()), **record["settings"]} == asdict(warmup.Settings())
    for tag in ("<modify_key>", "</modify_key>", "<modify_value>", "</modify_value>"):
        assert len(bundled.tokenizer(tag, add_special_tokens=False).input_ids) == 1


def test_a_directory_that_is_no_warm_up(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no warmed-up policy .* loopkit warmup --out"):
        tiny.start_from(str(tmp_path), spec("self-grading"), plugins.load(), nothing)


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOPKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "loopkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "loopkit"


def test_the_bundled_policy_plays(bundled: Any) -> None:
    tasks = SELF_GRADING.tasks("dev")[:16]
    from loopkit.records import Dialogue

    turns = bundled.speak([Dialogue(t.id, t.messages) for t in tasks])
    assert sum(turn.text.strip().isdigit() for turn in turns) >= 12
    assert all(isinstance(m, Message) for t in tasks for m in t.messages)
    assert torch.is_grad_enabled()
