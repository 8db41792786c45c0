"""OpenEnv's reserved checks, measured by loopkit: adversarial floor, gameability gap, training signal (RFC 008).

The graders are entry points of the group ``openenv.validation.graders``; ``python -m loopkit_openenv FOLDER URL`` makes
the report of an operator's lane, since `openenv validate` of 0.10 asks no grader of others. See docs/openenv.md.
"""
