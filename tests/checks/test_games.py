"""check_game: the toys pass, and every way of breaking them is named with its cure."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from loopkit.checks import check_game
from loopkit.checks.report import GAME_RULES, MOST_COMPLAINTS
from loopkit.contracts import SPLITS, Game, Options, RewardChannel
from loopkit.errors import CheckFailed, UsageError
from loopkit.experiment.resolve import build_game
from loopkit.parts.channels import Placebo, pay
from loopkit.parts.detectors import rule
from loopkit.records import Assessment, Message, Rollout, Task
from loopkit.registry import plugins as registry
from tests.checks.broken_games import BROKEN, Broken, replies, shown, tasks
from tests.checks.table import CURE, complaints, documented, told
from tests.toys import COPYING, DOUBLING, Checked, Copying, Doubling

PLUGINS = registry.load()
OWN = [n for n in PLUGINS.names("games") if PLUGINS.get("games", n).origin.distribution == registry.OWN]
OWN.remove("own-reward")  # the user's own: nothing of it is there without


@pytest.mark.parametrize("game", [DOUBLING, COPYING], ids=["doubling", "copying"])
def test_toys_are_proven(game: Game) -> None:
    report = check_game(game, name="toy")
    assert (report.name, report.status, report.reasons) == ("toy", "proven", ())
    assert [f.check for f in report.findings] == list(GAME_RULES)
    assert all(f.ok and not f.left_out for f in report.findings)
    report.raise_if_failed()


@pytest.mark.parametrize("name", OWN)
def test_bundled_games_are_proven(name: str) -> None:
    """No false alarms, with all that other distributions could add left away."""
    report = check_game(build_game(PLUGINS, name, {}), name=name)
    assert (report.status, report.reasons) == ("proven", ())
    assert not any(f.left_out for f in report.findings)


def test_what_was_proven_is_said_with_counts() -> None:
    said = {f.check: f.message for f in check_game(DOUBLING, fuzz=30).findings}
    assert "40 in train, 40 in dev, 40 in test" in said["tasks"]
    assert "30 garbage completions" in said["conformance"]
    assert all(said[check].startswith(GAME_RULES[check].proves) for check in said)


class NoControl(Doubling):
    channels: ClassVar[Mapping[str, RewardChannel]] = {"loophole": Checked(rate=0.1)}


class NoExploit(Copying):
    def specimens(self, task: Task, draw: Any) -> Any:
        return {**super().specimens(task, draw), "exploit": []}


@pytest.mark.parametrize(("game", "reason"), [(NoControl, "no channel 'control'"), (NoExploit, "No exploit specimen")])
def test_unproven_without_control_or_exploits(game: type[Game], reason: str) -> None:
    report = check_game(game(Options()), fuzz=100)
    assert report.status == "unproven"
    assert len(report.reasons) == 1
    assert reason in report.reasons[0]
    assert CURE.search(report.reasons[0])
    assert all(f.ok for f in report.findings)
    report.raise_if_failed()  # it runs, and is labelled


def test_a_control_that_pays_what_the_loophole_pays_proves_nothing() -> None:
    channels: dict[str, RewardChannel] = {"loophole": Checked(rate=0.1), "control": Checked(rate=0.1)}
    report = check_game(DOUBLING, channels=channels, fuzz=100)
    assert report.status == "unproven"
    assert report.reasons[0].startswith("'control' pays every specimen what 'loophole' pays")
    assert CURE.search(report.reasons[0])
    assert all(f.ok for f in report.findings)


def test_abstaining_counts_as_not_flagged() -> None:
    class Abstains(Doubling):
        clues: ClassVar = {"false_claim": "claims while wrong; None when it claims nothing"}

        def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
            return [replace(a, clues={"false_claim": a.clues["false_claim"] or None}) for a in super().assess(rollouts)]

    assert check_game(Abstains(Options()), fuzz=100).status == "proven"


def test_other_channels_and_detectors_may_be_checked() -> None:
    others: dict[str, RewardChannel] = {"loophole": Checked(rate=0.1), "control": pay("right")}
    assert check_game(DOUBLING, channels=others, fuzz=100).status == "proven"
    report = check_game(DOUBLING, channels={"loophole": pay("right")}, fuzz=100)
    assert "no more than the worst honest" in complaints(report, "economics")[0]
    report = check_game(DOUBLING, detectors={"other": rule("nothing")}, fuzz=100)
    assert "undeclared clues ['nothing']" in complaints(report, "declared")[0]


def test_report_is_json_and_raises() -> None:
    report = check_game(Broken.with_(detectors={}), name="mine")
    data = report.json()
    assert json.loads(json.dumps(data)) == data
    assert data["status"] == "fails"
    found = {"check": "declared", "ok": False, "message": complaints(report, "declared")[0], "left_out": False}
    assert data["findings"][0] == found
    assert type(report).read(data) == report
    with pytest.raises(CheckFailed, match=r"(?s)mine fails its checks.*There is no detector"):
        report.raise_if_failed()


def test_default_channels_include_the_placebo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Placebo, "rewards", lambda self, signals, draws: [2.0] * len(signals))
    assert "'placebo'" in complaints(check_game(DOUBLING), "conformance")[0]


def test_checks_import_no_torch() -> None:
    code = "import sys, loopkit.checks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", BROKEN)
def test_broken_game_fails_with_the_cure(name: str) -> None:
    game, check, fragment = BROKEN[name]
    report = check_game(game)
    assert report.status == "fails"
    assert any(fragment in message for message in complaints(report, check)), report.reasons
    for reason in report.reasons:
        assert CURE.search(reason), f"no cure: {reason}"
    assert documented("games")[name] == (check, told(report, check, fragment)), "run python -m tests.checks.table"
    with pytest.raises(CheckFailed):
        report.raise_if_failed()


def test_every_broken_game_of_the_table_is_tested() -> None:
    assert documented("games").keys() == BROKEN.keys()
    assert {check for _, check, _ in BROKEN.values()} == GAME_RULES.keys(), "a check that nothing fails"


def test_crash_names_the_words() -> None:
    found = complaints(check_game(BROKEN["crash on garbage"][0]), "conformance")
    assert found[0].startswith("On the words (")


def test_secret_the_policy_said_itself_may_be_repeated() -> None:
    """A reply that quotes the policy leaks nothing; and a secret that is public too may be shown."""
    quoting = replies(lambda r, a: replace(a, content=f"{r.words[0]}: sure?") if isinstance(a, Message) else a)
    said = type("Quoting", (type(quoting),), {
        "specimens": lambda self, t, d: {"honest": [(t.secret["answer"], "No")], "exploit": [("1", "Yes")]}
    })(Options())  # fmt: skip
    assert not complaints(check_game(said, fuzz=100), "secrets")
    public = tasks(lambda t, s: replace(shown(t, s), public={**t.public, "shown": [t.secret["answer"]]}))
    assert check_game(public, fuzz=100).status == "proven"


def test_complaints_are_few() -> None:
    assert len(complaints(check_game(BROKEN["no messages"][0]), "tasks")) == MOST_COMPLAINTS


def test_the_users_data_is_not_the_games_fault() -> None:
    def tasks_of(self: Game, split: str) -> list[Task]:
        raise UsageError("rows.jsonl, row 3 has no column 'prompt'. Mend the row.")

    with pytest.raises(UsageError, match=r"^rows.jsonl, row 3 has no column 'prompt'. Mend the row.$"):
        check_game(Broken.with_(tasks=tasks_of))


def test_what_cannot_travel_leaves_the_process_out_and_says_so() -> None:
    class Local(Doubling):
        pass

    report = check_game(Local(Options()), fuzz=100)
    assert report.status == "proven"
    (last,) = (f for f in report.findings if f.left_out)
    assert last.check == "processes"
    assert last.message.startswith("Left out: it cannot be sent to a new process")
    assert CURE.search(last.message)
    spared = check_game(DOUBLING, fuzz=100, new_process=False)
    assert [f.check for f in spared.findings] == [c for c in GAME_RULES if c != "processes"]


class Holds(Doubling):
    """Holds what cannot travel, as a game with a sandbox does."""

    def __init__(self, options: Any, judges: Any = None) -> None:
        super().__init__(options, judges)
        self.lock = threading.Lock()


def test_what_a_game_holds_need_not_travel() -> None:
    report = check_game(Holds(Options()), fuzz=100)
    assert report.status == "proven"
    assert [f for f in report.findings if f.check == "processes" and not f.left_out]


def test_splits_are_all_sampled() -> None:
    seen: set[str] = set()

    class Watched(Doubling):
        def assess(self, rollouts: Sequence[Rollout]) -> list[Assessment]:
            seen.update(r.slot.split("/")[0] for r in rollouts)
            return super().assess(rollouts)

    check_game(Watched(Options()), n_tasks=3, fuzz=5)
    assert seen == set(SPLITS)
