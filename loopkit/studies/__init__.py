"""Studies: designed sets of experiments, each a plan of runs and a summary (docs/studies.md).

``schema`` is what a study's ``results.json`` holds; every other module is one study, or a part that all share.
"""
