"""Every notebook runs from start to end, and its pair says the same."""
from __future__ import annotations

from pathlib import Path

import jupytext
import nbclient
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent.parent / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_executes(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    pair = jupytext.read(path.with_suffix(".ipynb"))
    assert [c.source for c in pair.cells] == [c.source for c in jupytext.read(path).cells]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
