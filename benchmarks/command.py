"""``loopkit`` as the console script runs it, so that it starts like any other process here."""

from loopkit.cli import main

if __name__ == "__main__":
    main()
