"""What is in the package that is built from here, and what it asks for."""

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.wheels import built_wheel

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
REQUIRED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]


def same(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("requirement", REQUIRED)
def test_what_is_asked_for_is_pinned_to_a_version_within_its_bounds(requirement):
    from packaging.requirements import Requirement

    asked = Requirement(requirement)
    if asked.name == "setuptools":  # brought by whoever builds
        return
    pinned = {same(name): version for name, version in PINNED.items()}
    assert pinned[same(asked.name)] in asked.specifier


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_every_dependency_has_a_lower_and_an_upper_bound(requirement):
    assert ">=" in requirement
    assert ",<" in requirement


def test_pins_are_versions_alone():
    assert [f"{name}=={version}" for name, version in PINNED.items() if not re.fullmatch(r"[0-9a-z.]+", version)] == []


@pytest.mark.slow
def test_the_wheel_holds_the_templates_and_the_page_and_the_mark_of_typed_code(tmp_path):
    with zipfile.ZipFile(built_wheel(tmp_path)) as packed:
        names = packed.namelist()
    assert {"napo/py.typed", "napo/prompts/next.txt", "napo/prompts/list.txt", "napo/cli/__init__.py"} <= set(names)
    assert {"napo/serving/http/static/page.html", "napo/serving/http/static/docs.js"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
