"""The trainer: serve the referee, write dataset, agent file and command line, run OpenRLHF, gather what it leaves.

Files of a run are in ``checkpoints/openrlhf/``: ``prompts.jsonl``, ``agent.py``, ``session.json`` (the token; for
this user's eyes only), ``command.txt``, ``versions.json``, ``log.txt`` and OpenRLHF's own ``ckpt/``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from loopkit.contracts import PolicyRef, Referee, Trainer
from loopkit.errors import RunError, UsageError
from loopkit.policy.save import checkpoint_name
from loopkit.records import Decode, Slot
from loopkit.serving import RefereeClient, serve
from loopkit.system.files import to_json, write_whole
from loopkit_openrlhf import checkpoints, engine
from loopkit_openrlhf.command import MODULE, OpenRlhfOptions, command
from loopkit_openrlhf.desk import Desk
from loopkit_openrlhf.diagnose import diagnose

HOME = "openrlhf"


class OpenRlhf(Trainer):
    """OpenRLHF on this machine or a Ray cluster, out of process. Not deterministic: vLLM batches as requests come."""

    Options = OpenRlhfOptions
    options: OpenRlhfOptions
    source: ClassVar[Literal["referee", "rollouts"]] = "referee"
    deterministic = False
    alone = True

    def train(self, source: Referee, workdir: Path) -> PolicyRef:
        """Resume from OpenRLHF's newest checkpoint that the records cover, train to the end, gather the policy."""
        home, final = workdir / HOME, workdir / checkpoint_name(source.n_steps)
        if final.exists():  # trained to the end, and not yet evaluated
            source.resume(source.n_steps)
            return PolicyRef(str(final))
        python, installed = self._engine()
        home.mkdir(parents=True, exist_ok=True)
        engine.await_end(home)
        write_whole(home / "versions.json", to_json(installed))
        parts = ["_actor", "_critic"] if self.options.estimator == "gae" else ["_actor"]
        done = checkpoints.resume_from(home, parts)
        checkpoints.forget_from(workdir, done)
        source.resume(done)
        checkpoints.note_recorded(home, done)
        words = self.words(source, home, resume=done > 0)
        self._check(python, words)
        shutil.rmtree(home / "final", ignore_errors=True)
        self._play(source, workdir, home, python, words, done)
        checkpoints.adopt_before(home, workdir, source.n_steps)
        checkpoints.adopt(home / "final", workdir, source.n_steps)
        shutil.rmtree(home / "ckpt", ignore_errors=True)  # as large as the training itself, and of no use any more
        return PolicyRef(str(final))

    def _play(self, source: Referee, workdir: Path, home: Path, python: str, words: list[str], done: int) -> None:
        """Serve the referee, and run OpenRLHF until every step is closed."""
        desk, closed = Desk(source, done), done
        write_whole(home / "prompts.jsonl", "".join(self.rows(source)).encode("utf-8", "replace"))
        write_whole(home / "agent.py", self.agent().encode())
        write_whole(home / "command.txt", (self.line(python, words) + "\n").encode())
        many = self.options.nodes > 1
        with serve(source, host=self.options.host, verbs={"claim": desk.claim}, reachable=many) as server:
            _private(home / "session.json", to_json({"url": server.url, "token": server.token}))
            client = RefereeClient(server.url, server.token, timeout=1800.0)  # by the server's lock, like the agents

            def step(number: int, metrics: dict[str, float]) -> None:
                nonlocal closed
                if number <= closed:
                    return
                if number != closed + 1:
                    raise RunError(f"OpenRLHF reports step {number} after step {closed}: its log lost what is between.")
                timings = {name: metrics.pop(name) for name in list(metrics) if name.startswith("timing/")}
                client.close(closed, metrics, timings)
                closed = number
                checkpoints.note_recorded(home, closed)
                checkpoints.adopt_before(home, workdir, closed)

            def failed() -> BaseException | None:
                return server.errors[0] if server.errors else None

            try:
                engine.run(python, words, self.options, home, step=step, failed=failed)
            finally:
                (home / "session.json").unlink(missing_ok=True)
        if closed != source.n_steps:
            raise RunError(
                f"OpenRLHF ended after reporting {closed} of {source.n_steps} steps. Its log is {home / 'log.txt'}."
            )

    def preflight(self, source: Referee, workdir: Path) -> None:
        """Find the interpreter, hold its version to the tested ones, have its parser read what is passed on."""
        if not (workdir / checkpoint_name(source.n_steps)).exists():
            python, _ = self._engine()
            self._check(python, self.words(source, workdir / HOME, resume=False))

    def _engine(self) -> tuple[str, dict[str, str | None]]:
        """The interpreter, and the versions of what it has. Raises UsageError unless it has an OpenRLHF to use."""
        python = engine.interpreter(self.options)
        installed = engine.versions(python)
        engine.check_version(installed, python, self.options.allow_untested)
        return python, installed

    def _check(self, python: str, words: list[str]) -> None:
        if self.options.engine_args:
            engine.check_arguments(python, words, self.options)

    def preview(self, source: Referee, workdir: Path) -> Iterator[tuple[str, str]]:
        """(title, text) of what a run would write and start; starts nothing, and needs no OpenRLHF."""
        home = workdir / HOME
        rows = list(self.rows(source))
        yield f"{home / 'prompts.jsonl'}: {len(rows)} rows, the first of them", rows[0]
        yield str(home / "agent.py"), self.agent()
        named = self.options.python or os.environ.get(engine.VARIABLE) or "python"
        line = self.line(named, self.words(source, home, resume=False))
        yield "command", line.replace(" --", " \\\n  --")

    @classmethod
    def diagnose(cls, options: OpenRlhfOptions) -> Iterable[tuple[str, str, str]]:
        """Interpreter, versions, GPUs, disk, ports."""
        return diagnose(options)

    def words(self, source: Referee, home: Path, *, resume: bool) -> list[str]:
        """The arguments of OpenRLHF's command line."""
        if self.start.adapter is not None:
            raise UsageError(
                f"OpenRLHF starts from whole weights, and {self.start.adapter} is an adapter: merge it into the model."
            )
        decodes = [_decode(slot) for step in range(source.n_steps) for slot in source.slots(step)]
        start = os.path.abspath(self.start.path) if os.path.isdir(self.start.path) else self.start.path
        return command(
            self.options, start=start, seed=self.seed, source=source, decodes=decodes, home=home.absolute(),
            resume=resume,
        )  # fmt: skip

    @staticmethod
    def line(python: str, words: list[str]) -> str:
        """The command as one would type it."""
        return shlex.join([python, "-m", MODULE, *words])

    @staticmethod
    def agent() -> str:
        """The agent file's text."""
        return Path(__file__).with_name("agent.py").read_text(encoding="utf-8")

    @staticmethod
    def rows(source: Referee) -> Iterator[str]:
        """The dataset, a JSON line a slot: its key is the label, and its last message the (unused) input."""
        for step in range(source.n_steps):
            for slot in source.slots(step):
                yield json.dumps({"input": slot.messages[-1].content, "label": slot.key}) + "\n"


def _decode(slot: Slot) -> Decode:
    return slot.messages[-1].decode or Decode()


def _private(path: Path, data: bytes) -> None:
    """Write a file that only this user may read."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
