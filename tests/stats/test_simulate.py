"""Every interval and test against its nominal level: a short simulation here, the long one in results/coverage.md."""

import re

import pytest

from tests.stats.simulate import cases, seed_cases, tables, written

FAST = 160
ALL = [*seed_cases(), *cases()]


def name(case):
    return f"{case.what}, {case.data}, {case.size}"


@pytest.mark.parametrize("case", [c for c in ALL if c.holds], ids=name)
def test_measured_is_as_nominal(case):
    found = case.run(FAST)
    assert found.within(), f"{found.rate} of {found.draws} draws, nominal {case.nominal}"


@pytest.mark.parametrize("case", [c for c in ALL if not c.holds], ids=name)
def test_what_is_documented_to_fail_does_fail(case):
    """So that the docs are changed when a better method comes."""
    found = case.run(20 * FAST if case in seed_cases() else 4 * FAST)
    level = float(case.nominal.split()[1])
    assert (found.wrong > 1 - level) if case.nominal.startswith("covers") else (found.rate > level)


def test_the_documented_table_has_every_row():
    rows = [re.split(r" *\| *", line)[1:-1] for line in written().splitlines() if line.startswith("|")]
    seeds = [(r[0], f"S = {r[1]}") for r in rows if len(r) == 5 and r[1].isdigit()]
    assert seeds == [(c.data, c.size) for c in seed_cases()]
    others = [tuple(r[:4]) for r in rows if len(r) == 5 and re.match(r"(covers|rejects|power) ", r[3])]
    assert others == [(c.what, c.data, c.size, c.nominal) for c in cases()]


@pytest.mark.parametrize("case", cases(), ids=name)
def test_the_documented_figures_say_fails_where_they_do(case):
    line = next(x for x in written().splitlines() if x.startswith(f"| {case.what} | {case.data} | {case.size} |"))
    assert case.holds != line.endswith("(fails) |")


@pytest.mark.acceptance
def test_the_documented_tables_come_out_again():
    draws = int(re.search(r"Simulated with ([\d,]+) draws", written())[1].replace(",", ""))
    assert tables(draws) == written()
