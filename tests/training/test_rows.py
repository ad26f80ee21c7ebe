"""Data that come as rows go through every stage: each row trains its next item, once, behind its own history."""

from typing import Any

import numpy as np
import pytest

from napo.data.prepare import prepare
from napo.evaluation.judge import baseline_results, checks_of, table_of
from napo.evaluation.runs import evaluate_run
from napo.models.sasrec import SASRecSettings
from napo.recipe import Recipe, check_methods
from napo.serving.recommender import Recommender
from napo.training.auxiliary import AuxiliarySettings, _Run, windows_of_pass
from napo.training.examples import kept_back
from napo.training.report import write_run
from napo.training.run import train_recipe
from tests.data.row_files import write_chain
from tests.tiny_world import Quiet, World, tiny_keys


def row_recipe(folder, *, lists: bool = True, **sections: Any) -> Recipe:
    """tiny_keys on the rows of 12 users: of windows of 3 and 4 items 24 train; 12 validate, 12 test."""
    write_chain(folder / "rows", lists=lists)
    keys = tiny_keys(folder)
    held = "json.gz" if lists else "jsonl"
    names = {"train": "train.jsonl.gz", "valid": f"valid.{held}", "test": f"test.{held}", "items": "items.tsv.gz"}
    keys["data"] = {name: str(folder / "rows" / file) for name, file in names.items()}
    keys["split"] = {"name": "files"}
    for name, section in sections.items():
        keys[name] = {**keys.get(name, {}), **section} if "name" not in section else section
    return check_methods(Recipe.model_validate(keys))


class Rows(World):
    """A World of rows."""

    @classmethod
    def of(cls, folder, **sections: Any) -> "Rows":
        from napo.models.language import create

        recipe = row_recipe(folder, **sections)
        prepared = prepare(recipe)
        return cls(
            recipe, prepared, create(recipe.model, prepared.log.catalog, recipe.prompt, recipe.normalize, recipe.seed)
        )


def trained_of(batches) -> list[tuple[int, int]]:
    """(row, chosen item) of every trained place of an epoch."""
    found = []
    for step in range(batches.plan.steps):
        batch = batches[step]
        found += zip(batch["user"].tolist(), batch["chosen"].tolist(), strict=True)
    return sorted(found)


@pytest.mark.parametrize("form", ["trajectory", "prompt"])
@pytest.mark.parametrize("shift", [False, True])
def test_each_training_row_trains_its_next_item_once(tmp_path, form, shift):
    keys = {"form": form, "shift": shift}
    world = Rows.of(tmp_path, sft=keys, preference=keys, objective={"name": "sdpo"})
    split = world.prepared.split
    rows = [row for row in range(len(split.sequences)) if len(split.train(row))]
    assert len(rows) == 24
    expected = [(row, int(split.sequences[row][-1])) for row in rows]
    assert trained_of(world.supervised().batches) == expected
    preference = world.preference().batches
    assert trained_of(preference) == expected
    batch = preference[0]
    for row, rejected in zip(batch["user"].tolist(), batch["rejected"].tolist(), strict=True):
        assert not set(rejected) & set(split.sequences[row].tolist())  # nothing of its window is rejected


def test_rows_are_kept_back_whole(tmp_path):
    split = prepare(row_recipe(tmp_path)).split
    first, end = kept_back(split, 0.5)
    back = end - first
    assert 4 <= back.sum() <= 20
    assert set(back.tolist()) == {0, 1}
    assert not back[[row for row in range(len(back)) if not len(split.train(row))]].any()
    np.testing.assert_array_equal(kept_back(split, 0.0)[0], end)


def test_a_window_never_leaves_out_what_it_trains():
    windows = [np.arange(start, start + 8) for start in range(200)] + [np.zeros(0, dtype=np.int64)]
    rows, users = windows_of_pass(windows, longest=5, leave_out=0.5, seed=0, epoch=0)
    assert users == list(range(200))
    assert [int(row[-1]) for row in rows] == [start + 7 for start in range(200)]
    assert max(map(len, rows)) == 5
    assert 3 < np.mean([len(row) for row in rows]) < 5  # 1 + 3.5 of the 7, cut at 5


@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_sasrec_predicts_the_last_item_of_a_window_and_no_other(tmp_path, loss):
    split = prepare(row_recipe(tmp_path)).split
    settings = AuxiliarySettings(model=SASRecSettings(width=8, heads=1, loss=loss), epochs=1)
    run = _Run(split, settings, 0, "cpu")
    targets = []
    plain = run.model.place_losses

    def recording(states, ids, negatives=None):
        targets.extend(ids.tolist())
        assert negatives is None or len(negatives) == len(ids)
        return plain(states, ids, negatives)

    run.model.place_losses = recording
    run.train_epoch()
    assert sorted(targets) == sorted(int(item) for row in range(len(split.sequences)) for item in split.train(row))


def test_the_released_lists_are_a_protocol_of_their_own(tmp_path):
    prepared = prepare(row_recipe(tmp_path, evaluation={"protocols": ["cand20", "legacy"], "ks": [1, 5]}))
    legacy = prepared.under("legacy")
    assert (legacy.test_lists.items.shape, prepared.test_lists.items.shape) == ((12, 5), (12, 20))
    rows = baseline_results(legacy, "legacy", ks=(1, 5))
    table = table_of("legacy", rows, checks_of(legacy), base="popularity")
    assert "legacy, 5 candidates as released" in table.heading
    assert "12 test cases of 12 rows" in table.heading
    assert any("intervals resample rows" in note for note in table.footer)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sections",
    [
        {"objective": {"name": "napo"}},
        {"objective": {"name": "sdpo"}, "sft": {"form": "prompt"}, "preference": {"form": "prompt"}},
        {
            "objective": {"name": "sdpo"},
            "prompt": {"kind": "list", "template": "list"},
            "sft": {"form": "prompt"},
            "preference": {"form": "prompt"},
            "candidates": {"count": 5},
            "evaluation": {"protocols": ["cand20", "legacy"], "ks": [1, 5]},  # such a prompt ranks no whole catalog
        },
    ],
    ids=["napo", "prompts", "lists"],
)
def test_rows_go_from_files_to_a_report_and_recommendations(tmp_path, sections):
    short = {"epochs": 1.0, "lr": 1e-3, "warmup_steps": 0}
    for stage in ("sft", "preference"):
        sections = {**sections, stage: {**short, **sections.get(stage, {})}}
    sections = {"evaluation": {"protocols": ["cand20", "full", "legacy"], "ks": [1, 5]}, **sections}
    recipe = row_recipe(tmp_path, **sections)
    run = train_recipe(recipe, tmp_path / "run", progress=Quiet())
    comparison, report = write_run(run, command="napo train")
    assert set(comparison.tables) == set(recipe.evaluation.protocols)
    assert "rows carry no user" in report.read_text(encoding="utf-8")
    (table,) = evaluate_run(tmp_path / "run", protocol="legacy")
    assert {row.name for row in table.rows} >= {"chance", "blind slot rule", "popularity"}
    recommender = Recommender.load(tmp_path / "run")
    assert recommender.users == ()
    if recipe.prompt.kind == "next":
        assert len(recommender.recommend(["Artist 3", "Artist 4", "Artist 5"], k=3).items) == 3
