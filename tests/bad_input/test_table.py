"""The tables of bad input as a whole: how many rows there are, and that each command has some."""

import importlib
from pathlib import Path

from typer.main import get_command

from napo.cli import app

HERE = Path(__file__).parent


def tables() -> dict[str, dict[str, object]]:
    """`file.TABLE` -> its rows by name, of every file here."""
    found: dict[str, dict[str, object]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        if path.stem != Path(__file__).stem:
            module = importlib.import_module(f"tests.bad_input.{path.stem}")
            held = {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, dict)}
            found |= {f"{path.stem}.{name}": rows for name, rows in held.items() if len(rows) > 5}
    return found


def test_there_are_at_least_120_different_rows():
    rows = {(table.partition(".")[0], repr(row)) for table, rows in tables().items() for row in rows.values()}
    assert len(rows) >= 120
    assert len(rows) >= 450  # what there was when this was written: rows are not lost


def test_every_command_has_a_row():
    typed = [
        part
        for rows in tables().values()
        for row in rows.values()
        for part in (row if isinstance(row, tuple) else ())
        if isinstance(part, list) and all(isinstance(word, str) for word in part)
    ]
    words = {tuple(part[:end]) for part in typed for end in (1, 2)}
    ours = get_command(app).commands
    asked = {(name,) for name in ours if not hasattr(ours[name], "commands")}
    asked |= {(name, inner) for name in ours for inner in getattr(ours[name], "commands", ())}
    assert sorted(asked - words) == []
