"""Are our metrics those of ranx and RecTools? Prints the table of docs/results/metrics.md; exit code 1 where not.

    make crosscheck
    python -m benchmarks.crosscheck.run PYTHON [--write docs/results/metrics.md]

PYTHON: of the environment with the other libraries. scikit-learn, scipy and torchmetrics are compared in the tests.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napo.evaluation import concentration, metrics, popularity_bias
from napo.evaluation.statistics import recommendation_counts

LIBRARIES = Path(__file__).with_name("libraries.py")
LIST_SHAPE, ITEMS, PEOPLE = (60, 5), 40, 60
# theirs by another definition, on purpose
OTHER_DEFINITION = {"ndcg over all k places": "the ideal list has k targets, however few there are"}

Values = dict[str, dict[str, float]]  # task -> metric -> ours


def tasks() -> dict[str, Any]:
    """A case for the pencil, 200 at random; four lists for the pencil, 60 at random."""
    rng = np.random.default_rng(0)
    right = np.zeros((200, 30), dtype=int)
    for row in right:
        row[rng.choice(30, size=3, replace=False)] = 1
    scores = rng.permuted(np.tile(np.arange(1.0, 31), (200, 1)), axis=1)
    by_hand = np.zeros((1, 10), dtype=int)
    by_hand[0, [0, 3, 5]] = 1  # ten candidates, targets at ranks 1, 4, 6
    genres = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [0, 0, 1]])
    popularity = np.r_[PEOPLE, rng.integers(1, PEOPLE, size=ITEMS - 1)]
    lists = np.stack([rng.choice(ITEMS, size=LIST_SHAPE[1], replace=False) for _ in range(LIST_SHAPE[0])])
    return {
        "cases": {
            "case A, k = 5": {"scores": [list(range(10, 0, -1))], "right": by_hand.tolist(), "k": 5},
            "200 cases, k = 10": {"scores": scores.tolist(), "right": right.tolist(), "k": 10},
        },
        "lists": {
            "toy lists": _lists(np.array([[0, 1], [0, 2], [0, 1], [3, 0]]), np.array([10, 6, 4, 2, 2, 1]), 10, genres),
            "60 lists of 5": _lists(lists, popularity, PEOPLE, rng.random((ITEMS, 4)) < 0.5),
        },
    }


def _lists(lists: Any, popularity: Any, users: int, genres: Any) -> dict[str, Any]:
    genres = genres | (genres.sum(axis=1, keepdims=True) == 0)  # an item without any has no distance
    shared = (genres[:, None] & genres[None]).sum(axis=2)
    distances = 1 - shared / (genres[:, None] | genres[None]).sum(axis=2)
    return {
        "task": {
            "lists": lists.tolist(),
            "popularity": popularity.tolist(),
            "users": users,
            "distances": distances.tolist(),
        },
        "genres": genres,
    }


def ours(asked: Mapping[str, Any]) -> Values:
    """Our figures, means over cases."""
    found: Values = {}
    for name, case in asked["cases"].items():
        scores, right, k = np.array(case["scores"]), np.array(case["right"], dtype=bool), case["k"]
        order = np.argsort(np.argsort(-scores, axis=1), axis=1) + 1
        ranks = order[right].reshape(len(scores), -1)
        values = {
            "hit_rate": metrics.hr_at(ranks, k),
            "recall": metrics.recall_at(ranks, k),
            "precision": metrics.precision_at(ranks, k),
            "ndcg": metrics.ndcg_at(ranks, k),
            "ndcg over all k places": metrics.ndcg_at(ranks, k),
            "mrr": metrics.mrr_at(ranks, k),
            "map": metrics.average_precision_at(ranks, k),
            "map of all": metrics.average_precision_at(ranks),
            "auc": metrics.auc(ranks, scores.shape[1]),
        }
        found[name] = {metric: float(value.mean()) for metric, value in values.items()}
    for name, given in asked["lists"].items():
        lists, popularity = np.array(given["task"]["lists"]), np.array(given["task"]["popularity"])
        counts = recommendation_counts(lists, popularity.size)
        values = {
            "popularity": popularity_bias.average_popularity(lists, popularity),
            "popularity share": popularity_bias.average_popularity(lists, popularity, "share"),
            "coverage": concentration.coverage(counts),
            "novelty": concentration.novelty(lists, popularity, given["task"]["users"]),
            "diversity": concentration.diversity(lists, np.asarray(given["genres"], dtype=float)),
        }
        found[name] = {metric: float(np.mean(value)) for metric, value in values.items()}
    return found


def theirs(asked: Mapping[str, Any], python: str) -> dict[str, Any]:
    """Ask the other environment."""
    lists = {name: given["task"] for name, given in asked["lists"].items()}
    question = json.dumps({"cases": asked["cases"], "lists": lists})
    done = subprocess.run([python, str(LIBRARIES)], input=question, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"the other libraries failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def table(mine: Values, answer: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Markdown lines, and whether all that should agree does."""
    lines = ["| task | metric | napo | ranx | RecTools | |", "| --- | --- | ---: | ---: | ---: | --- |"]
    agreed = True
    for task, values in answer["values"].items():
        for metric, libraries in values.items():
            value = mine[task][metric]
            same = all(abs(other - value) < 1e-6 for other in libraries.values())
            said = "same" if same else OTHER_DEFINITION.get(metric, "DIFFERENT")
            agreed &= said != "DIFFERENT"
            cells = [f"{libraries[name]:.6f}" if name in libraries else "" for name in ("ranx", "RecTools")]
            lines.append(f"| {task} | {metric} | {value:.6f} | {cells[0]} | {cells[1]} | {said} |")
    return lines, agreed


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Compare our metrics with ranx and RecTools.")
    parser.add_argument("python", help="the Python of the environment that has them")
    parser.add_argument("--write", type=Path, help="the page to write")
    given = parser.parse_args(words)
    asked = tasks()
    answer = theirs(asked, given.python)
    lines, agreed = table(ours(asked), answer)
    versions = ", ".join(f"{name} {number}" for name, number in answer["versions"].items())
    answered = "yes, to six decimals" if agreed else "NO, see DIFFERENT"
    page = [
        "# Are our metrics those of other libraries?",
        "",
        f"**Answer: {answered}.** Made by `make crosscheck`; {versions}.",
        "Scores are distinct and positive: with ties and negative scores libraries part (docs/evaluation.md).",
        "scikit-learn, scipy and torchmetrics are compared in `tests/evaluation/test_against_libraries.py`.",
        "",
        *lines,
    ]
    print("\n".join(page))
    if given.write:
        given.write.write_text("\n".join(page) + "\n", encoding="utf-8")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
