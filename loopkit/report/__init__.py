"""``loopkit report``: run directories -> one page that holds everything (docs/report.md).

gather (run directories) -> rollouts, texts (what is shown of what was said) -> experiment, studies (what the template
needs) -> charts, page (SVG, HTML).
"""
