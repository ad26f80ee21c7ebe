"""Training SASRec: the rows of a pass, negatives, a log it must learn, and runs broken off and resumed."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napo.data.candidates import draw_candidates
from napo.data.log import make_log
from napo.data.split import Split, make_split
from napo.errors import UserError
from napo.evaluation.metrics import ndcg_at
from napo.evaluation.protocols import evaluate_candidates
from napo.models.sasrec_scorer import SASRecScorer
from napo.training.auxiliary import AuxiliarySettings, draw_unseen, rows_of_pass, train_sasrec

HALF = 12


@pytest.fixture(scope="module")
def checkerboard() -> Split:
    """24 users; the even ones take the first 12 items, the odd ones the other 12, each in an order of their own."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:02d}", f"i{item + HALF * (user % 2):02d}", time)
        for user in range(24)
        for time, item in enumerate(rng.permutation(HALF))
    ]
    events = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String, "time": pl.Int64}, orient="row")
    return make_split(make_log(events, untitled="id"))


def settings_of(**changes: object) -> AuxiliarySettings:
    model = {"width": 16, "blocks": 1, "max_length": 8, "dropout": 0.1, **changes.pop("model", {})}
    return AuxiliarySettings(
        **{"model": model, "epochs": 6, "batch_size": 8, "lr": 0.01, "validate_every": 2, **changes}
    )


def lists_of(split: Split, part: str):
    cases = split.cases(part)
    return cases, draw_candidates(cases, count=10)


def weights_of(trained) -> torch.Tensor:
    return torch.cat([weights.flatten() for weights in trained.model.state_dict().values()])


sequences = st.lists(st.integers(0, 30).map(np.arange), max_size=5)


@given(trains=sequences, longest=st.integers(1, 9), epoch=st.integers(0, 3))
def test_every_item_stands_in_exactly_one_row_in_order(trains, longest, epoch):
    rows, users = rows_of_pass(trains, longest=longest, leave_out=0, seed=1, epoch=epoch)
    assert all(1 <= len(row) <= longest for row in rows)
    for user, items in enumerate(trains):
        own = [row for row, of in zip(rows, users, strict=True) if of == user]
        assert np.concatenate([*own, np.zeros(0)]).tolist() == items.tolist()


@given(trains=sequences, chance=st.floats(0, 0.9))
def test_what_is_left_out_is_gone_and_the_rest_keeps_its_order(trains, chance):
    rows, users = rows_of_pass(trains, longest=7, leave_out=chance, seed=1, epoch=0)
    for user, items in enumerate(trains):
        kept = np.concatenate([*(row for row, of in zip(rows, users, strict=True) if of == user), np.zeros(0)])
        assert set(kept) <= set(items)
        assert (np.diff(kept) > 0).all()


def test_leaving_out_is_drawn_anew_each_pass_and_by_nothing_but_its_key():
    trains = [np.arange(40), np.arange(100, 130)]

    def kept(seed: int, epoch: int, trains: list = trains) -> list[list[int]]:
        rows, users = rows_of_pass(trains, longest=9, leave_out=0.3, seed=seed, epoch=epoch)
        return [row.tolist() for row, user in zip(rows, users, strict=True) if user == 1]

    assert kept(0, 0) == kept(0, 0)
    assert kept(0, 0) != kept(0, 1)
    assert kept(0, 0) != kept(1, 0)
    assert kept(0, 0) == kept(0, 0, [np.arange(3), trains[1]])  # the other user's items change nothing


def test_about_the_chance_is_left_out():
    rows, _ = rows_of_pass([np.arange(1000)] * 4, longest=50, leave_out=0.25, seed=0, epoch=0)
    # 4,000 items: standard error sqrt(.25 * .75 / 4000) = 0.007
    assert sum(map(len, rows)) / 4000 == pytest.approx(0.75, abs=0.03)


@given(seen=st.sets(st.integers(0, 9), max_size=9))
def test_unseen_items_are_drawn_all_and_only(seen):
    drawn = draw_unseen(np.array(sorted(seen), dtype=np.int64), 10, (300, 2), np.random.default_rng(0))
    assert drawn.shape == (300, 2)
    assert set(drawn.ravel().tolist()) == set(range(10)) - seen


@pytest.mark.parametrize("loss", ["ce", "bce", "gbce"])
def test_users_who_stay_in_their_half_are_learnt(checkerboard, loss):
    trained = train_sasrec(
        checkerboard,
        settings_of(epochs=30, validate_every=5, model={"loss": loss, "negatives": 4}),
        0,
        cases=checkerboard.cases("valid"),
        lists=lists_of(checkerboard, "valid")[1],
    )
    result = evaluate_candidates(SASRecScorer(trained.model), *lists_of(checkerboard, "test"))
    assert (result.ranks == 1).mean() > 0.9  # chance is 0.1


@pytest.mark.parametrize("norm", ["pre", "original"])
def test_the_weights_are_those_of_the_best_validation(checkerboard, norm):
    cases, lists = lists_of(checkerboard, "valid")
    trained = train_sasrec(checkerboard, settings_of(model={"norm": norm}), 3, cases=cases, lists=lists)
    assert [seen.epoch for seen in trained.validations] == [2, 4, 6]
    assert trained.best.ndcg == max(seen.ndcg for seen in trained.validations)
    ranks = evaluate_candidates(SASRecScorer(trained.model), cases, lists).ranks
    assert ndcg_at(ranks).mean() == pytest.approx(trained.best.ndcg, abs=1e-12)
    assert not trained.model.training


def test_a_run_without_gain_stops_early(checkerboard):
    cases, lists = lists_of(checkerboard, "valid")
    settings = settings_of(lr=1e-12, epochs=50, validate_every=1, patience=2)
    trained = train_sasrec(checkerboard, settings, 0, cases=cases, lists=lists)
    assert (trained.best_epoch, len(trained.validations)) == (1, 3)


def test_held_out_items_change_no_weight(checkerboard):
    swapped = [items.copy() for items in checkerboard.sequences]
    for items in swapped:
        items[-2:] = items[-2:][::-1]
    other = dataclasses.replace(checkerboard, sequences=tuple(swapped))
    one, two = (
        train_sasrec(split, settings_of(epochs=2), 0, cases=cases, lists=lists)
        for split in (checkerboard, other)
        for cases, lists in [lists_of(split, "valid")]
    )
    torch.testing.assert_close(weights_of(one), weights_of(two), rtol=0, atol=0)


def test_training_leaves_the_global_generator_alone_and_heeds_its_seed(checkerboard):
    cases, lists = lists_of(checkerboard, "valid")
    before = torch.random.get_rng_state()
    one, same, other = (train_sasrec(checkerboard, settings_of(), seed, cases=cases, lists=lists) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(weights_of(one), weights_of(same))
    assert not torch.equal(weights_of(one), weights_of(other))


@pytest.mark.parametrize("stop_at", [2, 3, 6])
def test_a_resumed_run_ends_like_an_unbroken_one(checkerboard, tmp_path, stop_at):
    cases, lists = lists_of(checkerboard, "valid")
    settings = settings_of(model={"loss": "bce", "dropout": 0.3})
    unbroken = train_sasrec(checkerboard, settings, 0, cases=cases, lists=lists)

    def stop(done: int, total: int, figures: dict[str, float]) -> None:
        assert total == 6
        assert ("ndcg" in figures) == (done % 2 == 0)
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_sasrec(checkerboard, settings, 0, cases=cases, lists=lists, progress=stop, resume_folder=tmp_path)
    (tmp_path / "something of the user's").touch()
    resumed = train_sasrec(checkerboard, settings, 0, cases=cases, lists=lists, resume_folder=tmp_path)
    assert torch.equal(weights_of(unbroken), weights_of(resumed))
    assert unbroken.validations == resumed.validations
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sasrec", "something of the user's"]


def test_a_run_is_not_resumed_with_another_seed(checkerboard, tmp_path):
    cases, lists = lists_of(checkerboard, "valid")
    train_sasrec(checkerboard, settings_of(epochs=2), 0, cases=cases, lists=lists, resume_folder=tmp_path)
    with pytest.raises(UserError, match="other data, settings or seed"):
        train_sasrec(checkerboard, settings_of(epochs=2), 1, cases=cases, lists=lists, resume_folder=tmp_path)


def test_a_user_who_took_everything_leaves_bce_without_a_negative(checkerboard):
    everything = np.arange(2 * HALF)
    cases, lists = lists_of(checkerboard, "valid")
    greedy = dataclasses.replace(
        checkerboard,
        sequences=(everything, *checkerboard.sequences[1:]),
        valid_from=np.array([2 * HALF, *checkerboard.valid_from[1:]]),
        test_from=np.array([2 * HALF, *checkerboard.test_from[1:]]),
    )
    with pytest.raises(UserError, match="every item"):
        train_sasrec(greedy, settings_of(leave_out=0, model={"loss": "bce"}), 0, cases=cases, lists=lists)
