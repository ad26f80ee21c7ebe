"""A sweep file: which methods, on which data, under which seeds and keys; and the cells that it comes to.

Path    sweep.yaml -> [experiments.plan] -> experiments.runner, experiments.store
Takes   the path of a sweep, `key=value` overrides that every cell gets
Gives   Sweep, checked whole before anything heavy is imported; its Cells in the order of their rows

    title: What does sharing bring?
    methods:
      S-DPO: {recipe: ml100k/sdpo.yaml}
      NAPO: {recipe: ml100k/napo.yaml, grid: {objective.sharing.accept_ratio: [0.3, 0.7]}}
    data:                            # what differs in the recipes from one data set to the next
      MovieLens-100K: {}             # nothing: as the recipes say
      LastFM: {extends: data/lastfm.yaml, sft: {epochs: 5}}  # what sweeps share, and what is changed here
      mine: {data: {interactions: log.csv, items: items.csv}}
    with: {sft: {epochs: 20}}        # keys that all cells get
    grid: {negatives.count: [1, 3]}  # a cell for each combination
    seeds: 3
    claims:                          # judged at the end: see experiments.claim_keys
      - {says: NAPO beats S-DPO, better: NAPO, worse: S-DPO}
"""

import hashlib
import itertools
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from napo.data.address import address_of, hidden
from napo.data.settings import DATA_FILES
from napo.errors import UserError, did_you_mean
from napo.experiments.asked import Asked, laid_down
from napo.experiments.claim_keys import ClaimEntry, Known, mistakes_in
from napo.recipe import Recipe, differences, load_recipe
from napo.recipe_checks import is_path
from napo.recipe_keys import Count, FilePath, Section, Seed, Word
from napo.recipe_mistakes import mistakes_of
from napo.recipe_reading import (
    Key,
    Layer,
    Mistake,
    Place,
    Places,
    Reading,
    base_of,
    laid_over,
    raise_all,
    read_file,
)

Kind = Literal["model", "SASRec", "popularity", "chance", "blind slot rule"]
BASELINES: tuple[Kind, ...] = ("chance", "blind slot rule", "popularity", "SASRec")
# sections that make the task: rows that differ in them can't stand in one table
TASK = ("data", "split", "candidates", "evaluation")
# sections that a data set brings whole: what a recipe says of other data must not stay between them
WHOLE = ("data", "split")
# sections that decide the start which cells share
START = (*TASK, "model", "normalize", "prompt", "auxiliary", "sft", "seed")

Grid = dict[Word, Annotated[list[Any], Field(min_length=1)]]


class MethodEntry(Section):
    recipe: FilePath
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    grid: Grid = Field(default_factory=dict)  # keys of this method alone


class Sweep(Section):
    """A sweep file's keys."""

    title: Word = "Sweep"
    methods: Annotated[dict[Word, MethodEntry], Field(min_length=1)]
    data: Annotated[dict[Word, dict[str, Any]], Field(min_length=1)] = Field(default={"data": {}})
    bring: list[Word] = Field(default_factory=list)  # data sets whose files the user has: --data NAME=FOLDER
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    grid: Grid = Field(default_factory=dict)
    seeds: Count | list[Seed] = 1  # how many, from 0 on; or which
    baselines: bool = True  # chance, popularity and SASRec as rows
    base: Word | None = None  # the row that others are compared with; None: SFT where there is one
    # by method: settings tried on validation beforehand; null: what all the methods begin with, so no rival of theirs
    tried: dict[Word, Count | None] = Field(default_factory=dict)
    claims: list[ClaimEntry] = Field(default_factory=list)

    @field_validator("seeds")
    @classmethod
    def _are_several(cls, seeds: int | list[int]) -> int | list[int]:
        if isinstance(seeds, list) and (not seeds or len(set(seeds)) < len(seeds)):
            raise ValueError("should be a number, or a list of different seeds")
        return seeds

    @property
    def seed_list(self) -> list[int]:
        return self.seeds if isinstance(self.seeds, list) else list(range(self.seeds))


@dataclass(frozen=True)
class Cell:
    """One run. keys: the grid's values here. key: a hash of all that decides its results, contents of files included.

    start: a hash of what cells with the same supervised start and auxiliary recommender have in common.
    """

    kind: Kind
    method: str
    data: str
    seed: int
    keys: Mapping[str, Any]
    recipe: Recipe = field(repr=False)
    key: str = ""
    start: str = ""

    @property
    def row(self) -> str:
        """What tables call it: the method, and the grid's values where there are some."""
        said = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in self.keys.items())
        return f"{self.method}, {said}" if said else self.method

    @property
    def task(self) -> dict[str, Any]:
        """The sections by which tables are told apart."""
        whole = self.recipe.resolved()
        return {name: whole[name] for name in TASK}


@dataclass(frozen=True)
class Plan:
    """command: what makes it again."""

    sweep: Sweep
    source: Path
    cells: tuple[Cell, ...]
    command: str = ""


def load_plan(path: Path, overrides: Sequence[str] = (), asked: Asked | None = None) -> Plan:
    """The sweep at `path` and its cells. Raises UserError with all the mistakes of the sweep, or of a recipe in it.

    asked: what a command changes in the file.
    """
    reading = Reading()
    layer = _extended(read_file(path, reading, "sweep"), path, reading)
    raise_all(reading.mistakes)
    file_data = list(layer.data["data"]) if isinstance(layer.data.get("data"), dict) else []
    layer = laid_down(layer, asked or Asked(), path)
    sweep = _validated(layer, path)
    if unknown := set(sweep.tried) - set(sweep.methods):
        name = sorted(unknown)[0]
        raise UserError(f"`tried` names no method: {name!r}", where=str(path), remedy=did_you_mean(name, sweep.methods))
    cells = list(_model_cells(sweep, layer, path, overrides))
    if sweep.baselines:
        cells += list(_baseline_cells(cells))
    if sweep.base is not None and sweep.base not in (rows := {cell.row for cell in cells}):
        at, remedy = layer.places.of(("base",)), did_you_mean(sweep.base, rows)
        raise_all([Mistake(f"`base`: there will be no row {sweep.base!r} to compare with", at, remedy)])
    raise_all(mistakes_in(sweep.claims, _known(sweep, cells, file_data), layer.places))
    hashed = [_hashed(cell) for cell in cells]
    words = ["napo", "sweep", str(path), *map(hidden, overrides), *(asked.words if asked else ())]
    return Plan(sweep, path, tuple(hashed), shlex.join(words))


def _extended(layer: Layer, path: Path, reading: Reading) -> Layer:
    """Each data set that extends a file, over what is in it."""
    sets, places = layer.data.get("data"), Places(layer.places)
    if not isinstance(sets, dict):
        return layer
    for name, entry in sets.items():
        if isinstance(entry, dict) and "extends" in entry:
            own = section_of(layer, ("data", name))
            whole = laid_over(base_of(own, path, reading, "data set"), own, {})
            sets[name] = whole.data
            places |= {("data", name, *key): at for key, at in whole.places.items() if key}
    return Layer(layer.data, places)


def _known(sweep: Sweep, cells: Sequence[Cell], data: Sequence[str]) -> Known:
    """What claims may name."""
    return Known(
        rows={cell.row for cell in cells},
        grids={name: {*sweep.grid, *entry.grid} for name, entry in sweep.methods.items()},
        data={*sweep.data, *data},
        protocols={protocol for cell in cells for protocol in cell.recipe.evaluation.protocols},
    )


def _validated(layer: Layer, path: Path) -> Sweep:
    try:
        sweep = Sweep.model_validate(layer.data)
    except ValidationError as error:
        raise_all(mistakes_of(error, Sweep, layer.places, of="a sweep"))
        raise
    for name, entry in layer.data.get("methods", {}).items():
        if not (file := path.parent / entry["recipe"]).is_file():
            raise_all([Mistake(f"no recipe {file}", layer.places.of(("methods", name, "recipe")), "name a YAML file")])
    return sweep


def _model_cells(sweep: Sweep, layer: Layer, path: Path, overrides: Sequence[str]) -> Iterator[Cell]:
    common = section_of(layer, ("with",))
    for data in sweep.data:
        first: tuple[str, Recipe] | None = None
        for name, entry in sweep.methods.items():
            over = [section_of(layer, ("data", data)), common, section_of(layer, ("methods", name, "with"))]
            grid = {**sweep.grid, **entry.grid}
            for values in itertools.product(*grid.values()):
                keys = dict(zip(grid, values, strict=True))
                place = layer.places.of(("methods", name, "grid")) if entry.grid else layer.places.of(("grid",))
                points = [_dotted(key, value, place or Place(str(path), path.parent)) for key, value in keys.items()]
                recipe = load_recipe(
                    path.parent / entry.recipe, overrides, over=[*over, *points], whole=WHOLE, methods=True
                )
                first = first or (name, recipe)
                _check_task(first, (name, recipe), keys, path)
                for seed in sweep.seed_list:
                    seeded = recipe.model_copy(update={"seed": seed})
                    yield Cell("model", name, data, seed, keys, seeded)


def _check_task(first: tuple[str, Recipe], other: tuple[str, Recipe], keys: Mapping[str, Any], path: Path) -> None:
    """Methods of one data set answer one question, but for what the grid itself changes."""
    changed = [key for key in differences(first[1], other[1]) if key.split(".")[0] in TASK and key not in keys]
    if changed:
        raise UserError(
            f"{other[0]} and {first[0]} differ in {', '.join(changed)}: they would be judged on different tasks",
            where=str(path),
            remedy="give their recipes the same base, or write these keys under `data:` or `with:`",
        )


def _baseline_cells(cells: Sequence[Cell]) -> Iterator[Cell]:
    """SASRec for each task and seed, and for each task what needs no training."""
    seen = set[str]()
    for cell in cells:
        keys = {name: value for name, value in cell.keys.items() if name.split(".")[0] in TASK}
        for kind in BASELINES:
            if kind == "SASRec" and cell.recipe.auxiliary is None:
                continue
            seed = cell.seed if kind == "SASRec" else 0
            mark = _hash([kind, cell.data, keys, seed])
            if mark not in seen:
                seen.add(mark)
                yield Cell(kind, kind, cell.data, seed, keys, cell.recipe.model_copy(update={"seed": seed}))


def _hashed(cell: Cell) -> Cell:
    whole, files = cell.recipe.resolved(), contents_of(cell.recipe)
    file = None if cell.recipe.objective is None else cell.recipe.objective.file
    own_objective = {} if file is None or cell.kind != "model" else {str(file): checksum(file)}  # not of the start
    sections = {"SASRec": (*TASK, "auxiliary", "seed")}.get(cell.kind, TASK) if cell.kind != "model" else tuple(whole)
    key = _hash([cell.kind, {name: whole[name] for name in sections}, files | own_objective])
    start = _hash([{name: whole[name] for name in START}, files]) if cell.kind == "model" else key
    return Cell(cell.kind, cell.method, cell.data, cell.seed, cell.keys, cell.recipe, key, start)


def contents_of(recipe: Recipe) -> dict[str, str]:
    """The checksums of the files that a recipe names: what is in them decides, not what they are called."""
    named = [getattr(recipe.data, name) for name in DATA_FILES]
    named.append(None if recipe.data.database is None else address_of(recipe.data.database).path)
    named.append(Path(recipe.prompt.template) if is_path(recipe.prompt.template) else None)
    return {str(path): checksum(path) for path in named if path is not None and path.is_file()}


_KNOWN_SUMS: dict[tuple[str, int, int], str] = {}


def checksum(path: Path) -> str:
    """SHA-256 of what a file holds."""
    at = path.stat()
    mark = (str(path), at.st_size, at.st_mtime_ns)
    if mark not in _KNOWN_SUMS:
        with path.open("rb") as file:
            _KNOWN_SUMS[mark] = hashlib.file_digest(file, "sha256").hexdigest()
    return _KNOWN_SUMS[mark]


def _hash(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def section_of(layer: Layer, key: Key) -> Layer:
    """What stands under a key of a file, as a layer of its own that can be laid over a recipe."""
    data: Any = layer.data
    for part in key:
        data = data.get(part, {}) if isinstance(data, dict) else {}
    places = {place[len(key) :]: at for place, at in layer.places.items() if place[: len(key)] == key}
    return Layer(data if isinstance(data, dict) else {}, Places(places))


def _dotted(key: str, value: Any, place: Place) -> Layer:
    """`sft.lr` and a value as a layer."""
    parts = tuple(key.split("."))
    data = value
    for part in reversed(parts):
        data = {part: data}
    return Layer(data, Places({parts[:end]: place for end in range(1, len(parts) + 1)}))
