"""Many programs through one pool, every answer compared with what the program gives alone.

``python benchmarks/sandbox_soak.py --programs 100000 --seed 1 --tier bubblewrap --keep build/soak``

One program in ten is hostile (tests/sandbox/attacks.py; those that only use up their time a tenth as often as the
others), one in ten is of the honest corpus (tests/sandbox/honest), one in fifty is the one whose words attacks look
for, the others are of a seeded population (sandbox_population.py). "Alone" is, of a program that is right, a plain
Python of its own for it (for each case of a script); of a hostile one, a worker of its own that has run nothing before
it. A hostile one that gives different things alone, as an address, is held to the kinds that it gave and to not getting
through. With ``--keep`` what each gives alone (of a right one the same for every tier) and how far the soak has come
are kept there, and the same command goes on, with new workers. Prints JSON.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import sandbox_population as population
from loopkit.sandbox import Limits, Outcome, Program, Sandbox, same, same_text
from loopkit.sandbox.inside import codec
from tests.sandbox import attacks, honest
from tests.sandbox.honest.judge import alone

LIMITS = Limits(cpu=1.0, wall=4.0)
AGAIN = 5
"""How often a hostile program is run alone that gave something else: it may vary by itself."""
SPENDS = ("time: ", "processes: fork bomb", "threads: bomb", "script: exit handlers", "script: lines that extend",
          "script: wait for", "script: read for ever", "script: endless", "memory: lists", "recursion")  # fmt: skip
"""Beginnings of the names of attacks that use up their time: drawn a tenth as often as the others."""
Outcomes = tuple[Outcome, ...]


@dataclass(frozen=True)
class Drawn:
    """A program of the stream; ``kind``: "attack", "corpus", "earlier" or "population"."""

    kind: str
    name: str
    program: Program


_made = functools.lru_cache(maxsize=None)(population.program)


class Stream:
    """The programs of a seed: the k-th is the same each time, whatever was asked for before."""

    def __init__(self, seed: str, distinct: int) -> None:
        self.seed, self.distinct = seed, distinct
        self.corpus = honest.corpus()
        self.hostile = attacks.programs()
        self.weights = [1 if name.startswith(SPENDS) else 10 for name in self.hostile]

    def __getitem__(self, k: int) -> Drawn:
        rng = random.Random(f"{self.seed}: draw {k}")
        drawn = rng.random()
        if drawn < 0.1:
            name = rng.choices(list(self.hostile), self.weights)[0]
            return Drawn("attack", name, self.hostile[name])
        if drawn < 0.2:
            one = rng.choice(self.corpus)
            return Drawn("corpus", one.name, one.program)
        if drawn < 0.22:
            return Drawn("earlier", "earlier", attacks.EARLIER)
        number = rng.randrange(self.distinct)
        return Drawn("population", str(number), _made(self.seed, number))


def equal(program: Program, one: Outcomes, other: Outcomes) -> bool:
    """The same kinds and values, case by case; words that are for people (``detail``) may differ."""
    held = same_text if program.form == "script" else same
    return len(one) == len(other) and all(
        a.kind == b.kind and (a.value is b.value is None or held(a.value, b.value))
        for a, b in zip(one, other, strict=True)
    )


class Alone:
    """What programs give alone, each distinct one asked once, and kept in ``file``."""

    def __init__(self, tier: str, file: Path | None) -> None:
        self.tier, self.file = tier, file
        self.known: dict[str, list[Outcomes]] = {}
        self.varies: set[str] = set()
        self.runs = 0
        self._sandbox = Sandbox(tier, workers=1, limits=LIMITS)
        if file is not None and file.exists():
            for line in file.read_text(encoding="utf-8").splitlines():
                key, rows = json.loads(line)
                outcomes = tuple(Outcome(kind, None if text is None else codec.decode(text)) for kind, text in rows)
                self.known.setdefault(key, []).append(outcomes)

    def close(self) -> None:
        self._sandbox.close()

    def right(self, drawn: Drawn, outcomes: Outcomes) -> bool:
        """Whether ``outcomes`` are what the program gives alone, and nothing got through."""
        program = drawn.program
        asked = (program.source, program.cases, program.form, program.entry)
        who = "plain" if drawn.kind in ("corpus", "population") else f"{self.tier} {drawn.kind}"
        key = f"{who} {hashlib.sha256(repr(asked).encode('utf-8', 'surrogatepass')).hexdigest()[:20]}"
        if drawn.kind == "attack" and attacks.through(outcomes):
            return False
        if key not in self.known:
            self._ask(key, drawn)
        if key in self.varies:
            return [o.kind for o in outcomes] in [[o.kind for o in each] for each in self.known[key]]
        if any(equal(program, each, outcomes) for each in self.known[key]):
            return True
        if drawn.kind != "attack":
            return False
        for _ in range(AGAIN):
            self._ask(key, drawn)
            if any(equal(program, each, outcomes) for each in self.known[key]):
                return True
        first, *others = self.known[key]
        if all(equal(program, first, each) for each in others):
            return False
        self.varies.add(key)
        return self.right(drawn, outcomes)

    def _ask(self, key: str, drawn: Drawn) -> None:
        self.runs += 1
        if drawn.kind in ("attack", "earlier"):
            self._sandbox._replace(self._sandbox._seats[0])
            (outcomes,) = self._sandbox.run([drawn.program])
        else:
            outcomes = alone(drawn.program)
        self.known.setdefault(key, []).append(outcomes)
        if self.file is not None:
            rows = [[o.kind, None if o.value is None else codec.encode(o.value)] for o in outcomes]
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, rows]) + "\n")


def account(pid: int) -> dict[str, int]:
    """Resident KiB and open descriptors of a process."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return {"kib": kib, "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


def processes(sandbox: Sandbox) -> dict[str, int]:
    """Keeper and zygote of the first worker, by this machine's numbers."""
    with open(f"/proc/self/fdinfo/{sandbox._seats[0].worker.pidfd}", encoding="utf-8") as file:
        keeper = next(int(line.split()[1]) for line in file if line.startswith("Pid"))
    with open(f"/proc/{keeper}/task/{keeper}/children", encoding="utf-8") as file:
        return {"keeper": keeper, "zygote": min(map(int, file.read().split())), "parent": os.getpid()}


@dataclass
class Progress:
    """How far a soak has come, over all its parts."""

    asked: dict[str, Any]
    done: int = 0
    cases: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    replaced: int = 0
    parts: int = 0
    wall_s: float = 0.0
    loads: list[float] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, asked: dict[str, Any], file: Path | None) -> Progress:
        if file is None or not file.exists():
            return cls(asked)
        progress = cls(**json.loads(file.read_text(encoding="utf-8")))
        if progress.asked != asked:
            raise SystemExit(f"{file} is of another soak, {progress.asked}: give another --keep.")
        return progress

    def count(self, drawn: Drawn, outcomes: Outcomes, right: bool) -> None:
        self.done += 1
        self.cases += len(outcomes)
        self.kinds[drawn.kind] = self.kinds.get(drawn.kind, 0) + 1
        for outcome in outcomes:
            self.outcomes[outcome.kind] = self.outcomes.get(outcome.kind, 0) + 1
        if not right:
            self.wrong.append(f"{self.done - 1}: {drawn.kind} {drawn.name}: {outcomes!r}"[:600])


def soak(options: argparse.Namespace) -> dict[str, Any]:
    """Run them; returns what was counted."""
    asked = {name: getattr(options, name) for name in ("programs", "seed", "distinct", "tier", "workers")}
    keep: Path | None = options.keep
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    file = keep / f"{options.tier}.json" if keep else None
    progress = Progress.begin(asked, file)
    progress.parts += 1
    stream = Stream(options.seed, options.distinct)
    answers = Alone(options.tier, keep / "alone.jsonl" if keep else None)
    replaced = progress.replaced
    with Sandbox(options.tier, workers=options.workers, limits=LIMITS) as sandbox:
        described = sandbox.describe()
        while progress.done < options.programs:
            start = time.monotonic()
            batch = [stream[k] for k in range(progress.done, min(progress.done + options.batch, options.programs))]
            for drawn, outcomes in zip(batch, sandbox.run(d.program for d in batch), strict=True):
                progress.count(drawn, outcomes, answers.right(drawn, outcomes))
            progress.replaced = replaced + sandbox.replaced
            progress.wall_s = round(progress.wall_s + time.monotonic() - start, 1)
            progress.loads.append(os.getloadavg()[0])
            if progress.done == len(batch) or progress.done % 5000 == 0 or progress.done == options.programs:
                row = {name: account(pid) for name, pid in processes(sandbox).items()}
                progress.marks.append({"programs": progress.done, "part": progress.parts, **row})
            print(progress.done, f"{progress.wall_s:.0f} s", f"{len(progress.wrong)} wrong", progress.wrong[-1:],
                  progress.replaced, "replaced; load", progress.loads[-1], file=sys.stderr, flush=True)  # fmt: skip
            if file is not None:
                file.with_suffix(".new").write_text(json.dumps(vars(progress)), encoding="utf-8")
                file.with_suffix(".new").replace(file)
    answers.close()
    loads = sorted(progress.loads)
    return {
        **vars(progress), "loads": {"least": loads[0], "median": loads[len(loads) // 2], "most": loads[-1]},
        "described": described, "known_alone": len(answers.known), "varies": len(answers.varies), "alone": answers.runs,
        "python": sys.version.split()[0], "uid": os.geteuid(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--programs", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--distinct", type=int, default=6_000, help="programs of the population")
    parser.add_argument("--tier", choices=("bubblewrap", "seccomp"), default="bubblewrap")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="a folder for what must outlast a kill; the same command goes on")
    print(json.dumps(soak(parser.parse_args()), indent=1))


if __name__ == "__main__":
    main()
