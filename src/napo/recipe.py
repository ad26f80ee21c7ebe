"""A recipe: all that a run is made from, read from YAML and checked whole before anything heavy is imported.

Path    recipe.yaml -> [recipe] -> every step
Takes   recipes/<data set>/<method>.yaml, which may extend one other, and `key=value` overrides
Gives   Recipe (its keys and defaults: recipe_keys), frozen; or all the mistakes of the file at once

The parts: recipe_reading (YAML and lines), recipe_keys (the model), recipe_mistakes (what pydantic says, in words),
recipe_checks (clashes, files, methods).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napo import plugins
from napo.data.address import rooted
from napo.data.settings import DATA_FILES
from napo.errors import UserError
from napo.recipe_checks import clash_mistakes, file_mistakes, is_path, method_mistakes, name_mistakes
from napo.recipe_keys import OWN_KEYS, Method, Recipe
from napo.recipe_mistakes import mistakes_of
from napo.recipe_reading import Layer, Mistake, Place, Places, Reading, laid_over, raise_all, read_layers

__all__ = ["Method", "Recipe", "changed", "check_methods", "differences", "load_recipe"]


def load_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    over: Sequence[Layer] = (),
    whole: Sequence[str] = (),
    files: bool = True,
    methods: bool = False,
) -> Recipe:
    """The recipe at `path` with overrides such as `sft.lr=1e-3`.

    over: layers of other files, between the recipe and the overrides; sections named in `whole` that one of them has
    take the place of the recipe's instead of being merged with it.
    files: the data files must be there; not asked of a finished run's recipe, whose data may have moved.
    methods: as `check_methods`, so that the mistakes in the methods' settings come with all the others.
    """
    reading = Reading()
    layer = read_layers(path, overrides, OWN_KEYS, reading, over=over, whole=whole)
    return _checked(layer, reading.mistakes, files=files, methods=methods)


def changed(
    recipe: Recipe, values: Mapping[str, Any], places: Mapping[str, Place] | None = None, *, clashes: bool = True
) -> Recipe:
    """The recipe with other values at keys such as `sft.lr`, checked as one that was read, its methods too.

    places: where the values were written. clashes: False asks of each value alone whether its key can have it.
    """
    layer = Layer(recipe.resolved(), recipe.places)
    for key, value in values.items():
        parts = tuple(key.split("."))
        data = value
        for part in reversed(parts):
            data = {part: data}
        # sections that the recipe has not stand where the value does
        mine = [parts, *(parts[:end] for end in range(1, len(parts)) if parts[:end] not in layer.places)]
        top = Places({} if places is None else dict.fromkeys(mine, places[key]))
        layer = laid_over(layer, Layer(data, top), OWN_KEYS)
    return _checked(layer, [], files=False, methods=True, clashes=clashes)


def _checked(layer: Layer, found: Sequence[Mistake], *, files: bool, methods: bool, clashes: bool = True) -> Recipe:
    recipe, wrong, mistakes = _validated(layer)
    mistakes += [*found, *name_mistakes(recipe, wrong)]
    if clashes:
        mistakes += clash_mistakes(recipe, wrong)
    if files:
        mistakes += file_mistakes(recipe, wrong)
    if methods:
        recipe, more = method_mistakes(recipe, wrong, needs=clashes)
        mistakes += more
    raise_all(mistakes)
    return recipe


def check_methods(recipe: Recipe) -> Recipe:
    """The recipe with the settings of its methods checked and their defaults written out; imports the methods."""
    whole, mistakes = method_mistakes(recipe)
    raise_all([*name_mistakes(recipe), *mistakes])
    return whole


def differences(old: Recipe, new: Recipe) -> list[str]:
    """The dotted keys that differ, in order; a section that only one of the two has is one key."""

    def walk(left: Any, right: Any, key: str) -> list[str]:
        if not (isinstance(left, dict) and isinstance(right, dict)):
            return [] if left == right else [key]
        names = [*left, *(name for name in right if name not in left)]
        missing = object()
        pairs = ((left.get(name, missing), right.get(name, missing), name) for name in names)
        return [found for one, other, name in pairs for found in walk(one, other, f"{key}.{name}" if key else name)]

    return walk(old.resolved(), new.resolved(), "")


def _validated(layer: Layer) -> tuple[Recipe, set[str], list[Mistake]]:
    """The recipe, the sections that are wrong, and what is wrong with them.

    Wrong sections have their defaults in the recipe that is given back, so that the others can be checked further.
    """
    data, wrong, mistakes = _rooted(layer), set[str](), list[Mistake]()
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        mistakes = mistakes_of(error, Recipe, layer.places)
        wrong = {str(item["loc"][0]) for item in error.errors()}
        sound = {name: value for name, value in data.items() if name not in wrong}
        recipe = Recipe.model_validate({"data": {"source": "ml-100k"}, **sound})
    recipe._places = layer.places
    return recipe, wrong, mistakes


def _rooted(layer: Layer) -> dict[str, Any]:
    """The data with its relative paths made whole: they start from the folder of the file that they stand in."""
    data = dict(layer.data)
    root = Path()
    folder, folder_place = _text_at(data, "data", "folder"), layer.places.of(("data", "folder"))
    if folder is not None and folder_place is not None:
        root = (folder_place.folder / Path(folder).expanduser()).resolve()
        data["data"] = {**data["data"], "folder": None}  # the paths are whole from here on
    for section, key, names_file in (
        *(("data", name, lambda text: True) for name in DATA_FILES),
        # a model's name may be a folder or a GGUF file: then it starts or ends like one
        ("model", "name", lambda text: _names_folder(text) or text.endswith(".gguf")),
        *((section, key, _names_folder) for section, key in EMBEDDERS),
        ("refresh", "run", lambda text: True),
        ("prompt", "template", is_path),
        ("objective", "name", plugins.is_file),
    ):
        text, place = _text_at(data, section, key), layer.places.of((section, key))
        if text is not None and names_file(text) and place is not None:
            start = place.folder / root if section == "data" else place.folder
            data[section] = {**data[section], key: str((start / Path(text).expanduser()).resolve())}
    database, place = _text_at(data, "data", "database"), layer.places.of(("data", "database"))
    if database is not None and place is not None:
        with suppress(UserError):  # what is wrong with it is said where the keys are checked
            data["data"] = {**data["data"], "database": rooted(database, place.folder / root)}
    return data


EMBEDDERS = (("negatives", "embedder"), ("negatives", "ground"), ("evaluation", "nearest"))  # names, or folders


def _names_folder(text: str) -> bool:
    return text.startswith(("./", "../", "~"))


def _text_at(data: dict[str, Any], section: str, key: str) -> str | None:
    held = data.get(section)
    text = held.get(key) if isinstance(held, dict) else None
    return text if isinstance(text, str) else None
