import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from napo import demo
from napo.errors import UserError
from tests.tiny_world import Quiet, write_log

RECIPES = Path(__file__).parents[1] / "recipes"


def test_outside_a_clone_it_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no recipes/ml100k here"):
        demo.run_demo(full=False, console=Console(file=StringIO()), progress=Quiet())


@pytest.mark.slow
def test_the_demo_compares_reports_and_recommends(tmp_path, monkeypatch):
    """The real recipes on a small log: what a newcomer sees, in a minute."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RECIPES, tmp_path / "recipes")
    write_log(tmp_path / "data", chain=True)
    base = tmp_path / "recipes" / "ml100k" / "base.yaml"
    text = base.read_text().replace(
        "{source: ml-100k}", "{interactions: ../../data/log.csv, items: ../../data/items.csv}"
    )
    base.write_text(text.replace("min_rating: 4, ", ""))
    monkeypatch.setattr(demo, "fetch", lambda name: type("Fetched", (), {"terms": f"the terms of {name}"}))
    shown = StringIO()
    comparison = demo.run_demo(full=False, console=Console(file=shown, width=200), progress=Quiet())
    said = shown.getvalue()
    assert "the terms of ml-100k" in said
    assert "Short runs" in said
    rows = [row.name for row in comparison.tables["cand20"].rows]
    assert rows == ["chance", "blind slot rule", "popularity", "SASRec", "SFT", "SFT longer", "DPO", "S-DPO", "NAPO"]
    assert said.count("SFT would name:") == said.count("NAPO would name:") == 3
    assert (tmp_path / "runs" / "demo" / "report.html").is_file()
    named = [line for line in said.splitlines() if "would name:" in line]
    titles = [title.strip() for line in named for title in line.partition(":")[2].split(";")]
    assert all(title.startswith("Title number ") for title in titles if title)
