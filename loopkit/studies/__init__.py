"""Studies: designed sets of experiments, each a plan of runs and a summary (docs/studies.md).

Each module is one study, or a part that all share. What a study's ``results.json`` holds is in ``evidence.schema``.
"""
