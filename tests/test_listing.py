"""``loopkit list`` and ``loopkit doctor``: every name with its origin, and one name with its options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from loopkit import __version__
from loopkit.cli import details, main
from loopkit.contracts import Options
from tests.dists import CHANNEL, hook, install, on_path

OWN = f"loopkit-rl {__version__}"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Any:
    def called(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        return (int(left.value.code or 0), *capsys.readouterr())

    return called


def read(call: Any, *arguments: str) -> Any:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def by_name(options: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {o["set"]: o for o in options}


def test_channels_of_one_class_differ_in_the_list(call: Any) -> None:
    rows = {r["name"]: r["what"] for r in read(call, "list", "channels")}
    told = [rows[f"self-grading/{name}"] for name in ("loophole", "control", "audit")]
    assert [t[-11:].strip() for t in told] == ["(rate=0.1)", "(rate=1.0)", "(rate=0.5)"]


def test_a_game_is_shown_with_options_and_parts(call: Any) -> None:
    found = read(call, "list", "games", "self-grading")
    assert (found["origin"], found["axis"]) == (OWN, "specification")
    option = by_name(found["options"])["game.wrong_share"]
    assert (option["default"], option["range"], option["required"]) == (0.05, "number >= 0, <= 1", False)
    assert option["what"] == "demonstrations: share of sums answered wrong"
    assert [c["name"] for c in found["channels"]] == ["loophole", "control", "audit", "placebo"]
    assert found["channels"][2]["options"] == {"rate": 0.5}
    assert [d["name"] for d in found["detectors"]] == ["false-claim", "claim-if-wrong"]
    assert found["signals"]["right"] == [0.0, 1.0]
    assert found["clues"]["false_claim"] == "whether it claims CORRECT while wrong"
    text = call("list", "games", "self-grading")[1]
    for said in ("game.claim_share", "number >= 0, <= 1", "claim-if-wrong", "in [0.0, 1.0]", "On tiny, unless you set"):
        assert said in text


def test_a_trainers_preset_is_fixed(call: Any) -> None:
    options = by_name(read(call, "list", "trainers", "rloo")["options"])
    assert options["trainer.baseline"]["range"] == "group, leave-one-out, none"
    assert (options["trainer.baseline"]["default"], options["trainer.baseline"]["fixed"]) == ("leave-one-out", True)
    assert options["trainer.learning_rate"]["fixed"] is False
    assert "leave-one-out (fixed)" in call("list", "trainers", "rloo")[1]


def test_a_channel_is_shown_at_its_own_defaults(call: Any) -> None:
    for name, rate in (("audit", 0.5), ("loophole", 0.1), ("placebo", 0.5)):
        option = read(call, "list", "channels", f"self-grading/{name}")["options"][0]
        assert (option["set"], option["default"], option["required"]) == ("arms.ARM.rate", rate, False)
    assert "options" not in read(call, "list", "detectors", "self-grading/false-claim")
    assert read(call, "list", "policies", "tiny")["origin"] == OWN


def test_settings_are_those_of_every_run(call: Any) -> None:
    options = by_name(read(call, "list", "settings")["options"])
    assert (options["run.steps"]["default"], options["run.steps"]["range"]) == (40, "integer > 0")
    assert options["run.eval_split"]["range"] == "train, dev, test"
    assert options["run.max_tokens"]["range"] == "integer > 0 or none"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("games self-grding", "unknown game 'self-grding'. Did you mean 'self-grading'?"),
        ("channels self-grading/audti", "self-grading has no channel 'audti' of its own. Did you mean 'audit'?"),
        ("channels audit", "write GAME/audit"),
        ("detectors nogame/x", "unknown game 'nogame'"),
        ("trainers --from nobody", "no plugin comes from 'nobody'. Known: loopkit-rl."),
    ],
)
def test_an_unknown_name_is_a_usage_error(words: str, said: str, call: Any) -> None:
    code, out, err = call("list", *words.split())
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_options_of_any_model() -> None:
    class Inner(Options):
        x: int = 1

    class Odd(Options):
        needed: str
        kind: Literal["a", "b"] | None = None
        some: list[int] = Field(default_factory=lambda: [1, 2])
        inner: Inner = Inner()
        on: bool = True
        low: float = Field(0.5, gt=0, lt=1)

    found = by_name(details.options(Odd, "game", fixed={"on": False}))
    assert found["game.needed"]["required"] is True
    assert found["game.kind"]["range"] == "a, b or none"
    assert (found["game.some"]["default"], found["game.some"]["range"]) == ([1, 2], "list")
    assert found["game.inner"]["range"] == "table"
    assert (found["game.on"]["default"], found["game.on"]["fixed"]) == (False, True)
    assert found["game.low"]["range"] == "number > 0, < 1"


def test_doctor_counts_what_games_bring_and_counts_no_game_that_needs_options(tmp_path: Path, call: Any) -> None:
    before = read(call, "doctor")["registered"]
    assert before["channels"] >= 6
    assert before["detectors"] >= 4
    needy = (
        "from loopkit_self_grading.game import SelfGrading\nfrom loopkit import Options\n"
        "class Needed(Options):\n    file: str\n\nclass Needy(SelfGrading):\n    Options = Needed\n\n"
    )
    code = needy + CHANNEL + hook("games", "'needy', Needy") + hook("channels", "'*/flat', Flat, {'amount': 2.0}")
    install(tmp_path, "extra", code)
    with on_path(tmp_path):
        code, out, _ = call("doctor")
        assert code == 0
        assert "No problems found." in out
        now = read(call, "doctor")["registered"]
        assert (now["games"], now["channels"]) == (before["games"] + 1, before["channels"] + 1)
        shown = read(call, "list", "games", "needy")
        assert by_name(shown["options"])["game.file"]["required"] is True
        assert "channels" not in shown
        (option,) = read(call, "list", "channels", "*/flat")["options"]
        assert (option["default"], option["fixed"]) == (2.0, True)
        assert {"name": "flat", "origin": "extra 1.2"} in read(call, "list", "games", "self-grading")["channels"]


def test_many_problems_of_one_distribution_are_counted(tmp_path: Path, call: Any) -> None:
    install(tmp_path, "many", hook("games", *(f"'no name {n}', 'x:Y'" for n in range(1000))))
    with on_path(tmp_path):
        code, out, _ = call("doctor")
        assert code == 1
        assert out.count("PROBLEM in many 1.2") == 6
        assert "PROBLEM in many 1.2: 995 more (`loopkit doctor --json` has them all)." in out
        assert "1000 problem(s)" in out
