"""A referee behind HTTP on this machine, so that a trainer may live in other processes; and the client of one.

The protocol is in docs/serving.md. JSON over POST /v1/<verb>; standard library only, and nothing of the
learning stack is imported, so that any trainer's process can hold a client. What a trainer may see travels: opening
messages, replies, rewards. ``state`` and ``secret`` stay. Texts survive to the last code point, lone surrogates too.
"""

from loopkit.serving.client import RefereeClient, play_concurrently, play_one
from loopkit.serving.server import SOCKET_TIMEOUT, Server, serve
from loopkit.serving.wire import BODY_LIMIT

__all__ = ["BODY_LIMIT", "SOCKET_TIMEOUT", "RefereeClient", "Server", "play_concurrently", "play_one", "serve"]
