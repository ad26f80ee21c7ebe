"""What pydantic finds wrong in a recipe, said in words: the key, the line it stands in, and the remedy.

Path    recipe_reading -> [recipe_mistakes] -> recipe
Takes   a ValidationError, the model that raised it, and the places of the keys
Gives   a Mistake for each of its errors
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from napo.errors import nearest
from napo.recipe_reading import Key, Mistake, Places

# pydantic's name of an error -> what the value should be; {} takes the limit from the error
_KIND = re.compile(r"constrained-|(list|tuple|dict|union)\[")  # how pydantic calls the kinds that a value may have
_SHOULD_BE = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "finite_number": "a finite number",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list, such as [1, 5]",
    "tuple_type": "a list, such as [1, 5]",
    "dict_type": "a section of `key: value` lines",
    "model_type": "a section of `key: value` lines",
    "model_attributes_type": "a section of `key: value` lines",
}


def mistakes_of(
    error: ValidationError, model: type[BaseModel], places: Places, *, prefix: Key = (), of: str = "a recipe"
) -> list[Mistake]:
    """One mistake for each error. `prefix`: where in the recipe `model` stands; `of`: whose keys they are."""
    found = _told_once(error.errors(include_url=False))
    return [_mistake(item, model, places, prefix, of) for item in found]


def _told_once(errors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of a value that may be of several kinds only what is wrong with the likeliest, the one that was read deepest.

    A list with a wrong part is not called too short as well.
    """
    kept: dict[Key, dict[str, Any]] = {}
    for item in errors:
        parts = tuple(part for part in item["loc"] if not _KIND.match(str(part)))
        whole = next((end for end, part in enumerate(item["loc"]) if _KIND.match(str(part))), None)
        name = tuple(str(part) for part in (parts if whole is None else item["loc"][:whole]))
        if name not in kept or len(parts) > len(kept[name]["loc"]):
            kept[name] = {**item, "loc": parts}
    wrong = [item["loc"] for item in kept.values()]
    return [
        item
        for item in kept.values()
        if item["type"] != "too_short" or not any(len(one) > len(item["loc"]) for one in _under(item["loc"], wrong))
    ]


def _under(key: Any, keys: Iterable[Any]) -> list[Any]:
    return [one for one in keys if one[: len(key)] == key]


def remedy_for(word: str, known: Iterable[str], of: str) -> str:
    """The near misses of a mistyped name, and all the names after them."""
    known = sorted(known)
    close = [f"`{name}`" for name in nearest(word, known)]
    everything = f"{of}: {', '.join(known)}"
    return f"{', '.join(close)} ({everything})" if close else everything


def _mistake(item: Mapping[str, Any], model: type[BaseModel], places: Places, prefix: Key, of: str) -> Mistake:
    inner = tuple(str(part) for part in item["loc"] if part != "[key]")
    key = (*prefix, *inner)
    dotted, place = ".".join(key), places.of(key)
    kind, value, limits = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return Mistake(f"unknown key `{dotted}`", place, _near_keys(inner, model, prefix, of))
    if kind == "missing":
        return Mistake(f"`{dotted}` is missing", place, f"write `{key[-1]}:`, with a value, there")
    if value is None and "model" in kind:
        return Mistake(f"`{dotted}` is empty", place, "leave the key out to have its defaults")
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", limits["expected"])
        return Mistake(f"`{dotted}` cannot be {shown(value)}", place, remedy_for(str(value), options, "one of"))
    if kind == "value_error":
        what, such, remedy = str(limits["error"]).partition("; such as ")
        return Mistake(f"`{dotted}`: {what}" if dotted else what, place, remedy if such else None)
    if kind == "string_too_short":
        return Mistake(f"`{dotted}` is empty", place, "write a value, or leave the key out")
    if kind == "too_short":
        if value:
            return Mistake(f"`{dotted}` has {len(value)}, but should have at least {limits['min_length']}", place)
        return Mistake(f"`{dotted}` is empty", place, "name at least one")
    if kind in _SHOULD_BE:
        return Mistake(f"`{dotted}` is {shown(value)}, but should be {_SHOULD_BE[kind].format(**limits)}", place)
    return Mistake(f"`{dotted}` is {shown(value)}: {item['msg'][:1].lower()}{item['msg'][1:]}", place)


def shown(value: object) -> str:
    """A value as one would type it, cut where it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _near_keys(inner: Key, model: type[BaseModel], prefix: Key, of: str) -> str:
    section = _model_at(model, inner[:-1])
    of = of if section is model else f"`{'.'.join((*prefix, *inner[:-1]))}`"
    # the right word in the wrong section is the likelier slip: `lr=1e-3` for `sft.lr=1e-3`
    elsewhere = [found for found in _dotted_keys(model) if found.split(".")[-1] == inner[-1]]
    if 1 <= len(elsewhere) <= 3:
        return " or ".join(f"`{'.'.join((*prefix, found))}`" for found in elsewhere)
    known = [info.alias or name for name, info in section.model_fields.items()]
    return remedy_for(inner[-1], known, f"keys of {of}")


def _model_at(model: type[BaseModel], key: Key) -> type[BaseModel]:
    for part in key:
        info = model.model_fields.get(part)  # None: a name that the user gives, under a mapping of sections
        model = (_model_in(info.annotation) if info is not None else None) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section's model in `Section` or `Section | None`."""
    found = [part for part in (annotation, *get_args(annotation)) if isinstance(part, type)]
    return next((part for part in found if issubclass(part, BaseModel)), None)


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield prefix + name
        if (section := _model_in(info.annotation)) is not None:
            yield from _dotted_keys(section, f"{prefix}{name}.")
