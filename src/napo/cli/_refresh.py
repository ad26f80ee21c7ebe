"""`napo train --from RUN --data LOG`: the recipe of a run that goes on from a finished one.

Path    a run, a newer log or a server's events -> training.refresh_plan -> [cli._refresh] -> `napo train`
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napo.cli._console import stderr
from napo.errors import UserError
from napo.recipe import Recipe, load_recipe

TRAFFIC = "traffic"  # beside the run: its events as a log


def refresh_recipe(
    run: Path, data: str | None, items: Path | None, words: Sequence[str], out: Path | None, resume: bool
) -> tuple[Recipe, Path]:
    """The checked recipe, and the run's folder. Nothing is left of a mistake.

    words: `key=value`, as typed. Raises UserError where the folder holds a run, unless it is gone on with.
    """
    from napo.training.refresh_plan import earlier_recipe, plan, sibling

    folder = out or sibling(run, resume=resume)
    if (folder / "recipe.yaml").is_file():
        if not resume:
            raise UserError(
                f"{folder} holds a run already", remedy="--resume to go on with it, or --out another folder"
            )
        begun = load_recipe(folder / "recipe.yaml", words, methods=True)
        if begun.refresh is None or begun.refresh.run != run.resolve():
            raise UserError(f"{folder} does not go on from {run}", where="--from", remedy="--out another folder")
        return begun, folder
    if data is None:
        raise UserError("no newer log", where="--from", remedy="--data LOG: a file, a database, or a server's events")
    earlier = earlier_recipe(run)
    traffic = folder.with_name(f"{folder.name}-{TRAFFIC}")
    made = _is_store(data, words)
    if made:
        _write_traffic(run, earlier, data, traffic)
    try:
        recipe, news = plan(run, _keys(str(traffic) if made else data, items), words)
    except BaseException:
        if made:
            shutil.rmtree(traffic, ignore_errors=True)
        raise
    _say(
        f"{run.name} is refreshed as {folder}: {news.users:,} users, {news.items:,} items and {news.interactions:,}"
        f" interactions are new; {recipe.split.name} holds the newest out"
    )
    return recipe, folder


def _keys(data: str, items: Path | None) -> dict[str, Any]:
    from napo.data.address import is_database, rooted

    keys: dict[str, Any] = {}
    if is_database(data):
        keys["database"] = rooted(data, Path())
    else:
        keys["interactions"] = str(Path(data).expanduser().resolve())
    if items is not None:
        keys["items"] = str(items.expanduser().resolve())
    return keys


def _is_store(data: str, words: Sequence[str]) -> bool:
    """Whether the database holds a server's events, and nobody has said what else to ask it."""
    from napo.data.address import address_of, is_database

    if not is_database(data) or any(word.startswith("data.query=") for word in words):
        return False
    from napo.events.store import holds_events

    return holds_events(address_of(data))


def _write_traffic(run: Path, earlier: Recipe, store: str, folder: Path) -> None:
    """The run's log and what was taken since, with what was shown and not taken beside it."""
    from napo.data.prepare import data_settings
    from napo.data.source import load_source
    from napo.events.store import EventStore
    from napo.events.traffic import Base, write_traffic

    if folder.exists():
        raise UserError(f"{folder} is there already", where="--data", remedy="--out another folder, or delete it")
    # the served catalog: what `napo catalog add` brought was taken too
    settings = data_settings(earlier).model_copy(update={"catalog": run.resolve() / "model" / "catalog.parquet"})
    base = Base(load_source(settings), settings, earlier.split.min_rating)
    with EventStore.open(store, new=False) as opened:
        write_traffic(opened, folder, base=base)
    _say(f"the events are now a log: {folder}")


def _say(text: str) -> None:
    stderr().print(text, markup=False, highlight=False, soft_wrap=True)
