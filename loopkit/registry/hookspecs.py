"""The plugin hooks, in the order of a run's life. Implement any of them in a module under entry-point group "loopkit".

    from loopkit import hookimpl

    @hookimpl
    def register_games(register):
        register("my-game", "my_package.game:MyGame")

Strings keep imports lazy. A third party's channel or detector is "game/name", or "*/name" for every game.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from loopkit.records import StepMetrics

GROUP = "loopkit"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

Register = Callable[..., None]
"""register(name, Class | "module:Class", preset={}): what a preset fixes cannot be set by the user. Games also take
``flags`` and ``control``."""


@hookspec
def register_games(register: Register) -> None:
    """Offer games: ``register("name", "module:GameSubclass")``.

    ``flags``: options that are flags of the command line (``--reward``) and imply the game. ``control``: the option
    without which it has no channel "control"; the default arms are then loophole and placebo.
    """


@hookspec
def register_channels(register: Register) -> None:
    """Offer reward channels for a game: ``register("game/name", "module:Channel")``."""


@hookspec
def register_detectors(register: Register) -> None:
    """Offer exploit detectors: ``register("game/name", ...)`` or ``register("*/name", ...)``."""


@hookspec
def register_trainers(register: Register) -> None:
    """Offer trainers: ``register("name", "module:Trainer", preset={"option": value})``."""


@hookspec
def register_interventions(register: Register) -> None:
    """Offer interventions, what is done about a loophole besides paying another channel: ``register("name",
    "module:Intervention", preset={"option": value})``."""


@hookspec
def register_policies(register: Register) -> None:
    """Offer policy schemes: ``register("scheme", "module:function")``, called with
    (text after the scheme, RunSpec, Plugins, progress) -> PolicyRef."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the ``loopkit`` command line: ``cli.add_command(...)``."""


@hookspec
def run_started(directory: str, spec: Mapping[str, Any]) -> None:
    """A run begins or resumes. Trackers are plugins on this and the next two."""


@hookspec
def step_closed(directory: str, metrics: StepMetrics) -> None:
    """A step was recorded (in the run's own process)."""


@hookspec
def run_finished(directory: str) -> None:
    """A run has trained and been evaluated."""
