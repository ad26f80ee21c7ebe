"""`napo train --data my.csv`: a recipe made for a log, written down, and what it will take said before it starts.

Path    a log -> data.propose, training.choose, training.foretell -> [cli._own_data] -> `napo train`
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napo.cli._console import stderr
from napo.cli._proposal import as_yaml, proposed
from napo.errors import UserError
from napo.files import write_aside
from napo.recipe_reading import Layer, Places, Reading, laid_over, raise_all, read_override, to_yaml

if TYPE_CHECKING:
    from napo.recipe_keys import DataSection


def own_recipe(
    log: str, items: Path | None, words: Sequence[str], hours: float, out: Path | None, resume: bool
) -> tuple[Path, list[str]]:
    """The path of the recipe that was made, and the overrides that are left: those of `data` have gone into it.

    words: `key=value`, as typed. hours: the most that the run may take; passes are cut to fit it.
    Raises UserError for a recipe that is there already, unless it is the run's that is gone on with.
    """
    if words and "=" not in words[0] and Path(words[0]).is_file():
        remedy = f"`napo train {words[0]}`, which names its data; or leave {words[0]} out"
        raise UserError("both a recipe and a log", where="--data", remedy=remedy)
    name = Path(log.partition("?")[0]).stem or "own"
    path = out.with_name(f"{out.name}.yaml") if out is not None else Path("runs") / f"{name}.yaml"
    other = [word for word in words if not word.startswith("data.")]
    if path.exists():
        if resume:
            return path, other
        remedy = f"napo train {path}, or --out another folder"
        raise UserError(f"{path} is there already", where="--data", remedy=remedy)
    settings = _settings(log, items, [word for word in words if word.startswith("data.")])
    proposal, read = proposed(settings, None)

    from napo.data.prepare import prepare
    from napo.recipe import load_recipe
    from napo.training.choose import choose, within
    from napo.training.foretell import foretell

    choice = choose(read)

    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]

    def write() -> None:
        reasons = "".join(f"# {reason}\n" for reason in choice.reasons)
        with write_aside(path) as aside:
            aside.write_text(as_yaml(proposal, path.parent) + reasons + to_yaml(choice.sections), encoding="utf-8")

    write()
    try:
        recipe = load_recipe(path, other, methods=True)
        _say("a few steps are tried, to tell what the run will take")
        forecast = foretell(recipe, prepare(recipe))
        if not any(word.startswith("sft.epochs=") for word in other):
            fitting = within(choice, forecast.total, 3600 * hours)
            if fitting is not choice:
                choice = fitting
                write()
                forecast = foretell(load_recipe(path, other, methods=True), prepare(recipe))
    except BaseException:
        path.unlink(missing_ok=True)  # a mended command can have its name
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise
    for reason in choice.reasons:
        _say(reason)
    _say(f"the recipe is {path}; training will take {forecast.in_words()}")
    return path, other


def _settings(log: str, items: Path | None, words: Sequence[str]) -> "DataSection":
    """The log's settings, with what overrides such as `data.encoding=latin-1` say of it."""
    from pydantic import ValidationError

    from napo.data.address import is_database
    from napo.recipe_keys import DataSection
    from napo.recipe_mistakes import mistakes_of

    reading, layer = Reading(), Layer({}, Places())
    for word in words:
        layer = laid_over(layer, read_override(word, reading), {})
    raise_all(reading.mistakes)
    said = layer.data.get("data", {})
    titled = items is not None or "items" in said or "items_query" in said
    given: dict[str, Any] = {"database" if is_database(log) else "interactions": log}
    if items is not None:
        given["items"] = str(items)
    elif not titled:
        given["untitled"] = "id"
    try:
        return DataSection.model_validate({**given, **said})
    except ValidationError as error:
        raise_all(mistakes_of(error, DataSection, layer.places, prefix=("data",), of="data"))
        raise


def _say(text: str) -> None:
    stderr().print(text, markup=False, highlight=False, soft_wrap=True)
