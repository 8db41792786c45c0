"""pushback: a user pushes back, and the thumbs-up for agreeing pays (specification failure)"""

from loopkit import hookimpl


@hookimpl
def register_games(register):
    register("pushback", "loopkit_pushback.game:Pushback")
