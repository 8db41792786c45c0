"""test-editing: a patch may replace the unit tests that grade it (specification failure)"""

from loopkit import hookimpl


@hookimpl
def register_games(register):
    register("test-editing", "loopkit_test_editing.game:TestEditing")
