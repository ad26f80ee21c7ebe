"""How many requests a second does `napo serve` answer on one core, and how much does scoring them together bring?

    python -m benchmarks.serve [--quick]

MovieLens-100K's catalog with its recipe's `tiny`, untrained (a trained one rules out more titles early). A server
process with one thread, and this one, whose 16 clients each ask for the exact top 10 after one history of 20 after the
other. All histories are distinct: none is found in the cache, which fills meanwhile up to its bound; in a quick run
that is a sixteenth of the usual, or the memory of a few seconds would be the filling. `together` is the server as it
is, for five minutes, `one by one` the same in batches of one, for one minute; quick: a few seconds each. Before that
some lists are compared with the library's own.
Marks: 15 requests a second, a 99th percentile of 3 s, no error, memory that stays, three times as many as one by one.
"""

import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from benchmarks.arms import Measured
from benchmarks.record import Options, Ratio, Record, must_agree, options

QUESTION = (__doc__ or "").partition("\n")[0]
RECIPE = Path(__file__).parent.parent / "recipes" / "ml100k" / "sft.yaml"
CLIENTS, LENGTH, K, COMPARED = 16, 20, 10, 16
ARMS = {"together": 32, "one by one": 1}  # most requests in a batch
SECONDS = {"together": 300.0, "one by one": 60.0}
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Load:
    """What 16 clients saw. latencies: seconds of each request. memory: bytes of the server, a number each second.

    cpu, client: processor time of the server and of the clients together, seconds. batch: mean of its batches' sizes.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    memory: list[int] = field(default_factory=list)
    cpu: float = 0.0
    client: float = 0.0
    batch: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def cpu_each(self) -> float:
        """Seconds of the server's processor time for a request."""
        return self.cpu / len(self.latencies)

    def measured(self) -> Measured:
        """For the record: percentiles, not every request of five minutes."""
        percentiles = statistics.quantiles(self.latencies, n=100)
        gb = [memory / 1e9 for memory in self.memory]
        return Measured({}, gb[0], max(gb), percentiles, [self.cpu_each])

    def p99(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98]

    def grown(self) -> float:
        """GB of memory that the second half of the time has more than the first, at most."""
        half = len(self.memory) // 2
        return (max(self.memory[half:]) - max(self.memory[:half])) / 1e9


def main(given: Options) -> int:
    cache_mb = 16 if given.quick else 256
    record = Record("serve", QUESTION, given)
    with tempfile.TemporaryDirectory() as folder:
        made = [sys.executable, "-m", "benchmarks.serve", "--make", folder]
        subprocess.run(made, check=True)  # in a process of its own: this one's clients share no core with torch
        expected = json.loads((Path(folder) / "expected.json").read_text())
        loads = {}
        for name, batch in ARMS.items():
            with served(Path(folder) / "model", batch, cache_mb) as (process, port):
                compare(port, expected)
                seconds = 8.0 if given.quick else SECONDS[name]
                loads[name] = load_on(process, port, expected["keys"], seconds)
    together, alone = loads["together"], loads["one by one"]
    found = [
        Ratio("requests a second", together.rate, at_least=15.0),
        Ratio("seconds of the slowest in a hundred", together.p99(), at_most=3.0),
        Ratio("errors", float(together.errors + alone.errors), at_most=0.0),
        Ratio("GB that the second half has more", together.grown(), at_most=0.05),
        Ratio("times as many as one by one", together.rate / alone.rate, at_least=3.0),
        Ratio("the same by processor time", alone.cpu_each / together.cpu_each),
        Ratio("requests in a batch", together.batch),
        Ratio("of a core for the server", together.cpu / together.seconds),
        Ratio("of a core for the clients", together.client / together.seconds),
    ]
    case = {"model": "tiny", "items": len(expected["keys"]), "clients": CLIENTS, "history": LENGTH}
    case["seconds"] = round(together.seconds)
    record.add(case, {name: load.measured() for name, load in loads.items()}, found)
    return record.finish()


def make(folder: Path) -> None:
    """The model's folder, the catalog's keys, and the library's own lists for the first histories."""
    import torch

    from napo.data.histories import Histories
    from napo.data.prepare import prepare
    from napo.models.language import create
    from napo.recipe import load_recipe
    from napo.serving.recommender import Recommender

    torch.set_num_threads(1)
    recipe = load_recipe(RECIPE)
    prepared = prepare(recipe)
    language = create(recipe.model, prepared.split.catalog, recipe.prompt, recipe.normalize, seed=0)
    recommender = Recommender(language, Histories.of(prepared.split))
    recommender.save(folder / "model")
    keys = list(recommender.catalog.keys)
    lists = recommender.recommend_many([history(number, keys) for number in range(COMPARED)], k=K)
    found = [[[item.key, item.log_prob] for item in one] for one in lists]
    (folder / "expected.json").write_text(json.dumps({"keys": keys, "lists": found}))


def history(number: int, keys: list[str]) -> list[str]:
    """The number-th history: keys of 20 items, drawn anew for each."""
    return random.Random(number).sample(keys, LENGTH)


@contextmanager
def served(model: Path, batch: int, cache_mb: int) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server process, and its port."""
    limits = ["--batch", str(batch), "--cache-mb", str(cache_mb)]
    command = [sys.executable, "-m", "napo", "serve", str(model), "--port", "0", *limits]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            yield process, int(said.partition("127.0.0.1:")[2].partition(",")[0])
        finally:
            process.terminate()
            process.wait(15)


def compare(port: int, expected: Mapping[str, Any]) -> None:
    """The server's lists have to be the library's: the same scores, and items, unless scores are a rounding apart."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number, wanted in enumerate(expected["lists"]):
        status, body = ask(client, number, expected["keys"])
        assert status == 200, body
        items = json.loads(body)["items"]
        pairs = list(zip(items, wanted, strict=True))
        must_agree("log-probs", max(abs(item["log_prob"] - score) for item, (_, score) in pairs), 1e-4)
        gaps = [one - other for (_, one), (_, other) in pairwise(wanted)]
        if min(gaps) > 1e-4:
            must_agree("items", float([item["key"] for item in items] != [key for key, _ in wanted]), 0.0)


def ask(client: http.client.HTTPConnection, number: int, keys: list[str]) -> tuple[int, bytes]:
    body = json.dumps({"history": history(number, keys), "k": K})
    client.request("POST", "/v1/recommend", body, {"Content-Type": "application/json"})
    answer = client.getresponse()
    return answer.status, answer.read()


def load_on(process: "subprocess.Popen[str]", port: int, keys: list[str], seconds: float) -> Load:
    """Sixteen clients for so long, each with its next request as soon as the last one is answered."""
    load, numbers, lock = Load(), count(1_000_000), threading.Lock()
    begun = time.monotonic()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() - begun < seconds:
            with lock:
                number = next(numbers)
            sent = time.monotonic()
            try:
                well = ask(connection, number, keys)[0] == 200
            except OSError:
                well = False
            with lock:
                load.latencies.append(time.monotonic() - sent)
                load.errors += not well

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    before, own, batches = processor_seconds(process.pid), time.process_time(), batches_of(port)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        load.memory.append(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * PAGE)
        time.sleep(1)
    load.seconds = time.monotonic() - begun
    load.cpu, load.client = processor_seconds(process.pid) - before, time.process_time() - own
    some, requests = (now - then for now, then in zip(batches_of(port), batches, strict=True))
    load.batch = requests / some
    return load


def batches_of(port: int) -> tuple[float, float]:
    """How many batches the server has made so far, and of how many requests."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("GET", "/metrics")
    lines = (line.split() for line in client.getresponse().read().decode().splitlines())
    said = {name.partition("{")[0]: float(value) for name, value, *_ in lines if name.startswith("napo_batch_size_")}
    return said["napo_batch_size_count"], said["napo_batch_size_sum"]


def processor_seconds(pid: int) -> float:
    """Of all threads of a process, in user mode and in the kernel's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]))
    else:
        sys.exit(main(options(QUESTION)))
