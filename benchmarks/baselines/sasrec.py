"""Is our SASRec a weak baseline? It, RecTools' and RecBole's on one split, searched alike, judged by one code.

    python -m venv ENV && ENV/bin/pip install -r benchmarks/baselines/rectools-requirements.txt
    python -m benchmarks.baselines.sasrec --rectools ENV/bin/python --out runs/sasrec    # --recbole OTHER/bin/python

Each tool gets as many settings, one seed each, and the best on validation (NDCG among 20 candidates) is trained with
each seed. A run that has ended is kept, so the command can be broken off and given again. Prints the tables of
`napo evaluate --ranked` and writes them to OUT/table.md. docs/results/sasrec.md has what came out.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from napo.data.export import export_cases
from napo.evaluation.runs import evaluate_run, open_data

# The first of each is the tool's own default, but for the width, of which RecTools' 256 is four times ours.
GRIDS: dict[str, list[dict[str, Any]]] = {
    "napo": [
        {},
        {"model": {"width": 128}},
        {"model": {"max_length": 50}},
        {"model": {"dropout": 0.4}},
        {"leave_out": 0.4},
        {"model": {"width": 128, "dropout": 0.4}},
    ],
    "RecTools": [
        {"n_factors": 64},
        {"n_factors": 128},
        {"n_factors": 64, "session_max_len": 50},
        {"n_factors": 64, "dropout_rate": 0.5},
        {"n_factors": 64, "session_max_len": 200},
        {"n_factors": 128, "dropout_rate": 0.5},
    ],
    "RecBole": [
        {},
        {"hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2},
        {"hidden_size": 128},
        {"MAX_ITEM_LIST_LENGTH": 25},
        {"hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3},
        {"hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3, "MAX_ITEM_LIST_LENGTH": 25},
    ],
}
ROWS = {"napo": "SASRec", "RecTools": "SASRec (RecTools)", "RecBole": "SASRec (RecBole)"}
MODULES = {"napo": "our_sasrec", "RecTools": "rectools_sasrec", "RecBole": "recbole_sasrec"}


class Lab:
    """Runs of the tools on one export, each in a process and folder of its own. pythons: of their environments."""

    def __init__(self, recipe: Path, out: Path, pythons: dict[str, str]) -> None:
        self.recipe, self.out, self.pythons = recipe, out, pythons
        recipe_read, prepared = open_data(recipe)
        self.cases = out / "cases"
        full = recipe_read.evaluation.full_cases
        export_cases(prepared, self.cases, full_cases=full, form="csv", asked=str(recipe))

    def run(self, tool: str, number: int, seed: int) -> Path:
        """The folder of a run with one of the tool's settings."""
        folder = self.out / tool / f"setting-{number}-seed-{seed}"
        if not (folder / "run.json").is_file():
            files = [str(self.recipe)] if tool == "napo" else []
            words = [*files, str(self.cases), str(folder), "--seed", str(seed)]
            words += ["--settings", json.dumps(GRIDS[tool][number])]
            command = [self.pythons[tool], "-m", f"benchmarks.baselines.{MODULES[tool]}", *words]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        said = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        print(f"{tool} {GRIDS[tool][number]} seed {seed}: {said['validation']}, {said['seconds']} s", file=sys.stderr)
        return folder

    def search(self, settings: int) -> dict[str, int]:
        """Of each tool, the setting with the best validation NDCG under seed 0."""
        seen: dict[str, list[float]] = {tool: [] for tool in self.pythons}
        for number in range(settings):  # in turn, so that a search broken off has tried as many of each
            for tool in self.pythons:
                said = json.loads((self.run(tool, number, 0) / "run.json").read_text(encoding="utf-8"))
                seen[tool].append(said["validation"]["ndcg"])
        return {tool: max(range(settings), key=found.__getitem__) for tool, found in seen.items()}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rectools", required=True, help="the Python of RecTools' environment")
    asked.add_argument("--recbole", help="the Python of RecBole's environment")
    asked.add_argument("--recipe", type=Path, default=Path("recipes/ml100k/sft.yaml"))
    asked.add_argument("--out", type=Path, default=Path("runs/sasrec"))
    asked.add_argument("--settings", type=int, default=6, choices=range(1, 7), help="how many are tried of each tool")
    asked.add_argument("--seeds", type=int, default=3)
    given = asked.parse_args()
    pythons = {"napo": sys.executable, "RecTools": given.rectools, "RecBole": given.recbole}
    lab = Lab(given.recipe, given.out, {tool: python for tool, python in pythons.items() if python})
    chosen = lab.search(given.settings)
    folders = {tool: [lab.run(tool, number, seed) for seed in range(given.seeds)] for tool, number in chosen.items()}
    parts = [f"{ROWS[tool]}: setting {GRIDS[tool][number]}" for tool, number in chosen.items()]
    for protocol, file in (("cand20", "scores.csv"), ("full", "lists.csv")):
        ranked = [(ROWS[tool], folder / file) for tool, some in folders.items() for folder in some]
        (table,) = evaluate_run(given.recipe, protocol=protocol, ranked=ranked, base=ROWS["napo"])
        parts.append(table.markdown())
    text = "\n\n".join(parts)
    (given.out / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
