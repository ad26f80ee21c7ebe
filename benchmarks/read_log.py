"""How long does it take to read, check and split a log of 25 million events, and how much memory?

    python -m benchmarks.read_log [--quick]

The log is a CSV with text ids, in the order of time: 160,000 users whose activity is log-normal, 60,000 items whose
popularity falls as 1 / (rank + 20), ratings by half stars, one event in a hundred a repeat; --quick: a twentieth of it.
It is made once, in the system's folder for temporary files. Each round is a process of its own. The marks, on 2 cores:
60 seconds and 4 GB.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.arms import Measured
from benchmarks.record import Options, Ratio, Record, options

QUESTION = (__doc__ or "").partition("\n")[0]
EVENTS, USERS, ITEMS = 25_000_000, 160_000, 60_000
AT_MOST_SECONDS, AT_MOST_GB = 60.0, 4.0
_PART = 1_000_000  # events that are written at a time

CODE = """
import resource, sys, time
from pathlib import Path
from napo.data.settings import DataSettings
from napo.data.source import load_source
from napo.data.split import make_split
import polars
loaded, began, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
log = load_source(DataSettings(interactions=Path(sys.argv[1]), untitled="id"))
read = time.perf_counter()
split = make_split(log)
done = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(read - began, done - read, time.process_time() - cpu, loaded, peak, log.frame.height, split.counts["test_cases"])
"""


def write_log(path: Path, events: int, users: int, items: int) -> None:
    """The log, of which two runs make the same bytes."""
    import polars as pl

    rng = np.random.default_rng(0)
    activity = rng.lognormal(0.0, 1.2, size=users)
    popularity = 1 / (np.arange(items) + 20.0)
    pairs = np.zeros(0, dtype=np.int64)
    while len(pairs) < events:  # each user and item once
        user = rng.choice(users, size=events // 2, p=activity / activity.sum())
        item = rng.choice(items, size=events // 2, p=popularity / popularity.sum())
        pairs = np.unique(np.concatenate([pairs, user * items + item]))
    pairs = rng.permutation(pairs)[:events]
    pairs[-events // 100 :] = pairs[: events // 100]
    user_keys, item_keys = (
        pl.Series([f"{kind}{number:09X}" for number in rng.permutation(1 << 24)[:size]])
        for kind, size in (("A", users), ("B", items))
    )
    with path.open("wb") as file:
        file.write(b"user_id,item_id,rating,timestamp\n")
        for start in range(0, events, _PART):
            part = pairs[start : start + _PART]
            pl.DataFrame(
                {
                    "user": user_keys.gather(part // items),
                    "item": item_keys.gather(part % items),
                    "rating": rng.integers(1, 11, size=len(part)) / 2,
                    "time": 1_100_000_000 + 20 * (start + np.arange(len(part))),
                }
            ).write_csv(file, include_header=False)


def _touch(path: Path) -> None:
    """Bring the file into memory, or the first round would time the disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def main(given: Options) -> int:
    share = 20 if given.quick else 1
    events, users, items = EVENTS // share, USERS // share, ITEMS // share
    path = Path(tempfile.gettempdir()) / f"napo-benchmark-log-{events}.csv"
    if not path.is_file():
        write_log(path.with_suffix(".part"), events, users, items)
        path.with_suffix(".part").rename(path)
    record = Record("read_log", QUESTION, given)
    threads = str(given.threads or min(2, os.cpu_count() or 1))
    arm = Measured({}, baseline_gb=0.0)
    parts: dict[str, list[float]] = {"reading and checking": [], "splitting": []}
    _touch(path)
    for _ in range(given.steps):
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(path)],
            env={**os.environ, "POLARS_MAX_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"the log can't be read:\n{done.stderr}")
        reading, splitting, cpu, loaded, peak, kept, cases = map(float, done.stdout.split())
        if not kept * cases:
            sys.exit("a log without events or cases measures nothing")
        parts["reading and checking"].append(reading)
        parts["splitting"].append(splitting)
        arm.seconds.append(reading + splitting)
        arm.cpu.append(cpu)
        arm.baseline_gb, arm.peak_gb = loaded / 1e6, max(arm.peak_gb, peak / 1e6)
    record.add(
        {"events": events, "users": users, "items": items, "GB of CSV": round(path.stat().st_size / 1e9, 2)},
        {"read_log": arm},
        [
            Ratio.of("seconds", arm.seconds, at_most=AT_MOST_SECONDS / share),
            Ratio("peak memory, GB", arm.peak_gb, at_most=AT_MOST_GB),
            *(Ratio.of(f"seconds of {name}", seconds) for name, seconds in parts.items()),
        ],
    )
    return record.finish()


if __name__ == "__main__":
    sys.exit(main(options(QUESTION)))
