"""Which modules are mutated, how many mutants each gets, and which tests have to notice: the smallest set that should.

A test file that moves is mended here; ``python -m tools.mutants --list`` names what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """``tests`` are run with ``-x`` in this order (cheapest first); ``slow`` only on what those let through."""

    count: int
    tests: tuple[str, ...]
    slow: tuple[str, ...] = ()


REFEREE = "tests/rollouts/test_referee.py"
RUNDIR = "tests/experiment/test_rundir.py"
RECORDED = "tests/experiment/test_recorded.py"
DAMAGE = "tests/faults/test_damage.py"
DISK = "tests/faults/test_disk.py"
RESUME = "tests/running/test_resume.py"
POOL = "tests/sandbox/test_pool.py"
LIMITS = "tests/sandbox/test_limits.py"
CARRY = "tests/sandbox/test_carry_over.py"
SABOTAGE = "tests/sandbox/test_sabotage.py"
DIGESTS = "tests/experiment/test_digests.py"
RESULTS = "tests/evidence/test_results.py"
CHECKS = "tests/checks/test_games.py"
CLAIMS = "tests/stats/test_properties.py"

TARGETS = {
    "loopkit/seeding.py": Target(6, ("tests/test_seeding.py",)),
    "loopkit/rollouts/scoring.py": Target(14, (REFEREE, "tests/evidence/test_results.py")),
    "loopkit/rollouts/referee.py": Target(18, (REFEREE, RUNDIR)),
    "loopkit/rollouts/metrics.py": Target(8, (REFEREE, "tests/evidence/test_results.py")),
    "loopkit/experiment/rundir.py": Target(16, (RUNDIR, RECORDED, DIGESTS, DAMAGE), (RESUME,)),
    "loopkit/experiment/shards.py": Target(6, (RUNDIR, RECORDED)),
    "loopkit/experiment/digests.py": Target(14, (DIGESTS,)),
    "loopkit/experiment/verifying.py": Target(8, (DIGESTS,)),
    "loopkit/policy/save.py": Target(6, (DIGESTS, DAMAGE)),
    "loopkit/evidence/idle.py": Target(4, (RESULTS,)),
    "loopkit/experiment/recorded.py": Target(8, (RECORDED,)),
    "loopkit/running/runner.py": Target(12, (DAMAGE, "tests/running/test_parallel.py", DISK), (RESUME,)),
    "loopkit/sandbox/answers.py": Target(8, ("tests/sandbox/test_answers.py", POOL)),
    "loopkit/sandbox/inside/codec.py": Target(8, ("tests/sandbox/test_codec.py", POOL)),
    "loopkit/sandbox/pool.py": Target(12, (POOL, LIMITS)),
    "loopkit/sandbox/jobs.py": Target(4, (POOL, LIMITS)),
    "loopkit/sandbox/worker.py": Target(6, (CARRY, POOL)),
    "loopkit/sandbox/packages.py": Target(3, (LIMITS,)),
    "loopkit/sandbox/tiers.py": Target(8, (SABOTAGE, "tests/sandbox/test_process.py")),
    "loopkit/sandbox/selftest.py": Target(4, (SABOTAGE,)),
    "loopkit/sandbox/inside/keeper.py": Target(5, (CARRY, LIMITS)),
    "loopkit/sandbox/inside/zygote.py": Target(5, (CARRY, POOL)),
    "loopkit/sandbox/inside/child.py": Target(6, (POOL, LIMITS)),
    "loopkit/sandbox/inside/kernel.py": Target(5, ("tests/sandbox/test_headers.py", SABOTAGE)),
    "loopkit/sandbox/inside/surroundings.py": Target(6, (POOL, "tests/sandbox/test_honest.py")),
    "loopkit/stats/claims.py": Target(8, ("tests/stats/test_claims.py", CLAIMS)),
    "loopkit/stats/breakthrough.py": Target(4, ("tests/stats/test_verdict.py",)),
    "loopkit/stats/corrected.py": Target(5, ("tests/stats/test_corrected.py",)),
    "loopkit/evidence/verdicts.py": Target(5, (RESULTS,)),
    "loopkit/evidence/windows.py": Target(4, (RESULTS,)),
    "loopkit/stats/rates.py": Target(8, ("tests/stats/test_rates.py",)),
    "loopkit/stats/seeds.py": Target(8, ("tests/stats/test_seeds.py", CLAIMS)),
    "loopkit/stats/means.py": Target(4, ("tests/stats/test_means.py",)),
    "loopkit/stats/onset.py": Target(6, ("tests/stats/test_onset.py", CLAIMS)),
    "loopkit/stats/verdict.py": Target(14, ("tests/stats/test_verdict.py", CLAIMS)),
    "loopkit/stats/mitigation.py": Target(8, ("tests/stats/test_mitigation.py",)),
    "loopkit/stats/shortcut.py": Target(10, ("tests/stats/test_shortcut.py",)),
    "loopkit/stats/contrasts.py": Target(5, ("tests/stats/test_contrasts.py",)),
    "loopkit/stats/times.py": Target(5, ("tests/stats/test_times.py",)),
    "loopkit/stats/monitors.py": Target(4, ("tests/stats/test_monitors.py",)),
    "loopkit/checks/declared.py": Target(6, (CHECKS,)),
    "loopkit/checks/economics.py": Target(5, ("tests/checks/test_specimens.py", CHECKS)),
    "loopkit/checks/fresh.py": Target(3, ("tests/checks/test_fresh.py",)),
    "loopkit/checks/games.py": Target(4, (CHECKS,)),
    "loopkit/checks/purity.py": Target(8, (CHECKS,)),
    "loopkit/checks/quality.py": Target(6, ("tests/checks/test_quality.py",)),
    "loopkit/checks/specimens.py": Target(5, ("tests/checks/test_specimens.py", CHECKS)),
    "loopkit/checks/trainers.py": Target(6, ("tests/checks/test_trainers.py",)),
}
