"""How long does a person wait for `napo --help`?

    python -m benchmarks.startup [--quick]

Each round starts a new process, once for Python alone and once for the command, in turn. The mark is 0.3 seconds for
the command, Python's own start included.
"""

import resource
import subprocess
import sys
import time

from benchmarks.arms import Measured, peak_gb, ratios
from benchmarks.record import Options, Ratio, Record, options

QUESTION = (__doc__ or "").partition("\n")[0]
AT_MOST = 0.3
ARMS = {
    "python": "pass",
    "import napo": "import napo",
    "napo --help": "from napo.cli import main; main(['--help'])",
}


def run(code: str) -> tuple[float, float]:
    """(seconds, processor seconds) of one new process."""
    before, began = _children_cpu(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{code!r} fails:\n{done.stderr}")
    return seconds, _children_cpu() - before


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(given: Options) -> int:
    record = Record("startup", QUESTION, given)
    arms = {name: Measured({}, baseline_gb=peak_gb(), peak_gb=peak_gb()) for name in ARMS}
    for round_number in range(-1, max(given.steps, 5)):  # the first finds the files on disk, the others in memory
        for name, code in ARMS.items():
            seconds, cpu = run(code)
            if round_number >= 0:
                arms[name].seconds.append(seconds)
                arms[name].cpu.append(cpu)
    command, python = arms["napo --help"], arms["python"]
    found = [
        Ratio.of("seconds of napo --help", command.seconds, at_most=AT_MOST),
        Ratio.of("processor seconds of napo --help", command.cpu),
        Ratio.of("times Python's own start", ratios(command, python)),
    ]
    record.add({"command": "napo --help"}, arms, found)
    return record.finish()


if __name__ == "__main__":
    sys.exit(main(options(QUESTION)))
