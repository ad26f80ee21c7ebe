"""Recipe files as layers: plain data, and the file and line where each key stands.

Path    base.yaml, recipe.yaml, key=value -> [recipe_reading] -> recipe
Takes   the path of a recipe and overrides; YAML 1.2's plain words: `no` is text, `1e-3` a number
Gives   Layer: nested dicts, and a Place for each key; Mistakes, gathered so that all come at once
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from napo.data.address import hidden
from napo.errors import UserError, nearest, raise_together, short

Key = tuple[str, ...]  # ("sft", "lr") is sft.lr
OwnKeys = Mapping[Key, Callable[[str], bool]]  # of a section with a `name`: does this key go when the name changes?

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Place:
    """Where a key was written; `folder` is what relative paths there start from."""

    source: str
    folder: Path
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}, line {self.line}"


class Places(dict[Key, Place]):
    """The place of each key. Any two are equal: where a recipe was written says nothing about what it is."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places)

    def of(self, key: Key) -> Place | None:
        """The place of the key, or else of the nearest section around it."""
        return next((self[key[:end]] for end in range(len(key), -1, -1) if key[:end] in self), None)


@dataclass(frozen=True)
class Mistake:
    what: str
    place: Place | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Layer:
    data: dict[str, Any]
    places: Places


@dataclass
class Reading:
    """What reading a recipe has brought so far."""

    mistakes: list[Mistake] = field(default_factory=list)

    def add(self, what: str, place: Place | None, remedy: str | None = None) -> None:
        self.mistakes.append(Mistake(what, place, remedy))

    def stop(self, what: str, place: Place | None, remedy: str | None = None) -> NoReturn:
        """For mistakes that leave nothing to go on with."""
        self.add(what, place, remedy)
        raise_all(self.mistakes)
        raise AssertionError("a mistake was added")


def raise_all(mistakes: Iterable[Mistake]) -> None:
    """Raise the mistakes, if any, together and in the order of the lines they stand in."""
    ordered = sorted(mistakes, key=lambda m: (m.place.source, m.place.line or 0) if m.place else ("", 0))
    raise_together([UserError(m.what, where=str(m.place) if m.place else None, remedy=m.remedy) for m in ordered])


def read_layers(
    path: Path,
    overrides: Sequence[str],
    own_keys: OwnKeys,
    reading: Reading,
    *,
    over: Sequence[Layer] = (),
    whole: Sequence[str] = (),
) -> Layer:
    """The recipe at `path` over what it extends, `over` and the overrides over both; see `load_recipe`."""
    layer = read_file(path, reading)
    layer = laid_over(base_of(layer, path, reading), layer, own_keys)
    for top in over:
        layer = laid_over(_without(layer, [name for name in whole if name in top.data]), top, own_keys)
    for text in overrides:
        layer = laid_over(layer, read_override(text, reading), own_keys)
    return layer


def read_file(path: Path, reading: Reading, of: str = "recipe") -> Layer:
    """One YAML file, a recipe or what `of` says. Stops at one that can't be read or is no mapping: it has no keys."""
    whole = Place(str(path), path.absolute().parent)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        reading.stop(f"no {of} {path}", None, _files_like(path, of))
    except UnicodeDecodeError as error:
        reading.stop(f"{path} is not UTF-8: byte {error.start + 1}", whole, "save the file as UTF-8")
    except OSError as error:
        reading.stop(f"cannot read {path}: {error.strerror}", None, f"name a {of}, a YAML file")
    try:
        node = yaml.compose(text, Loader=_Loader)
    except RecursionError:
        reading.stop("no valid YAML: brackets within brackets without end", whole, "close each bracket")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = " ".join(filter(None, [getattr(error, "context", ""), getattr(error, "problem", "")]))
        place = Place(whole.source, whole.folder, mark.line + 1 if mark else None)
        remedy = "indent with blanks, not with tabs" if "'\\t'" in problem else "see `recipes/` for recipes that work"
        reading.stop(f"no valid YAML: {problem or str(error).splitlines()[0]}", place, remedy)
    layer = Layer({}, Places({(): whole}))
    if node is not None and not isinstance(node, yaml.MappingNode):
        reading.stop(f"a {of} is made of keys and values", whole, "write `key: value` lines, such as `seed: 0`")
    return layer if node is None else Layer(_plain(node, (), whole, layer.places, reading), layer.places)


def read_override(text: str, reading: Reading) -> Layer:
    """`sft.lr=1e-3` as a layer of its own; what cannot be read is noted, and the layer is empty."""
    place = Place(f"{COMMAND_LINE}, `{hidden(text)}`", Path.cwd())
    dotted, equals, value = text.partition("=")
    key = tuple(part.strip() for part in dotted.split("."))
    if not equals or not all(key):
        reading.add(f"`{hidden(text)}` is no override", place, "write `key=value`, such as `sft.lr=1e-3`")
        return Layer({}, Places())
    try:
        node = yaml.compose(value, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        reading.add(f"cannot read the value of `{dotted}`: {getattr(error, 'problem', error)}", place, "quote it")
        return Layer({}, Places())
    places = Places({key[:end]: place for end in range(1, len(key) + 1)})
    data = None if node is None else _plain(node, key, place, places, reading)
    for part in reversed(key):
        data = {part: data}
    assert isinstance(data, dict)
    return Layer(data, places)


def laid_over(below: Layer, top: Layer, own_keys: OwnKeys) -> Layer:
    """`top` over `below`: sections are merged key by key, all else is replaced, lists too.

    Where a section's name changes, the keys that belonged to the old name go: another method has other settings.
    """
    places = Places(below.places)

    def merge(old: dict[str, Any], new: dict[str, Any], key: Key) -> dict[str, Any]:
        renamed = old.get("name") is not None and "name" in new and old["name"] != new["name"]
        goes = own_keys.get(key) if renamed else None
        merged = {name: value for name, value in old.items() if goes is None or not goes(name)}
        for name, value in new.items():
            here = (*key, name)
            if isinstance(merged.get(name), dict) and isinstance(value, dict):
                value = merge(merged[name], value, here)
            else:
                for gone in [known for known in places if known[: len(here)] == here]:
                    del places[gone]
            merged[name] = value
        return merged

    data = merge(below.data, top.data, ())
    return Layer(data, Places(places | top.places))


def _without(layer: Layer, sections: Sequence[str]) -> Layer:
    data = {name: value for name, value in layer.data.items() if name not in sections}
    return Layer(data, Places({key: place for key, place in layer.places.items() if not key or key[0] in data}))


def to_yaml(data: Mapping[str, Any]) -> str:
    """The data as YAML that reads back the same, here and in readers of YAML 1.1."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def base_of(layer: Layer, path: Path, reading: Reading, of: str = "recipe") -> Layer:
    """What the keys of a layer, read from the file at `path`, extend: `extends` goes from them, and names the file."""
    nothing = Layer({}, Places())
    if "extends" not in layer.data:
        return nothing
    name, place = layer.data.pop("extends"), layer.places.of(("extends",))
    if not isinstance(name, str):
        reading.add(f"`extends` should be the path of one {of}", place, "write `extends: base.yaml`")
        return nothing
    base_path = path.parent / name
    if not base_path.exists():
        reading.stop(f"no {of} {base_path} to extend", place, _files_like(base_path, of))
    if base_path.resolve() == path.resolve():
        reading.stop(f"`extends` names the {of} itself", place, f"name another {of}, or leave `extends` out")
    base = read_file(base_path, reading, of)
    if "extends" in base.data:
        more = base.data.pop("extends")
        reading.add(
            f"`extends` is one level deep, but {base_path} extends {more}",
            base.places.of(("extends",)),
            f"let {path.name} extend {more}, or write its keys into {base_path.name}",
        )
    return base


def _files_like(path: Path, of: str) -> str:
    """The remedy for a file that is not there: those that are."""
    there = sorted(found.name for pattern in ("*.yaml", "*.yml") for found in path.parent.glob(pattern))
    close = nearest(path.name, there) or there[:5]
    return ", ".join(str(path.parent / name) for name in close) or f"{path.parent} holds no {of}s"


_NUMBERS_AND_WORDS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain words. PyYAML alone reads `no` as false, `1e-3` as text and `12:30` as 750."""


class _Dumper(yaml.SafeDumper):
    """Quotes whatever either version of YAML would take for something else than text."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _NUMBERS_AND_WORDS:
    for _reader in (_Loader, _Dumper):
        _reader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # in double quotes PyYAML escapes what a reader might take for the end of a line
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)

_SCALARS: dict[str, Callable[[str], Any]] = {
    "bool": lambda text: text.lower() == "true",
    "int": int,
    "float": lambda text: float(text.replace(".inf", "inf").replace(".nan", "nan")),
    "null": lambda text: None,
    "str": str,
}


def _plain(node: yaml.Node, key: Key, place: Place, places: Places, reading: Reading, inside: Key = ()) -> Any:
    """The data of a node; the places of what is in it are noted in `places`."""
    if str(id(node)) in inside:
        reading.add(f"`{'.'.join(key)}` holds itself", place, "write the value out instead of `*name`")
        return None
    inside = (*inside, str(id(node)))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, key, place, reading)
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(item, (*key, str(index)), _at(item, (*key, str(index)), place, places), places, reading, inside)
            for index, item in enumerate(node.value)
        ]
    data: dict[str, Any] = {}
    for name_node, value_node in node.value:
        if not isinstance(name_node, yaml.ScalarNode):
            reading.add("a key should be one word", _at(name_node, (), place, Places()))
            continue
        here = (*key, name_node.value)
        if name_node.value in data:
            reading.add(
                f"`{'.'.join(here)}` is given twice",
                _at(name_node, here, place, Places()),
                f"keep one; the other stands in {places[here]}",
            )
            continue
        spot = _at(name_node, here, place, places)
        data[name_node.value] = _plain(value_node, here, spot, places, reading, inside)
    return data


def _scalar(node: yaml.ScalarNode, key: Key, place: Place, reading: Reading) -> Any:
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    try:
        return _SCALARS[tag](node.value)
    except (KeyError, ValueError):
        reading.add(
            f"`{'.'.join(key)}` has the unknown tag or value `{node.tag} {short(node.value)}`",
            place,
            "leave out the `!`",
        )
        return None


def _at(node: yaml.Node, key: Key, around: Place, places: Places) -> Place:
    """The place of a node, noted under its key. An override's keys have no lines."""
    if around.source.startswith(COMMAND_LINE):
        places[key] = around
    else:
        places[key] = Place(around.source, around.folder, node.start_mark.line + 1)
    return places[key]
