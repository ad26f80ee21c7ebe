"""The notebooks of docs/: each runs from its first cell to its last, and has kept outputs that are short."""

import os
import sys
from pathlib import Path

import pytest

from tests.docs.commands import DOCS
from tests.processes import SOURCE

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LONGEST = 3_000  # characters of a cell's output
SECONDS = 300  # a cell, on a machine that does other things; alone each notebook takes half a minute


def shown(cell) -> str:
    """What stands below a cell, warnings of libraries left out."""
    outputs = [out for out in cell.get("outputs", ()) if out.get("name") != "stderr"]
    return "".join(str(out.get("text", out.get("data", {}).get("text/plain", ""))) for out in outputs)


def read(path: Path):
    import nbformat

    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_shows_is_short_and_of_no_machine(path):
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(shown(cell) for cell in code)
    assert all(len(shown(cell)) < LONGEST for cell in code)
    assert not any(out.get("name") == "stderr" for cell in code for out in cell.outputs)
    assert "/tmp/" not in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 20_000


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_showed_as_far_as_it_is_sure(path, monkeypatch, tmp_path):
    from nbclient import NotebookClient

    programs = tmp_path / "programs"  # `!napo` in a cell is this tree's
    programs.mkdir()
    (programs / "napo").write_text('#!/bin/sh\nexec "$NAPO_PYTHON" -m napo "$@"\n', encoding="utf-8")
    (programs / "napo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("NAPO_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kept, notebook = read(path), read(path)
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3").execute()  # raises where a cell does
    for before, after in zip(kept.cells, notebook.cells, strict=True):
        # figures may differ in their last digits from machine to machine; that there are as many lines may not
        assert len(shown(after).splitlines()) == len(shown(before).splitlines()), before.source
