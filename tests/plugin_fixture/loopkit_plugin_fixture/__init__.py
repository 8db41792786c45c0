"""A game (counting), a mitigation of a bundled game (honest-claims) and a detector for every game (parrot)."""

from loopkit import hookimpl


@hookimpl
def register_games(register):
    register("counting", "loopkit_plugin_fixture.game:Counting")


@hookimpl
def register_channels(register):
    register("self-grading/honest-claims", "loopkit_plugin_fixture.parts:HonestClaims", {"penalty": 2.0})


@hookimpl
def register_detectors(register):
    register("*/parrot", "loopkit_plugin_fixture.parts:Parrot")
