"""The command line. Commands are imported when they are called, so that ``--help`` is quick and loads no torch."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from loopkit import __version__
from loopkit.errors import LoopkitError, MissingExtra, PluginError, UsageError, missing_extra, nearest
from loopkit.registry.contain import harmless
from loopkit.system.processes import HOW_TO_RESUME, INTERRUPTED, interruptible

COMMANDS = {
    "run": ("loopkit.cli.run:run", "Train every arm and seed of an experiment, and print table and verdict."),
    "plan": ("loopkit.cli.plan:plan", "Say how many seeds and prompts show a difference."),
    "correct": ("loopkit.cli.correct:correct", "Correct exploit rates for their detector's mistakes, by labels."),
    "register": ("loopkit.cli.register:register", "Write down an experiment's plan before its first run."),
    "probe": ("loopkit.cli.probe:probe", "Attack a reward, without training: can it be earned without the goal?"),
    "study": ("loopkit.cli.study:study", "Make a designed set of experiments, such as the paper's main table."),
    "eval": ("loopkit.cli.evaluate:evaluate", "Play a policy on a game's held-out prompts and print its rates."),
    "fit": ("loopkit.cli.fit:fit", "Say before training whether a model can play a game, and what to change."),
    "models": ("loopkit.cli.models:models", "List models on this machine, and known ones by hub id."),
    "report": ("loopkit.cli.report:report", "Write one page of all that experiments or studies found."),
    "audit": ("loopkit.cli.audit:audit", "Look for exploits in completions that you already have."),
    "compare": ("loopkit.cli.compare:compare", "Compare arms that were trained anywhere, paired by seed."),
    "card": ("loopkit.cli.card:card", "Make the card of a game or a reward: what is known of it, and what is not."),
    "export": ("loopkit.cli.export:export", "Write a game for verifiers, Inspect, OpenEnv or verl."),
    "list": ("loopkit.cli.listing:list_", "List games, trainers, channels, detectors or policies, with their origin."),
    "check": ("loopkit.cli.check:check", "Check that a game or trainer keeps its contract."),
    "new": ("loopkit.cli.new:new", "Begin a game, channel, detector, trainer or intervention of your own."),
    "doctor": ("loopkit.cli.doctor:doctor", "Say what is installed, which plugins failed and why."),
    "warmup": ("loopkit.cli.warmup:warmup", "Warm up the embedded policy on games' demonstrations."),
    "rescore": ("loopkit.cli.rescore:rescore", "Rebuild the scores of recorded rollouts."),
    "seal": ("loopkit.cli.seal:seal", "Say whether runs are what was written, or take digests of those without."),
    "completion": ("loopkit.cli.complete:completion", "Print the script that makes a shell complete names."),
    "agreement": ("loopkit.cli.agreement:agreement", "Compare a run's model judge with the game's rule."),
}

EXAMPLES = """\b
Examples:
  loopkit run --game context-compliance --trainer grpo
  loopkit run --game self-grading --arms loophole,audit --seeds 5 --set arms.audit.rate=0.3
  loopkit study paper --seeds 5
  loopkit eval runs/…/loophole-s0 --game self-grading
  loopkit report runs/…
  loopkit list games
  loopkit new game my-game
"""


class Group(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*COMMANDS, *sorted(set(super().list_commands(context)) - set(COMMANDS))]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            module, _, attribute = COMMANDS[name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        return super().get_command(context, name)

    def add_command(self, command: click.Command, name: str | None = None) -> None:
        name = name or command.name or ""
        if not name or harmless(name) != name or not name.isascii() or len(name) > 40:
            raise PluginError(f"{name[:40]!r} is not a name for a command: use at most 40 letters, digits and -")
        if name in COMMANDS or self.commands.get(name, command) is not command:
            raise PluginError(f"there is a command {name!r} already: choose another name")
        super().add_command(command, name)

    def described(self, context: click.Context) -> list[tuple[str, str]]:
        """Names with a line each, without importing the commands of loopkit."""
        rows = [(name, text) for name, (_, text) in COMMANDS.items()]
        rows += [
            (name, command.get_short_help_str())
            for name in self.list_commands(context)
            if name not in COMMANDS and (command := self.get_command(context, name))
        ]
        return rows

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.described(context))

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        rows = self.described(context)
        commands = [CompletionItem(name, help=text) for name, text in rows if name.startswith(incomplete)]
        return commands + click.Command.shell_complete(self, context, incomplete)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(context, args[0]) is None:
            raise UsageError(f"no command {args[0]!r}. {nearest(args[0], self.list_commands(context))}")
        return super().resolve_command(context, args)


@click.group(cls=Group, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="loopkit")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Loophole games: does RL training make this model learn the exploit, and does your fix close it?"""
    context.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 a check failed or a reward is gameable, 2 usage, 3 a run failed, 4 could not
    tell, 130 interrupted.
    """
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    with interruptible():
        _main(arguments, debug)


def _main(arguments: list[str] | None, debug: bool) -> None:
    try:
        from loopkit.registry import plugins

        if "_LOOPKIT_COMPLETE" in os.environ:
            importlib.import_module("loopkit.cli.complete")  # before click looks for the shell's class
        plugins.load().add_commands(cli)
        code = cli.main(args=arguments, prog_name="loopkit", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)  # click returns the code of context.exit()
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        _complain(error.format_message() + (f" See `{context.command_path} --help`." if context else ""))
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort) as error:
        where = f" {error}" if str(error) else ""  # in a plugin that hangs, say
        click.echo(HOW_TO_RESUME.format(where), err=True, nl=False)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if debug:
            traceback.print_exc()
        _fail(missing_extra(error) or error)


def _fail(error: Exception) -> NoReturn:
    if isinstance(error, MissingExtra):  # one line, to be copied
        click.echo(f"Error: {harmless(str(error))}", err=True)
        sys.exit(error.exit_code)
    known = isinstance(error, LoopkitError)
    _complain(str(error) if known else f"{type(error).__name__}: {error}. `loopkit --debug …` shows where.")
    sys.exit(error.exit_code if isinstance(error, LoopkitError) else 3)


def _complain(text: str) -> None:
    """One paragraph, without control characters that a model or a file may have put into it."""
    import textwrap

    line = " ".join(part.strip() for part in harmless(text).splitlines())
    click.echo(textwrap.fill(f"Error: {line}", 100, break_long_words=False, break_on_hyphens=False), err=True)
