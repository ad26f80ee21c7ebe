import multiprocessing
import os
import signal
import time

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from napo.experiments.plan import load_plan
from napo.experiments.runner import Outcomes, _Queue, run_plan
from napo.experiments.store import CLOCKS
from napo.experiments.sweep import run_sweep
from tests.experiments.world import Watched, write_recipes, write_sweep

SWEEP = """
methods:
  SFT: {recipe: sft.yaml}
  NAPO: {recipe: napo.yaml, with: {preference: {epochs: 2, save_every: 1}}}
data: {toy: {}}
"""


def read(store):
    """The store without its clocks: everything that a killed sweep must not change."""
    frames = {path.name: pl.read_parquet(path) for path in store.folder.glob("*.parquet") if path.stem != "costs"}
    frames["curves.parquet"] = frames["curves.parquet"].drop(CLOCKS, strict=False)
    return frames, (store.folder / "checks.json").read_text(), (store.folder / "sweep.json").read_text()


def assert_same(one, other):
    assert one[1:] == other[1:]
    assert one[0].keys() == other[0].keys()
    for name, frame in one[0].items():
        assert_frame_equal(frame, other[0][name])


class TestQueue:
    """Cells of a start come one by one until it is made."""

    @pytest.fixture
    def cells(self, tmp_path):
        write_recipes(tmp_path)
        return load_plan(write_sweep(tmp_path, SWEEP + "seeds: 2\nbaselines: false")).cells

    def names(self, *cells):
        return [(cell.method, cell.seed) for cell in cells]

    def test_the_first_of_each_start_goes_ahead(self, cells):
        queue = _Queue(cells)
        assert self.names(queue.take(), queue.take()) == [("SFT", 0), ("SFT", 1)]

    def test_the_others_follow_when_it_has_ended_well(self, cells):
        queue = _Queue(cells)
        first, _ = queue.take(), queue.take()
        queue.ended(first, well=True)
        assert self.names(queue.take()) == [("NAPO", 0)]

    def test_what_fails_when_its_start_is_there_leaves_the_start(self, cells):
        queue = _Queue(cells)
        first, _ = queue.take(), queue.take()
        queue.ended(first, well=True)
        queue.ended(first, well=False)
        assert self.names(queue.take()) == [("NAPO", 0)]
        assert first.start in queue._made

    def test_where_it_failed_the_next_one_makes_the_start(self, cells):
        queue = _Queue(cells)
        first, _ = queue.take(), queue.take()
        queue.ended(first, well=False)
        second = queue.take()
        assert self.names(second) == [("NAPO", 0)]
        assert queue._making[second.start] == second.key

    def test_a_closed_queue_has_nothing_left(self, cells):
        queue = _Queue(cells)
        queue.close()
        assert queue.take() is None


@pytest.mark.slow
def test_a_sweep_that_was_killed_and_gone_on_with_leaves_the_same_store(tmp_path):
    write_recipes(tmp_path)
    plan = load_plan(write_sweep(tmp_path, SWEEP))
    whole = run_sweep(plan, tmp_path / "whole", Watched())
    assert whole.outcomes.failed == {}

    def kill(cell, stage, done):
        if cell.method == "NAPO" and stage == "NAPO" and done >= 3:
            for process in multiprocessing.active_children():
                if process.name == cell.key:
                    os.kill(process.pid, signal.SIGKILL)

    first = Watched(kill)
    broken = run_sweep(plan, tmp_path / "broken", first)
    assert list(broken.outcomes.failed) == [cell.key for cell in plan.cells if cell.method == "NAPO"]
    assert "killed by signal 9" in first.failures[0]
    second = Watched()
    mended = run_sweep(plan, tmp_path / "broken", second)
    assert second.begun == ["NAPO"]  # nothing that was done is done again
    assert len(mended.outcomes.kept) == len({cell.key for cell in plan.cells}) - 1
    assert_same(read(mended.store), read(whole.store))


@pytest.mark.slow
def test_cells_side_by_side_leave_the_same_store_as_one_by_one(tmp_path):
    write_recipes(tmp_path)
    plan = load_plan(write_sweep(tmp_path, SWEEP + "seeds: 2"))
    one = run_sweep(plan, tmp_path / "one", Watched())
    two = run_sweep(plan, tmp_path / "two", Watched(), jobs=2)
    assert_same(read(two.store), read(one.store))


@pytest.mark.slow
def test_the_others_of_a_start_begin_while_the_first_is_judged(tmp_path):
    write_recipes(tmp_path)
    plan = load_plan(write_sweep(tmp_path, SWEEP + "baselines: false"))
    begun_while_judged = []  # at each word of the first's judging

    def wait(cell, stage, done):
        if cell.method == "SFT" and stage.startswith("judging"):
            end = time.monotonic() + 20
            while "NAPO" not in board.begun and time.monotonic() < end:
                time.sleep(0.02)
            begun_while_judged.append("NAPO" in board.begun)

    board = Watched(wait)
    assert run_plan(plan, tmp_path / "out", board, jobs=2).failed == {}
    assert begun_while_judged
    assert all(begun_while_judged)


@pytest.mark.slow
def test_a_cell_that_fails_costs_the_others_nothing_and_is_tried_again(tmp_path):
    write_recipes(tmp_path)
    plan = load_plan(write_sweep(tmp_path, SWEEP + "baselines: false"))
    out = tmp_path / "out"
    blocked = out / "cells" / plan.cells[1].key
    blocked.mkdir(parents=True)
    (blocked / "notes.txt").write_text("mine")
    board = Watched()
    outcomes = run_plan(plan, out, board)
    assert outcomes.done == [plan.cells[0].key]
    assert "is not empty and holds no run" in outcomes.failed[plan.cells[1].key]
    (blocked / "notes.txt").unlink()
    assert run_plan(plan, out, Watched()) == Outcomes(done=[plan.cells[1].key], kept=[plan.cells[0].key])


def test_what_methods_lean_on_is_made_before_them(tmp_path, monkeypatch):
    write_recipes(tmp_path)
    plan, board = load_plan(write_sweep(tmp_path, SWEEP)), Watched()
    monkeypatch.setattr("napo.experiments.runner._run", lambda cell, out, board, trained: None)
    run_plan(plan, tmp_path / "out", board)
    assert board.begun == ["chance", "blind slot rule", "popularity", "SASRec", "SFT", "NAPO"]
