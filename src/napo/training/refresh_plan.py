"""The recipe of a run that goes on from a finished one: the earlier recipe with another log, cut and trained otherwise.

Path    the earlier run's recipe, a newer log -> [training.refresh_plan] -> training.run
Takes   the run's folder, the data's keys, `key=value` overrides, which are stronger than all that is chosen here
Gives   Recipe, News; or a UserError where there is nothing new

Where the log has times, all events are cut at two instants (`split.name: global_time`), so that of what is new the
newest fifth is test and the tenth before it validation: neither model has seen what both are judged by, and most of
what is new trains. Users who came so late that they have no training event are judged with the others, as they are
served with them. Without times the earlier split stays, whose test is each user's newest events; `users`, which is
about strangers, becomes `last_tenth`. Passes are fewer, for the model knows most already.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from napo.data.catalog import Catalog
from napo.data.converted import EXPOSURES, is_converted
from napo.data.log import InteractionLog
from napo.data.news import News, news_of
from napo.data.prepare import data_settings
from napo.data.source import load_source
from napo.errors import UserError
from napo.evaluation.runs import MODEL, RECIPE
from napo.models.language import CATALOG
from napo.recipe import Recipe, differences, load_recipe
from napo.recipe_reading import Layer, Places
from napo.training.refresh import histories_of

SFT_PASSES, PREFERENCE_PASSES, WARMUP = 4.0, 1.0, 20
TEST, VALID = 0.2, 0.1  # of the new interactions
# what says which log it is, and how files of one kind are written
_FILES = ("source", "folder", "interactions", "items", "exposures", "catalog", "renamed")
_LOG = (*_FILES, "database", "query", "items_query")
_WRITTEN = ("format", "items_format", "header", "encoding", "separator", "decimal", "time_unit", "time_format")
_SAME = ("model", "prompt", "normalize")


def earlier_recipe(run: Path) -> Recipe:
    """The recipe of a finished run. Raises UserError for one that is none, has not ended, or whose data are rows."""
    if not (run / RECIPE).is_file():
        raise UserError(f"{run} holds no run", where="--from", remedy="the folder of a finished run")
    if not (run / MODEL).is_dir():
        raise UserError("this run has not ended", where=str(run), remedy="`napo train ... --resume`")
    recipe = load_recipe(run / RECIPE, files=False)
    if recipe.data.test is not None:
        raise UserError(
            "the run's data are rows (history, next item), and no log can be newer than these",
            where=str(run),
            remedy="train anew, with the model's folder as `model.name`",
        )
    return recipe


def plan(run: Path, data: Mapping[str, Any], overrides: Sequence[str] = ()) -> tuple[Recipe, News]:
    """The recipe of the refresh, and what is new in its log.

    data: keys such as `interactions` and `items`, paths whole. Raises UserError where nothing is new, and for overrides
    that would make another model of it.
    """
    run = run.resolve()
    earlier = earlier_recipe(run)
    layer = {"data": _data(run, earlier, data), "refresh": {"run": str(run)}, **_passes(earlier)}
    recipe = _read(run, layer, overrides)
    for key in differences(earlier, recipe):
        if key.split(".")[0] in _SAME and not key.startswith("model.dropout"):
            remedy = "leave it out, or train anew: `napo train RECIPE`"
            raise UserError(f"`{key}` is the earlier run's, whose model goes on", where=key, remedy=remedy)
    log = load_source(data_settings(recipe))
    before = histories_of(run, Catalog.load(run / MODEL / CATALOG))
    news = news_of(log, before, recipe.split.min_rating)
    if not news.interactions:
        raise UserError(
            f"nothing new: {run.name} knew all {news.liked:,} interactions"
            + (f"; {news.items:,} new items have none" if news.items else ""),
            where="--data",
            remedy="a log that goes on further; items alone: `napo catalog add`",
        )
    return _read(run, {**layer, "split": _split(recipe, log, news)}, overrides), news


def sibling(run: Path, *, resume: bool = False) -> Path:
    """A folder's name beside the run's: old, old-r2, old-r3; the first that is free. resume: the last that is there."""
    run = run.resolve()
    found = re.fullmatch(r"(?P<stem>.+?)(?:-r(?P<number>\d+))?", run.name)
    assert found is not None
    names = (run.with_name(f"{found['stem']}-r{number}") for number in count(int(found["number"] or 1) + 1))
    last = None
    for name in names:
        if not name.exists():
            return last if resume and last is not None else name
        last = name
    raise AssertionError("count has no end")


def _read(run: Path, layer: Mapping[str, Any], overrides: Sequence[str]) -> Recipe:
    return load_recipe(run / RECIPE, overrides, over=[Layer(dict(layer), Places())], whole=("data",), methods=True)


def _data(run: Path, earlier: Recipe, data: Mapping[str, Any]) -> dict[str, Any]:
    """The new data's keys, and the earlier ones where they say how to read and clean a log."""
    before = earlier.resolved()["data"]
    known = {key: value for key, value in before.items() if key not in _LOG and value is not None}
    if not _alike(before, data):
        known = {key: value for key, value in known.items() if key not in _WRITTEN}
    kept: dict[str, Any] = {"catalog": str(run / MODEL / CATALOG)}
    log = Path(str(data.get("interactions", "")))
    if "interactions" in data and is_converted(log):
        if (log / EXPOSURES).is_file():
            kept["exposures"] = str(log / EXPOSURES)
    elif "items" not in data and before.get("items") is not None and Path(before["items"]).is_file():
        kept["items"] = before["items"]  # items that it lacks are told by name
    if "database" in data and before.get("database") is not None:
        queries = ("query",) if "items" in data else ("query", "items_query")
        kept |= {key: before[key] for key in queries if before.get(key) is not None}
        if "items_query" in kept:
            kept.pop("items", None)
    return {**known, **kept, **data}


def _alike(before: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether both logs are files of one kind, so that what is said of one holds for the other."""
    names = [said.get("interactions") for said in (before, data)]
    return all(names) and Path(str(names[0])).suffix.casefold() == Path(str(names[1])).suffix.casefold()


def _passes(earlier: Recipe) -> dict[str, Any]:
    """Shorter stages, where there are any."""
    found: dict[str, Any] = {}
    for name, stage, most in (("sft", earlier.sft, SFT_PASSES), ("preference", earlier.preference, PREFERENCE_PASSES)):
        if stage is not None:
            found[name] = {
                "epochs": min(stage.epochs, most),
                "warmup_steps": min(stage.warmup_steps, WARMUP),
                "evaluate_every": min(stage.evaluate_every, 1.0),
            }
    return found


def _split(recipe: Recipe, log: InteractionLog, news: News) -> dict[str, Any]:
    if not log.has_times:
        return {"name": "last_tenth"} if recipe.split.name in ("users", "global_time") else {}
    share = news.interactions / news.liked
    shares = {"test": _rounded(TEST * share), "valid": _rounded(VALID * share)}
    return {"name": "global_time", "cold": "judged", **shares}


def _rounded(share: float) -> float:
    return float(f"{share:.4g}")
