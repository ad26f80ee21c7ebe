"""Methods by name: the module's name is its name in a recipe, so one new file is one new method.

An objective may also be one file of the user's, named by its path: ./my_loss.py. Loading it runs it, as an import does.
"""

import hashlib
import importlib
import pkgutil
import sys
import traceback
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from napo.errors import UserError, did_you_mean

GUIDE = "docs/own-objective.md has one that works"
NEEDS = ("needs_rejected", "needs_reference", "needs_auxiliary")


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
    """The module of a method: load("objectives", "sdpo") is napo.objectives.sdpo; of an objective also the file's.

    Raises UserError with the near misses where no such method is known.
    """
    if kind == "objectives" and is_file(name):
        return _from_file(Path(name).expanduser())
    if name in built_in(kind):
        return importlib.import_module(f"napo.{kind}.{name}")
    for point in entry_points(group=f"napo.{kind}", name=name):
        module: ModuleType = point.load()
        return module
    raise UserError(f"no {name!r} among {kind}", remedy=did_you_mean(name, names(kind)))


def objective(name: str, settings: Any) -> Any:
    """The objective of that name, built with its own Settings. Raises UserError where it does not say what it needs."""
    module = load("objectives", name)
    try:
        made = module.Objective(settings)
    except Exception as error:
        if not is_file(name) or isinstance(error, UserError):
            raise
        raise _fails("`Objective` can't be made", Path(str(module.__file__)), error) from error
    missing = [need for need in NEEDS if not isinstance(getattr(made, need, None), bool)]
    if missing:
        raise UserError(
            f"`Objective` does not say what it needs: no {', '.join(missing)}",
            where=str(module.__file__),
            remedy=f"`{missing[0]} = False`, or True, in its class; {GUIDE}",
        )
    return made


def is_file(name: str) -> bool:
    """Whether an objective's name is the path of a file."""
    return name.endswith(".py")


def file_digest(path: Path) -> str:
    """SHA-256 of a file: what makes an objective of the user's own the same."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _from_file(path: Path) -> ModuleType:
    """Runs the file, once for each content. Raises UserError where it can't be read or run, or lacks its classes."""
    try:
        name = f"_napo_objective_{file_digest(path)}"
    except OSError as error:
        raise UserError(f"no file {path}: {error.strerror}", where="objective.name", remedy="a path") from error
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs: pydantic looks up the types of its annotations there
    try:
        spec.loader.exec_module(module)
        _check_classes(module, path)
    except UserError:
        del sys.modules[name]
        raise
    except SyntaxError as error:
        del sys.modules[name]
        where = f"{error.filename or path}, line {error.lineno}" if error.lineno else str(path)
        raise UserError(f"no valid Python: {error.msg}", where=where, remedy=GUIDE) from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _fails("it can't be run", path, error) from error
    return module


def _fails(what: str, path: Path, error: BaseException) -> UserError:
    """The message for an error in a file of the user's, with its last line there."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    return UserError(f"{what}: {type(error).__name__}: {error}", where=where, remedy=GUIDE)


def _check_classes(module: ModuleType, path: Path) -> None:
    found = {name: getattr(module, name, None) for name in ("Settings", "Objective")}
    missing = [f"`{name}`" for name, value in found.items() if not isinstance(value, type)]
    if missing:
        raise UserError(f"no class {' and no class '.join(missing)}", where=str(path), remedy=GUIDE)
    bases = {"Settings": ("model_validate", "Strict"), "Objective": ("state_dict", "torch.nn.Module")}
    for name, (method, base) in bases.items():
        if not hasattr(found[name], method):
            raise UserError(f"`{name}` is no {base}", where=str(path), remedy=f"`class {name}({base}):`; {GUIDE}")
