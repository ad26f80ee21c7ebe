"""Python in a process of its own: what a fresh one imports, prints and exits with."""

import os
import subprocess
import sys
from pathlib import Path

import napo

SOURCE = str(Path(napo.__file__).parents[1])


def python(*arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """`python ARGUMENTS` with this napo importable; nothing of the terminal reaches it."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": SOURCE, "COLUMNS": "200", "NO_COLOR": "1", **env},
        cwd=cwd,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )


def printed(code: str, **env: str) -> str:
    """What `python -c CODE` prints; it has to end well."""
    ran = python("-c", code, **env)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
