"""A search file: which recipes, which of their keys, and how many trials for each.

Path    search.yaml, recipes -> [experiments.search_file] -> experiments.search
Takes   a YAML file; recipes as `napo compare` takes them
Gives   Search, its recipes and the bounds of every key checked; or all the mistakes at once, with file and line
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationError

from napo.errors import UserError, UserErrors, raise_together
from napo.recipe import Recipe, changed, load_recipe
from napo.recipe_keys import Count, Section, Whole, Word
from napo.recipe_mistakes import mistakes_of, remedy_for
from napo.recipe_reading import Layer, Mistake, Place, Places, Reading, raise_all, read_file, read_override

# What is searched may change the method, never the task: a figure of other cases or lists says nothing beside these.
SEARCHABLE = ("objective", "negatives", "preference", "rounds", "sft", "model", "normalize", "prompt", "auxiliary")
FORMS = "a list of choices, or one of {log: [low, high]}, {uniform: [low, high]}, {int: [low, high]}"


@dataclass(frozen=True)
class Choice:
    """One of several values; each is held as JSON, since lists and sections are no values for Optuna."""

    texts: tuple[str, ...]

    @property
    def edges(self) -> list[Any]:
        """The values that have to be good for all to be."""
        return [json.loads(text) for text in self.texts]

    @property
    def size(self) -> float:
        return len(self.texts)

    def encoded(self, value: Any) -> str | None:
        """A value as the storage has it; None where it is no choice."""
        return next((text for text in self.texts if _same(json.loads(text), value)), None)

    def decoded(self, stored: Any) -> Any:
        return json.loads(stored)

    def __str__(self) -> str:
        return f"[{', '.join(self.texts)}]"


@dataclass(frozen=True)
class Range:
    """All numbers from low to high. log: drawn evenly by size; int: whole ones."""

    kind: Literal["log", "uniform", "int"]
    low: float
    high: float

    @property
    def edges(self) -> list[Any]:
        return [self.low, self.high]

    @property
    def size(self) -> float:
        return self.high - self.low + 1 if self.kind == "int" else math.inf

    def encoded(self, value: Any) -> float | None:
        is_number = isinstance(value, int if self.kind == "int" else int | float) and not isinstance(value, bool)
        return value if is_number and self.low <= value <= self.high else None

    def decoded(self, stored: Any) -> Any:
        if self.kind == "int":
            return stored
        # four digits: what is printed is what was trained
        return min(max(float(f"{stored:.4g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{{{self.kind}: [{self.low:g}, {self.high:g}]}}"


Space = Choice | Range


def _space(value: Any) -> Space:
    if isinstance(value, list) and value:
        try:
            texts = tuple(json.dumps(one, allow_nan=False) for one in value)
        except ValueError:
            raise ValueError("a choice should be a finite number") from None
        if len(set(texts)) < len(texts):
            raise ValueError("no choice should stand there twice")
        return Choice(texts)
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"should be {FORMS}")
    ((kind, bounds),) = value.items()
    if kind not in ("log", "uniform", "int") or not isinstance(bounds, list) or len(bounds) != 2:
        raise ValueError(f"should be {FORMS}")
    if not all(isinstance(bound, int if kind == "int" else int | float) for bound in bounds) or any(
        isinstance(bound, bool) for bound in bounds
    ):
        raise ValueError(f"the bounds of {kind} should be {'whole ' * (kind == 'int')}numbers")
    low, high = bounds
    if not float("-inf") < low < high < float("inf"):
        raise ValueError("the lower bound should come first, and both be finite")
    if kind == "log" and low <= 0:
        raise ValueError("the lower bound of log should be above 0")
    return Range(kind, low, high)


Spaces = dict[Word, Annotated[Space, PlainValidator(_space)]]


class SearchFile(Section):
    """The keys of a search file."""

    recipes: Annotated[tuple[Word, ...], Field(strict=False, min_length=1)]
    set: Annotated[tuple[Word, ...], Field(strict=False)] = ()  # overrides that all recipes get
    trials: Count = 8  # of each method, the recipe as written among them
    space: Spaces = Field(default_factory=dict)  # keys that are searched in every recipe
    own: dict[Word, Spaces] = Field(default_factory=dict)  # and those of one recipe, by its file's name without .yaml
    seed: Whole = 0  # of the draws; the runs have the recipe's


@dataclass(frozen=True)
class Method:
    """A recipe whose keys are searched. name: of its file, without .yaml."""

    name: str
    path: Path
    recipe: Recipe
    space: Mapping[str, Space]

    def written(self) -> dict[str, Any]:
        """What the recipe itself says at the keys that are searched; None where it has no such key."""
        return {key: _value_at(self.recipe.resolved(), key) for key in self.space}

    def stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as the storage has them; those outside their spaces are left out."""
        found = {key: space.encoded(values[key]) for key, space in self.space.items()}
        return {key: value for key, value in found.items() if value is not None}

    def size(self) -> float:
        """How many different trials there can be, the recipe as written among them."""
        outside = len(self.stored(self.written())) < len(self.space)
        return math.prod(space.size for space in self.space.values()) + outside

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with the values. Raises UserError where they don't go together."""
        return changed(self.recipe, values)


@dataclass(frozen=True)
class Search:
    """trials: of each method alike, or the winner would be who tried most."""

    path: Path
    methods: tuple[Method, ...]
    trials: int
    seed: int


def load_search(path: Path) -> Search:
    """The search at `path`. Raises UserError with all that is wrong in it and in its recipes."""
    reading = Reading()
    layer = read_file(path, reading, "search")
    try:
        said = SearchFile.model_validate(layer.data)
    except ValidationError as error:
        raise_all([*reading.mistakes, *mistakes_of(error, SearchFile, layer.places, of="a search")])
        raise
    overrides = list(_overrides(said, layer.places, reading))
    raise_all([*reading.mistakes, *_names_wrong(said, layer.places)])
    errors: list[UserError] = []
    methods = []
    for name in said.recipes:
        file = path.absolute().parent / Path(name).expanduser()
        try:
            recipe = load_recipe(_short(file), over=overrides, methods=True)
        except UserError as error:
            errors += _each(error)
            continue
        methods.append(Method(file.stem, _short(file), recipe, {**said.space, **said.own.get(file.stem, {})}))
    raise_together(_once(errors))
    _check_spaces(methods, said, layer.places)
    return Search(path, tuple(methods), said.trials, said.seed)


def _overrides(said: SearchFile, places: Places, reading: Reading) -> Iterator[Layer]:
    """What `set` says, with its places in the file."""
    for number, text in enumerate(said.set):
        place = _stands(places, "set", str(number))
        before = len(reading.mistakes)
        layer = read_override(text, reading)
        reading.mistakes[before:] = [replace(mistake, place=place) for mistake in reading.mistakes[before:]]
        yield Layer(layer.data, Places(dict.fromkeys(layer.places, place)))


def _names_wrong(said: SearchFile, places: Places) -> Iterator[Mistake]:
    stems = [Path(name).stem for name in said.recipes]
    for number, stem in enumerate(stems):
        if stem in stems[:number]:
            what = f"two recipes are called {stem}"
            yield Mistake(what, places.of(("recipes", str(number))), "give their files different names")
    for name in said.own:
        if name not in stems:
            what = f"`own.{name}`: no recipe of that name"
            yield Mistake(what, places.of(("own", name)), remedy_for(name, stems, "recipes"))


def _check_spaces(methods: Iterable[Method], said: SearchFile, places: Places) -> None:
    """Raise all that is wrong with the keys that are searched and with the ends of their spaces."""
    found: dict[tuple[str, str | None, str | None], list[str]] = {}
    for method in methods:
        own = said.own.get(method.name, {})
        at = {key: _stands(places, *(("own", method.name) if key in own else ("space",)), key) for key in method.space}
        errors = list(_keys_wrong(method, at)) or _values_wrong(method, at)
        if not errors and method.size() < said.trials:
            what = f"{method.size():g} different trials can be made, fewer than `trials` {said.trials}"
            errors.append(_error(what, _stands(places, "trials"), "a wider space, or fewer trials for all methods"))
        for error in errors:
            found.setdefault((error.what, error.where, error.remedy), []).append(method.path.name)
    raise_together(
        [
            UserError(what, where=f"{where} (for {', '.join(dict.fromkeys(names))})", remedy=remedy)
            for (what, where, remedy), names in found.items()
        ]
    )


def _keys_wrong(method: Method, at: Mapping[str, Place]) -> Iterator[UserError]:
    if not method.space:
        whole = Place(str(method.path), method.path.parent)
        yield _error("nothing is searched", whole, f"name keys under `space` or `own.{method.name}`")
    recipe = method.recipe
    if recipe.objective is None and recipe.sft is None:
        whole = Place(str(method.path), method.path.parent)
        yield _error("nothing is trained, so that no look at validation could be better", whole, "leave the recipe out")
    idle = {"objective", "preference", "negatives"} if recipe.objective is None else set()
    idle |= {name for name in ("sft", "auxiliary", "rounds") if getattr(recipe, name) is None}
    for key, place in at.items():
        section = key.split(".")[0]
        if section not in SEARCHABLE:
            what = f"`{key}` is not to be searched: it would change the task, or is no section of a recipe"
            yield _error(what, place, f"keys of: {', '.join(SEARCHABLE)}")
        elif section in idle:
            why = "objective" if section not in ("sft", "auxiliary", "rounds") else f"`{section}`"
            what = f"`{key}` does nothing in {method.path.name}, which has no {why}"
            yield _error(what, place, "write the key under `own`, for the methods that use it")
        inside = [other for other in at if other.startswith(f"{key}.")]
        if inside:
            yield _error(f"`{inside[0]}` is a part of `{key}`", place, "search the one or the other")


def _values_wrong(method: Method, at: Mapping[str, Place]) -> list[UserError]:
    """What is wrong with the choices and bounds, each for itself; that two don't go together is a trial's failure."""
    edges = {key: space.edges for key, space in method.space.items()}
    errors: list[UserError] = []
    for number in range(max(map(len, edges.values()))):
        try:
            changed(
                method.recipe,
                {key: tried[min(number, len(tried) - 1)] for key, tried in edges.items()},
                at,
                clashes=False,
            )
        except UserError as error:
            errors += _each(error)
    return errors


def _error(what: str, place: Place, remedy: str) -> UserError:
    return UserError(what, where=str(place), remedy=remedy)


def _stands(places: Places, *key: str) -> Place:
    place = places.of(key)
    assert place is not None  # a file's keys stand in the file
    return place


def _each(error: UserError) -> list[UserError]:
    return error.errors if isinstance(error, UserErrors) else [error]


def _once(errors: Iterable[UserError]) -> list[UserError]:
    """Without those that several recipes share, such as a mistake in their base."""
    return list({str(error): error for error in errors}.values())


def _short(path: Path) -> Path:
    """The path as it is typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _value_at(data: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(data, dict) or part not in data:
            return None
        data = data[part]
    return data


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one: 0 and 0.0 are, 0 and false are not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
