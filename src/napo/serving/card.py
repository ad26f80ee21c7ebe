"""The model card: what a saved recommender was made from, how well it did, and what it is not for.

Path    run folder -> [serving.card] -> README.md and metrics.json in a saved recommender
Takes   the run's recipe.yaml, run.json and comparison.json, as far as they lie there; or an earlier metrics.json
Gives   Facts, as JSON can say them; the card as Markdown, with the head that model hubs read

Nothing in it is written by hand: a figure that the run has not got is not there, and the card says so.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from napo.data.fetch import KNOWN
from napo.evaluation.statistics import Estimate
from napo.evaluation.table_text import markdown_table, number, with_interval
from napo.files import write_aside
from napo.models.pretrained import KNOWN as KNOWN_MODELS

if TYPE_CHECKING:
    from napo.models.language import LanguageModel

CARD, METRICS = "README.md", "metrics.json"
ACCURACY = {
    "cand20": ("HR@1", "NDCG", "MRR"),
    "legacy": ("HR@1", "NDCG", "MRR"),
    "full": ("HR@10", "NDCG@10", "MRR@10"),
}
BIAS = ("log popularity", "popularity", "tail", "coverage", "Gini")

Facts = Mapping[str, Any]


def read_facts(model: Path) -> Facts:
    """What is known of the model in a folder: kept beside it, or in the run's folder that it lies in; {}: nothing."""
    if kept := _json(model / METRICS):
        return kept
    run = model.parent
    said, recipe = _json(run / "run.json"), _recipe(run / "recipe.yaml")
    if not said or not recipe:
        return {}
    compared = _json(run / "comparison.json")
    data, counts = recipe.get("data") or {}, said.get("counts", {})
    file = data.get("source") or Path(data.get("interactions") or data.get("test") or "data").name
    objective = recipe.get("objective") or {}
    return {
        "data": {
            "name": file,
            "source": data.get("source"),
            "sha256": said.get("data"),
            "notes": said.get("notes", []),
        },
        "counts": {name: counts[name] for name in _COUNTS if counts.get(name)},
        "method": {
            # of a file of the user's own the name alone: the card goes to other people's machines
            "objective": Path(objective["name"]).name if objective else "supervised alone",
            "model": Path(str((recipe.get("model") or {}).get("name"))).name,
            "normalize": recipe.get("normalize"),
            "split": (recipe.get("split") or {}).get("name"),
            "seed": said.get("seed"),
        },
        "versions": said.get("versions", {}),
        "verdicts": [line for run in compared.get("runs", []) for line in run["verdicts"]],
        "row": next((run["name"] for run in compared.get("runs", [])), None),
        "tables": {name: _table(table) for name, table in compared.get("tables", {}).items()},
    }


def write_card(folder: Path, facts: Facts, language: "LanguageModel", *, users: int) -> None:
    """Write the card, and what it was made from, into a folder that is being filled."""
    texts = {CARD: model_card(facts, language, users=users), METRICS: json.dumps(facts, indent=1, default=str)}
    for name, text in texts.items():
        with write_aside(folder / name) as aside:
            aside.write_text(text, encoding="utf-8")


def model_card(facts: Facts, language: "LanguageModel", *, users: int) -> str:
    """The card as Markdown. users: whose events lie in the folder."""
    catalog, usage, method, licence = language.catalog, language.usage, facts.get("method", {}), facts.get("licence")
    head = {
        "library_name": "peft" if hasattr(language.model, "peft_config") else "transformers",
        "tags": ["napo", "recommender-system"],
        **({"license": licence} if licence else {}),
    }
    data = facts.get("data", {})
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {facts.get('row') or usage.name} on {data.get('name', 'an unnamed log')}",
        f"A language model that names the next of {len(catalog):,} items from the titles of those before, made with"
        f" napo {facts.get('versions', {}).get('napo', '')} from `{method.get('model', usage.name)}`:"
        f" {language.parameters:,} parameters; objective `{method.get('objective', 'unknown')}`,"
        f" `normalize: {usage.normalize}`.",
        _USE,
        "## Data",
        _data_said(facts),
        "## How well it does",
        *(_table_said(name, table) for name, table in facts.get("tables", {}).items()),
        *([] if facts.get("tables") else ["This run was not judged: `napo evaluate RUN` does that."]),
        *(["\n".join(_listed(verdicts))] if (verdicts := facts.get("verdicts", ())) else []),
        "## Limits",
        "\n".join(_listed(_limits(facts, language, users))),
        "## Licence",
        licence or _licence_said(facts, language),
    ]
    return "\n\n".join(parts) + "\n"


_COUNTS = ("users", "events", "events_liked", "training_events", "valid_cases", "test_cases")
_USE = """\
```python
import napo

recommender = napo.Recommender.load("this folder")
recommender.recommend(["a title", "another"], k=10)
```

Weights and tokenizer open in `transformers` (an adapter in `peft`) too; `napo.json` holds the prompt and how titles are
scored, `catalog.parquet` the items, from which the prefix tree is built again and checked."""


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    rows = [{name: row[name] for name in ("name", "seeds", "metrics", "figures")} for row in table["rows"]]
    failed = [check["line"] for check in table["checks"] if check["verdict"] == "FAIL"]
    kept = {name: table[name] for name in ("heading", "metric", "aims", "leaked", "notes")}
    return {**kept, "failed_checks": failed, "rows": rows}


def _data_said(facts: Facts) -> str:
    data = facts.get("data")
    if not data:
        return "Nothing is known of it: the folder was saved apart from its run."
    counts = "; ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in facts["counts"].items())
    head = f"`{data['name']}` (SHA-256 {str(data['sha256'])[:16]}): {counts}."
    return "\n".join([head, "", *_listed(data["notes"])])


def _listed(lines: Sequence[str]) -> list[str]:
    return [f"* {line}" for line in lines]


def _table_said(name: str, table: Mapping[str, Any]) -> str:
    """Accuracy and popularity bias with their intervals, 95 %, over users."""
    first = table["rows"][0]
    accuracy = [metric for metric in ACCURACY.get(name, (table["metric"],)) if metric in first["metrics"]]
    bias = [one for one in BIAS if one in first["metrics"] or one in first["figures"]]
    body = [[row["name"], *(_cell(row, metric) for metric in (*accuracy, *bias))] for row in table["rows"]]
    aims = [table["aims"].get(f"{one} of targets") for one in bias]
    body.append(["the targets themselves", *("" for _ in accuracy), *("" if x is None else number(x) for x in aims)])
    said = [f"### {table['heading']}", markdown_table(["row", *accuracy, *bias], body)]
    if table["leaked"]:
        said.append("**LEAKED: these figures say nothing.** " + "; ".join(table["failed_checks"]))
    if table["notes"]:
        said.append("\n".join(_listed(table["notes"])))
    return "\n\n".join(said)


def _cell(row: Mapping[str, Any], name: str) -> str:
    estimate = row["metrics"].get(name) or row["figures"].get(name)
    return "" if estimate is None else with_interval(Estimate(**estimate))


def _limits(facts: Facts, language: "LanguageModel", users: int) -> Sequence[str]:
    catalog, usage = language.catalog, language.usage
    added = 0 if usage.trained is None else len(catalog) - usage.trained
    return [
        f"It names the {len(catalog):,} items of its catalog and no others."
        + (f" {added:,} of them came after training; their ranks mean little." if added else ""),
        *([f"{catalog.twins:,} items have the title of another: it can't tell them apart."] if catalog.twins else []),
        f"It reads the newest {usage.max_history} items of a history, and nothing else of a person.",
        "Without a history it has nothing to say: the most popular items are listed, under that name.",
        "The figures are of past events of this log: what people did with other lists in front of them."
        if facts.get("tables")
        else "Nothing is known of how good its lists are.",
        f"The folder holds what {users:,} users liked and met: give it to nobody who may not see that."
        if users
        else "The folder holds no user's events; how often each item was taken in training it does hold.",
    ]


def _licence_said(facts: Facts, language: "LanguageModel") -> str:
    base = language.usage.name
    said = ["Not said. The weights may be used as the data that they learnt from may be"]
    if base != "tiny":
        known = f" ({base})" if base in KNOWN_MODELS else ""
        said[0] += f", and as the model that they began with may be{known}"
    said[0] += "."
    if (source := facts.get("data", {}).get("source")) in KNOWN:
        said.append(KNOWN[source].terms)
    return "\n\n".join(said)


def _json(path: Path) -> dict[str, Any]:
    """{} where there is none, or none that can be read: a card is made from what is there."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _recipe(path: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return read if isinstance(read, dict) else {}
