"""The documentation as a site: its generated pages hold everything, and it is built without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from napo import plugins
from napo.recipe_keys import Recipe

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs" / "reference_pages.py")
assert _SPEC is not None
assert _SPEC.loader is not None
PAGES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(PAGES)


def test_every_key_of_a_recipe_has_a_row_with_its_default():
    page = PAGES.recipe_page()
    for name in Recipe.model_fields:
        assert f"\n## {name}\n" in page or f"\n| `{name}` |" in page, name
    assert "| `split.min_history` | whole number, at least 1 | 3 |" in page
    assert "| `candidates.seed` | whole number, at least 0 | 0 |" in page  # and not false, which equals 0
    # a comment behind the key; one over two lines above it; a base's comment beside the section's own default
    assert "| `model.vocabulary` | whole number, at least 300 | 8192 | tokens, of which 256 are the bytes |" in page
    assert "by `spelling` or an embedder's name; null: its best titles, exactly |" in page
    assert "| `sft.leave_out` | number, at least 0, below 1 | 0.2 | chance of each history item" in page
    assert "* `core`: leave out users and items with fewer events" in page


def test_every_method_is_there_with_its_settings():
    page = PAGES.methods_page()
    for kind in PAGES.KINDS:
        assert all(f"\n### {name}\n" in page for name in plugins.built_in(kind))
    assert "| `power` | number, at least 0 | 1 | Exponent of an item's number of training events; 0: uniform. |" in page
    assert "`sharing.accept_ratio`" in page  # of a section within


def test_every_command_says_itself():
    page = PAGES.command_page()
    assert {(), ("train",), ("data", "inspect"), ("catalog", "add")} <= set(PAGES.commands())
    assert all(f"\n## {' '.join(('napo', *words))}\n" in page for words in PAGES.commands())
    assert "Usage: napo train [OPTIONS]" in page
    assert "--min-rating" in page


def test_the_site_has_every_page():
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert written - set(listed) == set()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for path in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'(?:src="|<link[^>]* href=")((?:https?:)?//[^"]*)', path.read_text(encoding="utf-8"))
        assert loaded == [], path
    python = (tmp_path / "site" / "reference" / "python.html").read_text(encoding="utf-8")
    assert "recommend_many" in python
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text().split("plugins:")[0])["theme"]["font"] is False
