"""Clumsy and hostile plugins: each is named, with the cure, and breaks nothing that does not use it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopkit import __version__
from loopkit.cli import main
from loopkit.contracts import ExploitDetector
from loopkit.errors import PluginError, UsageError
from loopkit.experiment.resolve import set_up
from loopkit.registry import plugins as registry
from loopkit.registry.contain import harmless
from loopkit.registry.plugins import OWN
from loopkit.rollouts.scoring import flag, pay
from tests.dists import CHANNEL, command, environment, hook, install, loopkit, messages, names, on_path, specs

FAULTS = {
    # name: (code of the module, what its message says)
    "raises at import": ("raise RuntimeError('no cuda')", r"^importing 'aa_faulty' failed: RuntimeError: no cuda\. Me"),
    "exits at import": ("raise SystemExit(3)", r"importing 'aa_faulty' failed: SystemExit: 3\. Mend, update or unins"),
    "imports what is missing": ("import nosuchmodule", r"ModuleNotFoundError: .*nosuchmodule"),
    "does not parse": ("def", r"SyntaxError"),
    "recurses without end": ("def f(): f()\nf()", r"RecursionError"),
    "prints at import": ("print('hello \\x1b[31m')\n" + hook("games"), r"printed at import: 'hello \ufffd\[31m'\. Har"),
    "misspelt hook": (
        "@hookimpl\ndef register_gmaes(register): ...",
        r"there is no hook 'register_gmaes'\. Did you mean 'register_games'.*\? Mend, update or uninstall aa-faulty\.",
    ),
    "wrong signature": (
        "@hookimpl\ndef register_games(registry): ...",
        r"register_games\(registry\) cannot be called: write register_games\(register\)\. Mend,",
    ),
    "forgotten mark": ("def register_games(register): ...", r"register_games is never called: mark it @hookimpl"),
    "no hook at all": ("x = 1", r"it offers nothing: no function in it is marked @hookimpl"),
    "hook raises": ("@hookimpl\ndef register_games(register):\n    1 / 0", r"register_games\(\) failed: ZeroDivis"),
    "hook exits": ("@hookimpl\ndef register_games(register):\n    raise SystemExit", r"\(\) failed: SystemExit\."),
    "register without target": (hook("games", "'mine'"), r"register_games\(\) failed: TypeError: .*'target'"),
    "takes a bundled game": (
        hook("games", "'self-grading', 'x:Y'"), r"game 'self-grading' is already registered by loopkit-rl .*: choose",
    ),
    "takes a bundled trainer": (hook("trainers", "'grpo', 'x:Y'"), r"trainer 'grpo' is already registered by loopkit"),
    "channel of no game": (hook("channels", "'mine', 'x:Y'"), r"channel 'mine' names no game: .*'game/mine' or '\*/m"),
    "detector of no game": (hook("detectors", "'mine', 'x:Y'"), r"detector 'mine' names no game"),
    "game with a slash": (hook("games", "'a/b', 'x:Y'"), r"game 'a/b' has a slash"),
    "target is not a reference": (hook("games", "'mine', 'x.Y'"), r"points at 'x.Y': write 'module:attribute'"),
    "preset not a mapping": (hook("trainers", "'mine', 'x:Y', 'lr=1'"), r"has the preset 'lr=1': write \{'option': v"),
    "preset without names": (hook("trainers", "'mine', 'x:Y', {1: 2}"), r"has the preset \{1: 2\}"),
    "odd name": (hook("games", "'../x', 'x:Y'"), r"'\.\./x' is not a name"),
    "name with a newline": (hook("games", "'x\\n', 'x:Y'"), r"is not a name"),
    "name with an escape": (hook("games", "'x\\x1b[2J', 'x:Y'"), r"^'x\\x1b\[2J' is not a name"),
    "huge name": (hook("games", "'x' * 10**6, 'x:Y'"), r"^'x{58}… is not a name: use at most 100 letters"),
    "name of no text": (hook("games", "3, 'x:Y'"), r"3 is not a name"),
    "huge message": ("raise ValueError('y' * 10**7)", r"ValueError: y+…\. Mend"),
    "message with escapes": ("raise ValueError('a\\x1b[2Jb\\u202ec\\nd')", r"ValueError: a\ufffd\[2Jb\ufffdc d\. Mend"),
    "message that cannot be read": (
        "class Odd(Exception):\n    def __str__(self): return 1 / 0\nraise Odd", r"Odd: \(its message cannot be read\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported_and_spoils_nothing(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, message = FAULTS[fault]
    healthy = names(registry.load())
    install(tmp_path, "aa-faulty", code)
    install(tmp_path, "zz-fine", hook("trainers", "'fine', 'zz_fine:hookimpl'"))
    with on_path(tmp_path) as plugins:
        found = messages(plugins, "aa-faulty")
        assert len(found) == 1
        assert re.search(message, found[0])
        assert len(found[0]) < 500
        assert harmless(found[0]) == found[0]
        assert {p.origin.distribution for p in plugins.problems} == {"aa-faulty"}
        assert str(plugins.problems[0].origin) == "aa-faulty 1.2"
        assert names(plugins) == {**healthy, "trainers": sorted([*healthy["trainers"], "fine"])}
        assert plugins.get("games", "self-grading").origin.distribution == OWN
        assert len(specs(plugins)) == 4
        with pytest.raises(UsageError, match=r"unknown game 'mine'.*have problems: aa-faulty 1\.2 \(.*doctor"):
            plugins.get("games", "mine")
    assert capsys.readouterr().out == ""


NEEDS = {
    # Requires-Dist: whether this loopkit is enough
    "loopkit-rl": True, "loopkit-rl>=0.0.1": True, "loopkit_rl>=0.0.1,<99": True, "numpy>=99": True,
    "loopkit-extras>=99": True, "loopkit-rl>=99; python_version < '3'": True, "loopkit-rl>=99; extra == 'later'": True,
    "loopkit-rl @@ nonsense": True, "loopkit-rl>=99": False, "Loopkit-RL[test] >= 99": False, "loopkit-rl<0.0.1": False,
    "loopkit-rl>=99; python_version >= '3'": False,
}  # fmt: skip


@pytest.mark.parametrize("line", NEEDS)
def test_a_plugin_that_needs_another_loopkit_offers_nothing(line: str, tmp_path: Path) -> None:
    code = "import pathlib; pathlib.Path(__file__).with_name('imported').touch()\n" + hook("games", "'newer', 'x:Y'")
    install(tmp_path, "newer", code, requires=["numpy>=1", line])
    with on_path(tmp_path) as plugins:
        assert (tmp_path / "imported").exists() is NEEDS[line]  # else its code is not even run
        if NEEDS[line]:
            assert "newer" in plugins.names("games")
            assert not plugins.problems
            return
        (said,) = messages(plugins, "newer")
        assert re.fullmatch(
            rf"needs loopkit-rl(>=99|<0\.0\.1), this is {re.escape(__version__)}: nothing of it is offered\. "
            r"Install a loopkit-rl that fits, or another release of newer\.", said,
        )  # fmt: skip
        with pytest.raises(UsageError, match=r"unknown game 'newer'.*newer 1\.2 \(needs loopkit-rl"):
            plugins.game("newer")
        assert len(specs(plugins)) == 4


def test_a_plugin_that_asks_for_the_other_loopkit_offers_nothing(tmp_path: Path) -> None:
    """pip would install somebody else's library into our import package."""
    install(tmp_path, "older", hook("games", "'older', 'x:Y'"), requires=["loopkit>=0.1"])
    with on_path(tmp_path) as plugins:
        (said,) = messages(plugins, "older")
        assert "asks for loopkit," in said
        assert "loopkit-rl" in said
        assert "older" not in plugins.names("games")


@pytest.mark.parametrize("what", ["entry points", "metadata", "no metadata", "no module"])
def test_broken_metadata_is_reported_and_spoils_nothing(what: str, tmp_path: Path) -> None:
    healthy = names(registry.load())
    install(tmp_path, "torn", hook("games"))
    info = tmp_path / "torn-1.2.dist-info"
    if what == "entry points":
        (info / "entry_points.txt").write_text("[loopkit]\nthis is not an entry\n")
    elif what == "metadata":
        (info / "METADATA").write_bytes(b"\xff\xfe\0")
    elif what == "no metadata":
        (info / "METADATA").unlink()
    else:
        (info / "entry_points.txt").write_text("[loopkit]\nit = not a module!\n")
    with on_path(tmp_path) as plugins:
        assert names(plugins) == healthy
        assert len(specs(plugins)) == 4
        found = [(str(p.origin), p.message) for p in plugins.problems]
    expected = {
        "entry points": [
            ("torn-1.2.dist-info ?", r"its metadata cannot be read: TypeError: .*Reinstall or remove it\.")
        ],
        "metadata": [("torn-1.2.dist-info ?", r"its metadata cannot be read: UnicodeDecodeError")],
        "no metadata": [  # Python tells it, since 3.12, from a distribution without a name
            ("torn-1.2.dist-info ?", r"its metadata cannot be read")
        ][: sys.version_info >= (3, 12)],
        "no module": [("torn 1.2", r"importing 'not a module!' failed: ")],
    }[what]
    assert [o for o, _ in found] == [o for o, _ in expected]
    assert all(re.match(pattern, said) for (_, said), (_, pattern) in zip(found, expected, strict=True))


GAME = """
from loopkit import Assessment, Game, Message, Task, pay, rule

class Small(Game):
    version, axis = 1, "specification"
    signals, clues = {"x": (0, 1)}, {"y": "whether y"}
    channels, detectors = {"loophole": pay("x")}, {"y": rule("y")}
    def tasks(self, split): return [Task(split, (Message("user", split),))]
    def assess(self, rollouts):
        return [Assessment({"task": 1.0, "observed": 1.0}, {"x": 1.0}, {"y": False}) for _ in rollouts]
    def specimens(self, task, draw): return {"honest": [("a",)], "exploit": [], "null": []}

"""
MADE = r"game 'late' of late 1\.2 could not be made: "
LATE = {
    # name: (the class behind a game, what asking for it says)
    "no game": ("Late = dict", r"game 'late' of late 1\.2 is not a Game\. Report it to the authors of late\."),
    "nothing": ("Late = None", r"is not a Game"),
    "not there": ("", r"could not be loaded from 'late:Late': AttributeError: .*Reinstall or update late\."),
    "abstract": ("class Late(Game): ...", MADE + "TypeError: Can't instantiate abstract class"),
    "raises": ("class Late(Small):\n    def __init__(self, *_): 1 / 0", MADE + "ZeroDivisionError: division by zero"),
    "exits": ("class Late(Small):\n    def __init__(self, *_): raise SystemExit(0)", MADE + r"SystemExit: 0\. Chec"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LATE)
def test_a_game_that_is_none_is_named_when_it_is_asked_for(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = LATE[fault]
    install(tmp_path, "late", GAME + code + "\n" + hook("games", "'late', 'late:Late'"))
    with on_path(tmp_path) as plugins:
        assert not plugins.problems
        with pytest.raises(PluginError, match=message):
            specs(plugins, game="late")
        with pytest.raises(SystemExit):
            main(["list", "--json"])
        rows = json.loads(capsys.readouterr().out)
        assert {"self-grading", "late"} <= {r["name"] for r in rows if r["kind"] == "games"}
        assert "self-grading/audit" in {r["name"] for r in rows if r["kind"] == "channels"}
        with pytest.raises(SystemExit):
            main(["doctor", "--json"])
        found = json.loads(capsys.readouterr().out)["problems"]
        assert [p["distribution"] for p in found] == ["late 1.2"]
        assert re.search(message, found[0]["message"])


DETECTORS = {
    # what is behind a detector of every game: what doctor says of it
    "'nowhere:Gone'": r"could not be loaded from 'nowhere:Gone': ModuleNotFoundError.*Reinstall or update watch\.",
    "Raises": r"could not be made: ZeroDivisionError: division by zero\. Report it",
    "Exits": r"could not be made: SystemExit: 1",
    "dict": r"detector '\*/watch' of watch 1\.2 is not an ExploitDetector",
}


@pytest.mark.parametrize("target", DETECTORS)
def test_a_detector_nobody_asked_for_breaks_no_run(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "class Raises(Never):\n    def __init__(self): 1 / 0\n\n"
        "class Exits(Never):\n    def __init__(self): raise SystemExit(1)\n\n"
    )
    install(tmp_path, "watch", CHANNEL + code + hook("detectors", f"'*/watch', {target}", "'*/fine', Never"))
    with on_path(tmp_path) as plugins:
        found = specs(plugins)
        assert found[0].detectors == ["fine"]
        assert list(set_up(plugins, found[1]).detectors) == ["false-claim", "claim-if-wrong", "fine"]
        (said,) = messages(plugins, "watch")
        assert re.search(DETECTORS[target], said)
        specs(plugins)
        assert len(plugins.problems) == 1
        out, err = call(capsys, "run", "--game", "self-grading", "--dry-run")
        assert "loophole" in out
        assert "Some plugins have problems (watch): see `loopkit doctor`." in err


def test_what_raises_later_names_its_distribution(tmp_path: Path) -> None:
    code = (
        "class Late(Never):\n    def flags(self, clues): 1 / 0\n\n"
        "class Rated(Never):\n    def rate(self, flags, clues, clusters): raise SystemExit\n\n"
        "class Odd(Flat):\n    def rewards(self, signals, draws): print('odd'); return [signals[0]['gone']]\n\n"
    )
    code += hook("channels", "'*/odd', Odd") + hook(
        "detectors", "'*/late', Late", "'*/rated', Rated()", "'*/fine', Never"
    )
    install(tmp_path, "watch", CHANNEL + code)
    with on_path(tmp_path) as plugins:
        setup = set_up(plugins, specs(plugins, arms={"odd": {"amount": 3.0}})[-1])
        assert setup.paid.model_dump() == {"amount": 3.0}
        late, rated, fine = (setup.detectors[name] for name in ("late", "rated", "fine"))
        cure = r"watch 1\.2 failed: {}\. Mend or uninstall it\."
        with pytest.raises(PluginError, match=r"^flags\(\) of detector '\*/late' of " + cure.format(".* by zero")):
            flag("late", late, [{"said": []}])
        with pytest.raises(PluginError, match=r"^rate\(\) of detector '\*/rated' of " + cure.format("SystemExit")):
            rated.rate([False], [{}], ["a"])
        with pytest.raises(PluginError, match=r"^rewards\(\) of channel '\*/odd' of " + cure.format("KeyErro.*")):
            pay("odd", setup.paid, [{"claims": 1.0}], [lambda purpose: 0.5])
        assert flag("fine", fine, [{"said": []}]) == [False]
        assert type(fine).rate is ExploitDetector.rate  # a default stays one
        assert registry.load().build(plugins.entries["detectors", "*/fine"]).reads == fine.reads


def test_a_detector_looks_at_the_games_that_have_its_clues(tmp_path: Path) -> None:
    reads = "class {}(Never):\n    reads: ClassVar[frozenset[str]] = frozenset({{{!r}}})\n\n"
    code = CHANNEL + reads.format("Claim", "false_claim") + reads.format("Lost", "nowhere")
    install(tmp_path, "watch", code + hook("detectors", "'*/claim', Claim", "'self-grading/lost', Lost"))
    with on_path(tmp_path) as plugins:
        assert specs(plugins, game="context-compliance")[0].detectors == []
        assert not plugins.problems
        assert specs(plugins)[0].detectors == ["claim"]
        assert messages(plugins, "watch") == [
            "detector 'self-grading/lost' of watch 1.2 is not used: self-grading has no clue nowhere."
        ]


OUTSIDE = """
import click, sys, warnings
from loopkit import Game

ESCAPE = "\\x1b[2J\\x1b]0;gotcha\\x07"
print(ESCAPE)
print(ESCAPE, file=sys.stderr)
warnings.warn(ESCAPE)

class Loud(Game):
    ESCAPE_IN_DOCSTRING
    print(ESCAPE)
    def __init__(self, *_):
        print(ESCAPE)
        print(ESCAPE, file=sys.stderr)
        raise ValueError(ESCAPE)

@hookimpl
def register_commands(cli):
    print(ESCAPE)
    cli.add_command(click.Command(ESCAPE))

""".replace("ESCAPE_IN_DOCSTRING", "__doc__ = ESCAPE")


def escaping(site: Path) -> None:
    """A distribution with escapes in all that it prints and is called."""
    code = OUTSIDE + hook("games", "'loud', Loud", "ESCAPE, Loud", "'lazy', 'nowhere:' + ESCAPE")
    install(site, "loud", code, point="\x1b[31mpoint")
    info = site / "loud-1.2.dist-info" / "METADATA"
    info.write_text(info.read_text().replace("Version: 1.2", "Version: 1.2\x1b[31m"))


@pytest.mark.filterwarnings("ignore")  # the plugin's own
@pytest.mark.parametrize("words", ["list", "list games loud", "check loud", "run --game loud", "--help", "nope"])
def test_no_escape_of_a_plugin_reaches_the_terminal(
    words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    escaping(tmp_path)
    with on_path(tmp_path), pytest.raises(SystemExit):
        main(words.split())
    out, err = capfd.readouterr()
    assert not {"\x1b", "\x07"} & {*out, *err}
    if words == "list":
        assert "loud 1.2\ufffd[31m" in out


def test_no_escape_of_a_plugin_reaches_the_terminal_of_the_installed_command(tmp_path: Path) -> None:
    """What is printed before and after the command's own code, and warnings, too."""
    escaping(tmp_path)
    done = loopkit("doctor", site=tmp_path)
    assert not {"\x1b", "\x07"} & {*done.stdout, *done.stderr}
    assert "PROBLEM in loud 1.2\ufffd[31m: '\\x1b[2J\\x1b]0;gotcha\\x07' is not a name" in done.stdout


BULK = """
from loopkit import Game

class Many(Game):
    "One of very many."

@hookimpl
def register_games(register):
    for n in range(1000):
        register(f"bulk-{n:04}", Many)

"""


def test_a_thousand_names_bury_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(tmp_path, "bulk", BULK)
    with on_path(tmp_path) as plugins:
        assert not plugins.problems
        own = sorted(n for n in plugins.names("games") if not n.startswith("bulk-"))
        assert len(plugins.names("games")) == 1000 + len(own)
        assert call(capsys, "list")[0].count("bulk-") == 20
        out, err = call(capsys, "list", "games")
        lines = out.splitlines()
        listed = [line.split()[1] for line in lines[2:] if line.startswith("games")]  # a row may take two lines
        assert listed[: 2 + len(own)] == [*own, "bulk-0000", "bulk-0001"]
        assert re.search(r"^games +… 980 more +`loopkit list games --from", out, re.M)
        assert err == ""
        assert len(call(capsys, "list", "games", "--from", "bulk")[0].splitlines()) == 1002
        assert len(json.loads(call(capsys, "list", "games", "--json")[0])) == 1000 + len(own)
        with pytest.raises(UsageError) as unknown:
            plugins.get("games", "?")
        before = sum(name < "bulk-" for name in own)
        assert str(unknown.value).endswith(f"bulk-{29 - before:04} and {970 + len(own)} more.")


def test_registering_asks_only_names_that_could_collide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count of comparisons, not a timed test: it was quadratic."""
    asked: list[tuple[str, str]] = []
    same = registry._same
    monkeypatch.setattr(registry, "_same", lambda one, other: asked.append((one, other)) or same(one, other))
    install(tmp_path, "bulk", BULK + CHANNEL + hook("channels", *(f"'self-grading/c{n}', Flat" for n in range(300))))
    with on_path(tmp_path) as plugins:
        assert len(plugins.names("channels")) == 300
    assert asked == []


def test_ctrl_c_in_a_plugin_that_hangs_names_it(tmp_path: Path) -> None:
    install(tmp_path, "hangs", "import pathlib, time\npathlib.Path(__file__).with_name('in').touch()\ntime.sleep(200)")
    with subprocess.Popen(command("list"), env=environment(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if (tmp_path / "in").exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted in the code of hangs 1.2." in err


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """(standard output, standard error) of a command that ends with this code."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert (stop.value.code or 0) == code
    out, err = capsys.readouterr()
    return out, err


def test_list_doctor_and_check_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, (code, _) in enumerate(FAULTS.values()):
        install(tmp_path, f"faulty{n}", code)
    install(tmp_path, "lazy", hook("games", "'lazy', 'nowhere:Game'"))
    install(tmp_path, "fine", GAME + hook("games", "'fine', Small"))
    with on_path(tmp_path):
        rows = json.loads(call(capsys, "list", "--json")[0])
        assert {"self-grading", "context-compliance", "lazy"} <= {r["name"] for r in rows if r["kind"] == "games"}
        assert next(r["what"] for r in rows if r["name"] == "lazy").startswith("cannot be loaded")
        assert "Some plugins have problems (faulty0, faulty1," in call(capsys, "list")[1]
        report, _ = call(capsys, "doctor", code=1)
        assert "\x1b" not in report
        named = set(re.findall(r"^PROBLEM in (\w+) 1\.2:", report, re.M))
        assert named == {"lazy", *(f"faulty{n}" for n in range(len(FAULTS)))}
        assert f"{len(FAULTS) + 1} problem(s)" in report
        checked, _ = call(capsys, "check", "lazy", "fine", code=1)
        assert re.findall(r"^(\w+): \w+", checked, re.M) == ["lazy", "fine"]
        assert "lazy: fails" in checked
