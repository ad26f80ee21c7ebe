"""The comparison that comes with napo, on a log and with a method of somebody's own: one command."""

from pathlib import Path

import polars as pl
import pytest

from tests.commands import napo_in
from tests.tiny_world import write_log

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "own-objective.md"
SMALL = (
    *("model.width=16", "model.layers=1", "model.heads=2", "model.feed_forward=32", "model.vocabulary=300"),
    *("sft.epochs=0.5", "sft.batch=8", "preference.epochs=0.5"),
    *("auxiliary.epochs=2", "auxiliary.validate_every=1", "auxiliary.model={width: 8, heads: 1}"),
)


@pytest.mark.slow
def test_an_own_log_and_an_own_objective_go_through_the_same_comparison(tmp_path):
    write_log(tmp_path)
    example = GUIDE.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    (tmp_path / "hinge.py").write_text(example, encoding="utf-8")
    files = ("--interactions", str(tmp_path / "log.csv"), "--items", str(tmp_path / "items.csv"))
    words = ("--quick", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path / "out"))
    ran = napo_in(ROOT)("reproduce", "napo", *SMALL, *files, "--method", str(tmp_path / "hinge.py"), *words)
    assert ran.code == 0, ran.err
    assert "hinge better than SFT:" in ran.out
    means = pl.read_parquet(tmp_path / "out" / "napo-quick" / "store" / "metrics.parquet")
    rows = set(means.filter(data="log", protocol="cand20")["row"])
    assert rows == {"chance", "blind slot rule", "popularity", "SASRec", "SFT", "S-DPO", "NAPO", "hinge"}
