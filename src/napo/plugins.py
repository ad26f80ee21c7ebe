"""Methods by name: the module's name is its name in a recipe, so one new file is one new method."""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import ModuleType

from napo.errors import UserError, did_you_mean


@cache
def built_in(kind: str) -> tuple[str, ...]:
    """The public modules of the folder napo/<kind>, listed without importing any of them."""
    spec = find_spec(f"napo.{kind}")
    assert spec is not None and spec.submodule_search_locations is not None, kind
    found = (module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def names(kind: str) -> tuple[str, ...]:
    """All the names of a kind: ours, and those that other packages bring as entry points `napo.<kind>`."""
    others = (point.name for point in entry_points(group=f"napo.{kind}"))
    return tuple(sorted({*built_in(kind), *others}))


def load(kind: str, name: str) -> ModuleType:
    """The module of a method: load("objectives", "sdpo") is napo.objectives.sdpo.

    Raises UserError with the near misses where no such method is known.
    """
    if name in built_in(kind):
        return importlib.import_module(f"napo.{kind}.{name}")
    for point in entry_points(group=f"napo.{kind}", name=name):
        module: ModuleType = point.load()
        return module
    raise UserError(f"no {name!r} among {kind}", remedy=did_you_mean(name, names(kind)))
