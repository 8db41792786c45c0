"""``python -m loopkit_openenv FOLDER URL``: the report of an operator's lane, of a package and its running server.

It takes OpenEnv's own registry (with the graders of every distribution), scheduler, policy and report: `openenv
validate` of 0.10 runs the author's lane, in which these checks are reserved. Exit codes: 0 pass or warn, 1 fail.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from openenv.validation import Level, load_policy, write_report
from openenv.validation.graders import GraderRegistry, Subject
from openenv.validation.parsers.openenv_yaml import OpenEnvYamlParser
from openenv.validation.policy import apply_policy
from openenv.validation.report import ValidationReportV2
from openenv.validation.runner import source_digest
from openenv.validation.runtime.scheduler import execute_graders
from openenv.validation.signature import detect_signature
from openenv.validation.types import Lane, Verdict


@dataclass(frozen=True)
class Running:
    """A server that somebody else started."""

    base_url: str


def report(folder: Path, url: str) -> ValidationReportV2:
    """The checks of level 4 that installed distributions offer, on a running server, as OpenEnv's report."""
    policy, registry = load_policy("v2"), GraderRegistry()
    registry.load_entry_points()
    manifest = OpenEnvYamlParser().parse(folder)
    subject = Subject(folder, manifest, None, Running(url), folder / "outputs")
    graders = [g for g in registry.select(manifest, Level.STATISTICAL) if g.level is Level.STATISTICAL]
    results = execute_graders(graders, subject)
    return ValidationReportV2(
        report_schema_version="2", target=str(folder), source_digest=source_digest(folder),
        signature=detect_signature(folder), manifest=manifest, policy_version=policy.policy_version, lane=Lane.HUB,
        levels_run=[Level.STATISTICAL], results=results, verdict=apply_policy(results, policy, Lane.HUB),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loopkit_openenv", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the package, with its openenv.yaml")
    parser.add_argument("url", help="where it is served, such as http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, help="file for the report")
    options = parser.parse_args()
    made = report(options.folder, options.url)
    print(write_report(made, options.out))
    sys.exit(1 if made.verdict is Verdict.FAIL else 0)


if __name__ == "__main__":
    main()
