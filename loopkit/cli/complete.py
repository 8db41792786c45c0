"""Completion of names in a shell: what the options' values may be, and the script that a shell reads.

A completion must never fail or be slow: nothing here loads torch, and whatever goes wrong completes nothing.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from loopkit.errors import LoopkitError
from loopkit.registry import plugins as registry
from loopkit.registry.plugins import Kind

VARIABLE = "_LOOPKIT_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
Items = list[CompletionItem[Any]]
Complete = Callable[[click.Context, click.Parameter, str], Items]

EPILOG = """\b
Examples:
  eval "$(loopkit completion bash)"                                 # in ~/.bashrc
  eval "$(loopkit completion zsh)"                                  # in ~/.zshrc, after compinit
  loopkit completion fish > ~/.config/fish/completions/loopkit.fish
"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, options and names.

    It completes the names of games, trainers, channels and studies, those of installed plugins among them.
    """
    completer = get_completion_class(shell)
    assert completer is not None, shell
    click.echo(completer(context.find_root().command, {}, "loopkit", VARIABLE).source())


def _one(names: Callable[[click.Context], Iterable[str]], *, listed: bool = False) -> Complete:
    """A completion from the names an option takes: one of them, or several with commas between."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
        done, comma, begun = incomplete.rpartition(",") if listed else ("", "", incomplete)
        try:
            known = list(names(context))
        except LoopkitError:  # a broken plugin, an unknown game: the command itself says it
            return []
        return [CompletionItem(f"{done}{comma}{n}") for n in known if n.startswith(begun) and n not in done.split(",")]

    return complete


def _registered(*kinds: Kind) -> list[str]:
    return [name for kind in kinds for name in registry.load().names(kind)]


def _channels(context: click.Context) -> list[str]:
    """The channels of the game that the line names so far, or those that nearly every game has."""
    from loopkit.experiment.resolve import build_game, own_channels

    game = context.params.get("game")
    if not game:
        return ["loophole", "control", "placebo"]
    plugins = registry.load()
    return list(dict.fromkeys([*own_channels(build_game(plugins, game, {})), *plugins.channels(game)]))


def _of_kind(context: click.Context) -> list[str]:
    kind = context.params.get("kind")
    return _registered(kind) if kind in registry.KINDS else []


def _families(context: click.Context) -> list[str]:
    trainers = _registered("trainers")
    return sorted({*trainers, *(name.partition(":")[0] for name in trainers)})


def _studies(context: click.Context) -> list[str]:
    from loopkit.front.designed import STUDIES

    return list(STUDIES)


def model(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """A policy scheme, else a path; a path that is there goes first, since ``ru`` begins both ``run`` and ``runs/``."""
    there = bool(incomplete) and any(glob.iglob(f"{glob.escape(incomplete)}*"))
    schemes = [] if there else _one(lambda _: _registered("policies"))(context, parameter, incomplete)
    return schemes or [CompletionItem(incomplete, type="file")]


game = _one(lambda _: _registered("games"))
games = _one(lambda _: _registered("games"), listed=True)
trainer = _one(lambda _: _registered("trainers"))
family = _one(_families)
checked = _one(lambda _: _registered("games", "trainers"))
arms = _one(_channels, listed=True)
study = _one(_studies)
name = _one(_of_kind)
distribution = _one(lambda _: {origin.distribution for origin in registry.load().origins})


class Bash(BashComplete):
    """bash ends words at colons, which names such as ``openrlhf:grpo`` have, and at the = of ``--trainer=grpo``."""

    before = ""
    """What of the value bash believes to be finished."""

    def get_completion_args(self) -> tuple[list[str], str]:
        pieces, at = split_arg_string(os.environ["COMP_WORDS"]), int(os.environ["COMP_CWORD"])
        pieces = pieces[: at + 1] if at < len(pieces) else [*pieces, ""]
        words: list[str] = []
        for piece in pieces:
            if len(words) > 1 and (piece in (":", "=") or words[-1].endswith((":", "="))):
                words[-1] += piece
            else:
                words.append(piece)
        if len(words) < len(pieces):
            value = words[-1].partition("=")[2] if words[-1].startswith("--") else words[-1]
            self.before = value[: value.rfind(":") + 1]
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type},{str(item.value).removeprefix(self.before)}"


class Zsh(ZshComplete):
    """zsh takes ``--game=se`` for one word: click's script would put the bare name in its place."""

    def source(self) -> str:
        script = super().source()
        loop, add = "    for type key descr in", "compadd -U "
        assert min(script.count(loop), script.count(add)) == 1, "click has another script for zsh"
        script = script.replace(loop, f"    [[ ${{words[CURRENT]}} == --*=* ]] && compset -P '*='\n{loop}")
        return script.replace(add, f'{add}-i "$IPREFIX" ')


class Fish(FishComplete):
    """So does fish; and click's script splits at every comma, which lists of arms and helps have."""

    source_template = """\
function %(complete_func)s
    set -l word (commandline -ct)
    set -l response (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=$word %(prog_name)s)
    set -l option (string match -r -- '^--[^=]+=' $word)
    for completion in $response
        set -l found (string split -m 1 , -- $completion)
        switch $found[1]
            case dir
                printf '%%s\\n' "$option"(__fish_complete_directories $found[2])
            case file
                printf '%%s\\n' "$option"(__fish_complete_path $found[2])
            case plain
                printf '%%s\\n' "$option$found[2]"
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


for _class in (Bash, Zsh, Fish):
    add_completion_class(_class)
