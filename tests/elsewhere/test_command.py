from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from loopkit.cli import main
from tests.report.test_page import Tags


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows: list[Any] = [
        {"step": k // 4, "prompt": f"question {k % 8}", "completion": "go go go go go" if k >= 20 else f"it is {k}",
         "reward": float(k >= 20), "judge": 0.5, "advantage": 0.0}
        for k in range(40)
    ]  # fmt: skip
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["audit", *arguments])
    return int(done.value.code or 0)


def test_it_prints_rates_changes_and_examples(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(log)) == 0
    out, err = capsys.readouterr()
    assert "40 completions (trl), 8 prompts, steps 0 to 9" in out
    assert "repeats" in out
    assert "50.0 [" in out
    assert "step 5" in out
    assert "Not seen: whether the reward is deserved" in out
    assert err == ""


def test_broken_lines_are_named_on_standard_error(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_text(log.read_text() + '{"prompt": "\x1b[2J\n' * 8)
    assert run(str(log), "--json") == 0
    out, err = capsys.readouterr()
    err = " ".join(err.split())  # lines break where the folder's name has room for it
    assert json.loads(out)["skipped"]["n"] == 8
    assert json.loads(out)["rows"] == 40
    assert err.count("Skipped:") == 6
    assert "line 41: not JSON" in " ".join(err.split())
    assert "3 more rows" in err
    assert run(str(log), "--strict") == 2
    assert "line 41" in capsys.readouterr().err


def test_exit_codes_for_ci(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(log), "--fail-over", "0.6") == 0
    assert run(str(log), "--fail-over", "0.4") == 1
    assert "Over the limit: signs is 50.0 %, above 40.0 %" in capsys.readouterr().out
    assert run(str(log), "--fail-over", "format=0.0") == 0
    capsys.readouterr()
    assert run(str(log), "--fail-over", "format=0.0", "--fail-over", "repeats=0.1", "--json") == 1
    assert json.loads(capsys.readouterr().out)["over"] == ["repeats is 50.0 %, above 10.0 %"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--fail-over", "x"], "from 0 to 1"), (["--fail-over", "2"], "from 0 to 1"),
        (["--fail-over", "formt=0.1"], "Did you mean 'format'"), (["--column", "completion"], "ROLE=COLUMN"),
        (["--column", "completion=nope"], "no column 'nope'"), (["--trusted", "jude"], "Did you mean 'judge'"),
        (["--set", "game.x=1"], "options of a game"), (["--game", "nope"], "nope"),
        (["--game", "self-grading", "--trusted", "judge"], "Leave one out"),
        (["--game", "self-grading"], "no logged dialogue is a rollout"),
    ],
)  # fmt: skip
def test_usage_errors(log: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str) -> None:
    assert run(str(log), *options) == 2
    assert told in " ".join(capsys.readouterr().err.split())


HOSTILE = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "\x1b[31mred\x1b]8;;http://evil\x07",
           "\u202ebackwards", "{{ 7 * 7 }}", "go go go go go " * 8000)  # fmt: skip


def test_hostile_texts_are_harmless_on_the_page_and_in_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"step": k, "prompt": f"{text} {k}", "completion": f"{text} go go go go go", text[:50]: 1.0, "reward": 1.0}
        for k, text in enumerate(HOSTILE)
    ]
    log = tmp_path / "</title><b>.jsonl".replace("/", "")
    log.write_text("".join(json.dumps(r) + "\n" for r in rows))
    out = tmp_path / "out"
    assert run(str(log), "--out", str(out)) == 0
    printed = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in printed)
    page = (out / "report.html").read_text()
    assert json.loads((out / "audit.json").read_text())["rows"] == len(rows)
    assert not {"script", "img", "b"} & {tag for tag, _ in Tags(page).seen}
    for _, attributes in Tags(page).seen:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "U+202E" in page
    assert "{{ 7 * 7 }}" in page
    assert len(page) < 500_000  # the 120,000 characters are cut, and the cut is said
    assert "characters more" in page


def test_the_page_says_what_the_json_says(log: Path, tmp_path: Path) -> None:
    assert run(str(log), "--out", str(tmp_path / "out"), "--json") == 0
    page = (tmp_path / "out/report.html").read_text()
    found = json.loads((tmp_path / "out/audit.json").read_text())
    rate = next(r for r in found["rates"] if r["name"] == "repeats")
    assert f"{100 * rate['rate']['value']:.1f} [{100 * rate['rate']['low']:.1f}," in page
    (policy,) = [a["content"] for t, a in Tags(page).seen if a.get("http-equiv") == "Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    assert f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}" in (policy or "")
    for _, attributes in Tags(page).seen:
        assert all((attributes.get(n) or "#").startswith(("#", "data:,")) for n in ("href", "src", "xlink:href"))
    for part in (
        "40 completions, 8 prompts, steps 0 to 9",
        "What could not be seen",
        "The worst",
        "Over steps",
        "<svg",
    ):
        assert part in page


def test_the_documented_example_prints_what_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/audit.md").read_text()
    made, rest = page.split("<!-- audit -->")
    (script,) = re.findall(r"```python\n(.*?)```", made, re.S)
    exec(script, {})
    command, output = re.findall(r"```\w+\n(.*?)```", rest, re.S)[:2]
    assert run(*shlex.split(command.removeprefix("$ loopkit audit "))) == 0
    assert capsys.readouterr().out.rstrip() == output.rstrip()
