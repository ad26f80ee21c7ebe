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
