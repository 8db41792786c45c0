"""Faults put into the code one at a time, to see whether a test notices: ``python -m tools.mutants --help``.

Not mutmut 3 or cosmic-ray: mutmut cannot draw a fixed number that stays the same when other functions change, and its
trampolines do not reach the programs that tests start (the sandbox's insides, resumed runs); cosmic-ray mutates the
working tree and starts an interpreter a mutant, which costs more here than the tests do. Neither returns ``None``,
drops a call or swaps arguments.
"""
