"""The notebook of the documentation runs from top to bottom, and shows what it says it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "docs/notebook.ipynb"


def shown(notebook: Any) -> list[str]:
    """What each cell of code shows, as text; progress, which changes, left out."""
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    return ["".join(o.get("text") or o["data"].get("text/plain", "") for o in c.outputs
                    if o.output_type in ("stream", "execute_result")) for c in cells]  # fmt: skip


def test_its_outputs_are_kept_and_name_no_path_of_a_machine() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(FILE, 4)
    nbformat.validate(notebook)
    assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
    assert not [o for c in notebook.cells for o in c.get("outputs", ()) if o.output_type == "error"]
    text = FILE.read_text(encoding="utf-8")
    assert not [part for part in ("/work/", "/home/", "/root/", "/tmp/") if part in text]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_it_runs_and_shows_what_is_kept(tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    kept, fresh = nbformat.read(FILE, 4), nbformat.read(FILE, 4)
    nbclient.NotebookClient(fresh, timeout=1400, resources={"metadata": {"path": str(tmp_path)}}).execute()
    before, after = shown(kept), shown(fresh)
    assert [bool(text) for text in before] == [bool(text) for text in after]
    assert after[-1] == before[-1] == "True"
    assert "policy" in after[4]  # an example was said
    (out,) = (tmp_path / "runs").iterdir()
    assert (out / "report.html").stat().st_size > 100_000
