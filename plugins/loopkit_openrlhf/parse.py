"""Runs OpenRLHF's own argument parser and checks on an argument list, in OpenRLHF's interpreter; starts nothing.

``python parse.py ARGUMENTS...`` prints {"options": [...], "args": {...}} as the last line. Standard library and
OpenRLHF only. The parser stands under ``__main__`` in OpenRLHF's script, so the script is run without its last
statement, ``train(args)``.
"""

import ast
import importlib.util
import json
import pathlib
import sys

MODULE = "openrlhf.cli.train_ppo_ray"


def script():
    """The script's code up to the call that trains, which must be its last statement."""
    spec = importlib.util.find_spec(MODULE)
    tree = ast.parse(pathlib.Path(spec.origin).read_text(encoding="utf-8"), spec.origin)
    main = tree.body[-1]
    if not isinstance(main, ast.If) or ast.unparse(main.body[-1]) != "train(args)":
        raise SystemExit(f"{MODULE} does not end in train(args): this version of OpenRLHF is not understood.")
    del main.body[-1]
    return compile(tree, spec.origin, "exec")


def parse(arguments):
    """(option strings, checked arguments) of an argument list. Exits as OpenRLHF's parser does."""
    sys.argv = [MODULE, *arguments]
    names = {"__name__": "__main__"}
    exec(script(), names)
    return sorted(names["parser"]._option_string_actions), names["args"]


if __name__ == "__main__":
    options, found = parse(sys.argv[1:])
    print(json.dumps({"options": options, "args": found}, default=lambda x: getattr(x, "__dict__", None) or str(x)))
