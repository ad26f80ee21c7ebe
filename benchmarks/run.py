"""All the benchmarks, one after the other; the exit code says whether every limit held.

    python -m benchmarks.run [--quick] [--steps N] [--threads N] [--model NAME] [--results FOLDER]

On a machine that others use too, `--threads 1` and the figures of processor time say most: threads that wait for each
other at every operation make a busy machine look ten times slower.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import options

NAMES = (
    "startup",
    "napo_step",
    "exact_sharing",
    "trajectories",
    "generation",
    "serve",
    "shared_prefix",
)  # the longest last


def main(words: Sequence[str]) -> int:
    options("Run all the benchmarks.", words)  # a mistyped option shows at once, not in every benchmark
    missed = []
    for name in NAMES:
        command = [sys.executable, "-m", f"benchmarks.{name}", *words]
        if subprocess.run(command, cwd=Path(__file__).parent.parent, check=False).returncode:
            missed.append(name)
        print(flush=True)
    print("all limits held" if not missed else f"limits missed, or not run: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
