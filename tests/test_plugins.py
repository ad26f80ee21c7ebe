from dataclasses import dataclass
from types import ModuleType

import pytest

from napo import plugins
from napo.errors import UserError
from tests.processes import printed


@dataclass(frozen=True)
class Point:
    """An entry point of another package."""

    name: str
    module: ModuleType

    def load(self) -> ModuleType:
        return self.module


@pytest.fixture
def other_package(monkeypatch):
    """Brings the objective `theirs`, and one called `sdpo` as ours is."""
    modules = {name: ModuleType(name) for name in ("theirs", "sdpo")}

    def entry_points(*, group: str, name: str | None = None) -> list[Point]:
        points = [Point(known, module) for known, module in modules.items()] if group == "napo.objectives" else []
        return [point for point in points if name in (None, point.name)]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return modules


def test_a_methods_name_is_its_modules_name():
    assert plugins.load("objectives", "sdpo").__name__ == "napo.objectives.sdpo"


def test_private_modules_are_no_methods():
    assert "sdpo" in plugins.names("objectives")
    assert not [name for name in plugins.names("objectives") if name.startswith("_")]


def test_an_unknown_name_is_answered_with_the_near_misses():
    with pytest.raises(UserError, match="no 'sdop' among objectives") as caught:
        plugins.load("objectives", "sdop")
    assert "`sdpo`" in caught.value.remedy


@pytest.mark.usefixtures("other_package")
def test_another_packages_methods_are_listed_with_ours_and_once():
    names = plugins.names("objectives")
    assert "theirs" in names
    assert names.count("sdpo") == 1
    assert "theirs" not in plugins.names("negatives")


def test_another_packages_method_is_loaded_but_ours_is_not_replaced(other_package):
    assert plugins.load("objectives", "theirs") is other_package["theirs"]
    assert plugins.load("objectives", "sdpo").__name__ == "napo.objectives.sdpo"


def test_listing_names_imports_no_torch():
    code = "import sys; from napo import plugins; print(plugins.names('objectives'), 'torch' in sys.modules)"
    listed = printed(code)
    assert "'sdpo'" in listed
    assert listed.endswith("False")


# An objective's own file

WHOLE = """
from torch import nn
from napo.objectives import Strict

class Settings(Strict):
    weight: float = 1.0

class Objective(nn.Module):
    needs_rejected = needs_reference = needs_auxiliary = False

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
"""


def own(tmp_path, code: str):
    path = tmp_path / "mine.py"
    path.write_text(code)
    return path


def test_an_objective_may_be_a_file(tmp_path):
    module = plugins.load("objectives", str(own(tmp_path, WHOLE)))
    made = plugins.objective(module.__file__, module.Settings(weight=2.0))
    assert made.settings.weight == 2.0


def test_a_file_is_run_once_for_each_content(tmp_path):
    first = plugins.load("objectives", str(own(tmp_path, WHOLE)))
    assert plugins.load("objectives", str(own(tmp_path, WHOLE))) is first
    other = plugins.load("objectives", str(own(tmp_path, WHOLE + "\nCHANGED = True\n")))
    assert other.CHANGED
    assert not hasattr(first, "CHANGED")


def test_settings_may_be_annotated_by_names_that_python_reads_later(tmp_path):
    code = "from __future__ import annotations\nfrom typing import Literal\nKind = Literal['a', 'b']\n" + WHOLE.replace(
        "weight: float = 1.0", "kind: Kind = 'a'"
    )
    assert plugins.load("objectives", str(own(tmp_path, code))).Settings(kind="b").kind == "b"


@pytest.mark.parametrize(
    ("code", "what", "line"),
    [
        ("x = 1\ndef f(:\n", "no valid Python", 2),
        ("import torch\nimport no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'", 2),
        ("a = 1\nb = 2\nc = a / 0\n", "ZeroDivisionError", 3),
        ("", "no class `Settings` and no class `Objective`", None),
        (WHOLE.split("class Objective")[0], "no class `Objective`", None),
        (WHOLE.replace("(nn.Module)", ""), "`Objective` is no torch.nn.Module", None),
        (WHOLE.replace("(Strict)", ""), "`Settings` is no Strict", None),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(tmp_path, code, what, line):
    path = own(tmp_path, code)
    for _ in range(2):  # nothing of the first try stays
        with pytest.raises(UserError) as caught:
            plugins.load("objectives", str(path))
        assert what in caught.value.what
        assert caught.value.where == (str(path) if line is None else f"{path}, line {line}")
        assert "docs/own-objective.md" in caught.value.remedy


def test_an_objective_that_does_not_say_what_it_needs_is_a_mistake(tmp_path):
    path = own(tmp_path, WHOLE.replace("needs_reference = ", ""))
    module = plugins.load("objectives", str(path))
    with pytest.raises(UserError, match="no needs_reference") as caught:
        plugins.objective(str(path), module.Settings())
    assert caught.value.where == str(path)


def test_a_file_that_is_not_there_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="no file"):
        plugins.load("objectives", str(tmp_path / "gone.py"))


def test_only_objectives_may_be_files(tmp_path):
    with pytest.raises(UserError, match="among negatives"):
        plugins.load("negatives", str(own(tmp_path, WHOLE)))
