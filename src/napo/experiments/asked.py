"""What the command line changes in a sweep: data sets and where they lie, own data, own methods, how many seeds.

Path    sweep.yaml, words of a command -> [experiments.asked] -> experiments.plan
Takes   the sweep file as a layer; Asked
Gives   the layer as if the file said so
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napo.errors import UserError, did_you_mean
from napo.recipe_reading import COMMAND_LINE, Layer, Place, Places

# a recipe that names its data says more than an own log has: ratings, a set that is fetched
OWN_SPLIT = {"name": "last_tenth", "min_history": 3}


@dataclass(frozen=True)
class Asked:
    """data: the data sets to run, and the folder of those whose files the user brings; empty: all that need no folder.

    interactions, items: an own log and its titles, in the place of all the data sets. methods: recipes of methods to
    add, each called by its file. objectives: files with an own objective, each put into the recipe of the last method.
    """

    seeds: int | None = None
    data: Mapping[str, Path | None] = field(default_factory=dict)
    interactions: Path | None = None
    items: Path | None = None
    methods: tuple[Path, ...] = ()
    objectives: tuple[Path, ...] = ()

    @property
    def words(self) -> list[str]:
        """As options of a command."""
        named = [name if folder is None else f"{name}={folder}" for name, folder in self.data.items()]
        options = {
            "--seeds": [] if self.seeds is None else [str(self.seeds)],
            "--data": named,
            "--interactions": [str(self.interactions)] if self.interactions else [],
            "--items": [str(self.items)] if self.items else [],
            "--method": [str(path) for path in (*self.methods, *self.objectives)],
        }
        return [word for option, values in options.items() for value in values for word in (option, value)]


def laid_down(layer: Layer, asked: Asked, source: Path) -> Layer:
    """The sweep's layer with what is asked. Raises UserError for data sets and files that are not there."""
    data, places = dict(layer.data), Places(layer.places)
    if asked.seeds is not None:
        data["seeds"] = asked.seeds
    if isinstance(data.get("data"), dict):
        data["data"] = _own_data(asked, places) if asked.interactions else _data_sets(data, asked, places, source)
    elif asked.interactions:
        data["data"] = _own_data(asked, places)
    elif asked.data and "data" not in data:
        data["data"] = _data_sets({**data, "data": {"data": {}}}, asked, places, source)
    if isinstance(data.get("methods"), dict) and (asked.methods or asked.objectives):
        data["methods"] = {**data["methods"], **_own_methods(data["methods"], asked)}
    return Layer(data, places)


def _here(places: Places, *key: str) -> None:
    places.update({key[:end]: Place(COMMAND_LINE, Path.cwd()) for end in range(2, len(key) + 1)})


def _own_data(asked: Asked, places: Places) -> dict[str, Any]:
    assert asked.interactions is not None
    if asked.items is None:
        raise UserError("an own log needs titles", where="--interactions", remedy="add `--items FILE`")
    name = asked.interactions.stem
    for key, path in (("interactions", asked.interactions), ("items", asked.items)):
        if not path.exists():
            raise UserError(f"no file {path}", where=f"--{key}", remedy="name the file; see docs/data.md for its forms")
        _here(places, "data", name, "data", key)
    files = {"interactions": str(asked.interactions), "items": str(asked.items)}
    return {name: {"data": files, "split": dict(OWN_SPLIT)}}


def _data_sets(data: Mapping[str, Any], asked: Asked, places: Places, source: Path) -> dict[str, Any]:
    sets, brought = data["data"], data.get("bring", [])
    if unknown := [name for name in asked.data if name not in sets]:
        raise UserError(
            f"no data set {unknown[0]!r} in {source}", where="--data", remedy=did_you_mean(unknown[0], sets)
        )
    wanted = asked.data or {name: None for name in sets if name not in brought}
    if not sets:
        return {}
    if not wanted:
        raise UserError(
            f"{', '.join(brought)}: their files are yours to bring",
            where="--data",
            remedy=f"`--data {brought[0]}=FOLDER`",
        )
    chosen = {}
    for name, folder in wanted.items():
        if name in brought and folder is None:
            raise UserError(
                f"{name}'s files are yours to bring", where=f"--data {name}", remedy=f"`--data {name}=FOLDER`"
            )
        section = dict(sets[name] or {})
        if folder is not None:
            if not folder.is_dir():
                raise UserError(f"no folder {folder}", where=f"--data {name}", remedy="where its files lie")
            section["data"] = {**section.get("data", {}), "folder": str(folder.resolve())}
            _here(places, "data", name, "data", "folder")
        chosen[name] = section
    return chosen


def _own_methods(methods: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    added: dict[str, Any] = {path.stem: {"recipe": str(path.resolve())} for path in asked.methods}
    last = list(methods)[-1]
    for path in asked.objectives:
        entry = methods[last] if isinstance(methods[last], dict) else {}
        objective = {"objective": {"name": str(path.resolve())}}
        added[path.stem] = {"recipe": entry.get("recipe"), "with": {**entry.get("with", {}), **objective}}
    for path in (*asked.methods, *asked.objectives):
        if not path.is_file():
            raise UserError(f"no file {path}", where="--method", remedy="name a recipe (.yaml) or an objective (.py)")
        if path.stem in methods:
            raise UserError(
                f"the sweep has a row {path.stem!r} already", where="--method", remedy="give your file another name"
            )
    return added
