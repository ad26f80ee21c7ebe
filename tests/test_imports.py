"""What may import what: the path of the code, held by reading the imports of every file."""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import napo
from tests.processes import printed

SOURCE = Path(napo.__file__).parent
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(napo.__path__, "napo.") if not module.name.endswith("__main__")
)
SMALL = {"napo", "napo.arrays", "napo.errors", "napo.files", "napo.processor", "napo.rng", "napo.settings"}
HEAVY = {"torch", "transformers", "polars", "matplotlib", "scipy", "peft", "accelerate"}
LIGHT_MODULES = [
    *(
        "napo",
        "napo.errors",
        "napo.files",
        "napo.rng",
        "napo.settings",
        "napo.plugins",
        "napo.arrays",
        "napo.processor",
    ),
    *(name for name in MODULES if name.split(".")[1].startswith("recipe")),
    *(name for name in MODULES if name.split(".")[1] == "cli"),
]

# folder: what of napo its files may import, at the top or inside functions
MAY_IMPORT = {
    "objectives": {"napo.objectives", "napo.scoring.scored"},
    "negatives": {"napo.negatives", "napo.data", "napo.plugins"},
    "labels": {"napo.labels", "napo.negatives"},
    "data": {"napo.data", "napo.recipe_keys"},
    "events": {"napo.events", "napo.data"},
    "prompts": {"napo.prompts", "napo.scoring.batch", "napo.scoring.tree"},
    "scoring": {"napo.scoring", "napo.data", "napo.prompts", "napo.models"},
    "models": {"napo.models", "napo.scoring", "napo.data", "napo.prompts", "napo.recipe_keys"},
    "evaluation": {"napo.evaluation", "napo.data", "napo.scoring", "napo.models", "napo.prompts", "napo.recipe"},
}
MAY_NOT_IMPORT = {"data": HEAVY - {"polars", "matplotlib"}, "negatives": HEAVY, "labels": HEAVY}


def imports_of(path: Path) -> Iterator[str]:
    """All that a file imports, but for the types that only a type checker sees."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unseen = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test).endswith("TYPE_CHECKING")
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written out in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name):
    importlib.import_module(name)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_follow_the_path(folder):
    small = SMALL - {"napo"}
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in sorted((SOURCE / folder).rglob("*.py"))
        for name in imports_of(path)
        if name.startswith("napo") and not is_in(name, MAY_IMPORT[folder] | small)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", MAY_NOT_IMPORT)
def test_a_folder_stays_free_of_what_it_has_no_use_for(folder):
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in sorted((SOURCE / folder).rglob("*.py"))
        for name in imports_of(path)
        if is_in(name, MAY_NOT_IMPORT[folder])
    ]
    assert wrong == []


def test_objectives_know_torch_and_our_types_and_nothing_else():
    foreign = {
        name.split(".")[0]
        for path in (SOURCE / "objectives").rglob("*.py")
        for name in imports_of(path)
        if name.split(".")[0] not in sys.stdlib_module_names
    }
    assert foreign <= {"napo", "torch", "numpy", "pydantic"}


def test_the_small_modules_and_the_command_line_import_nothing_heavy():
    code = f"""
import importlib, sys
for name in {LIGHT_MODULES}:
    importlib.import_module(name)
print(*sorted(set(sys.modules) & {HEAVY}))
"""
    assert printed(code) == ""


def test_no_file_is_longer_than_400_lines():
    lengths = {path.relative_to(SOURCE): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {str(path): lines for path, lines in lengths.items() if lines > 400} == {}
