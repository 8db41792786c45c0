"""Pages that several tests look at, made once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loopkit.registry import plugins
from loopkit.report.page import build
from tests.report.scripted import experiment


@dataclass(frozen=True)
class Made:
    directory: Path
    page: str

    @property
    def data(self) -> Any:
        """The embedded rollouts."""
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.page, re.S)
        assert found
        return json.loads(found[1])


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = experiment(tmp_path_factory.mktemp("report") / "small")
    return Made(directory, build([directory], plugins.load())[0])
