"""``python -m loopkit_command``: the same where somebody else's script is called ``loopkit``."""

from loopkit_command import main

main()
