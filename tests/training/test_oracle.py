import json

import numpy as np
import polars as pl
import pytest
import torch

from napo.data.log import make_log
from napo.data.rows import Rows
from napo.data.split import Cases, Split, make_split
from napo.errors import UserError
from napo.negatives._protocol import SamplerContext
from napo.negatives.uniform import Sampler, Settings
from napo.objectives.rosepo import fitted_temperature
from napo.training import stages
from napo.training.auxiliary import AuxiliarySettings, train_sasrec
from napo.training.oracle import Judges, folds_of, held_out_margins
from napo.training.run import train_recipe
from tests.tiny_world import Quiet, World, split_of, tiny_recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World.of(tmp_path_factory.mktemp("world"), objective={"name": "rosepo"}, negatives={"count": 2})


def judges_of(world: World, folds: int = 1) -> Judges:
    if folds == 1:
        return Judges.alone(world.auxiliary(), 30)
    models = tuple(world.auxiliary(folds, fold) for fold in range(folds))
    return Judges(models, folds_of(world.prepared.split, folds, seed=0))


def sampler_of(world, drawn):
    class Watched(Sampler):
        def draw(self, example, seen, count, rng):
            items = super().draw(example, seen, count, rng)
            drawn.append((example, seen, items))
            return items

    return Watched(SamplerContext(40, world.prepared.split.popularity), Settings())


def test_margins_are_the_targets_score_less_that_of_each_item_drawn_as_in_training(world):
    drawn, model, cases = [], world.auxiliary(), world.prepared.valid
    margins = held_out_margins(cases, sampler_of(world, drawn), judges_of(world), 2, seed=0)
    assert margins.shape == (60,)  # 30 cases, 2 items each
    expected = []
    for case, (example, seen, items) in enumerate(drawn):
        assert (example.user, example.chosen) == (cases.user[case], cases.target[case])
        assert set(seen.tolist()) == {*world.prepared.split.seen(example.user).tolist(), example.chosen}
        scores = model.scores([cases.history(case)])[0]
        expected += [float(scores[example.chosen] - scores[item]) for item in items]
    np.testing.assert_allclose(margins.numpy(), expected, atol=1e-5)


def test_what_a_sampler_proposes_for_all_together_makes_pairs_but_for_the_target_itself(world):
    cases, model = world.prepared.valid, world.auxiliary()
    asked = []

    class Proposes:
        def propose(self, examples, seen, count, keys):
            asked.append((len(examples), count, len(set(keys))))
            rejected = [(example.chosen + 1) % 40 for example in examples]
            return np.array([[example.chosen, item, -1] for example, item in zip(examples, rejected, strict=True)])

    margins = held_out_margins(cases, Proposes(), judges_of(world), 3, seed=0)
    assert asked == [(30, 3, 30)]
    scores = [model.scores([cases.history(case)])[0] for case in range(30)]
    expected = [mine[target] - mine[(target + 1) % 40] for mine, target in zip(scores, cases.target, strict=True)]
    np.testing.assert_allclose(margins.numpy(), expected, atol=1e-5)

    class ProposesNothing(Proposes):
        def propose(self, examples, seen, count, keys):
            return np.array([[example.chosen] * 3 for example in examples])

    with pytest.raises(UserError, match="no validation case has a rejected item"):
        held_out_margins(cases, ProposesNothing(), judges_of(world), 3, seed=0)


def test_the_same_seed_draws_the_same_pairs(world):
    one, same, other = (
        held_out_margins(world.prepared.valid, sampler_of(world, []), judges_of(world), 2, seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_objective_of_the_stage_is_calibrated_before_it_trains(world, monkeypatch):
    # margins log 4, of which 8 in 10 are in order: the temperature is 1 / 2 where they are halved
    margins = torch.tensor([1.386294] * 8 + [-1.386294] * 2, dtype=torch.float64) / 2
    monkeypatch.setattr(stages, "held_out_margins", lambda *asked: margins)
    assert world.preference().objective.temperature.item() == pytest.approx(0.5, abs=1e-5)


# Folds: each user is judged by a model that has trained on others


def test_folds_are_of_like_size_and_the_same_for_the_same_seed():
    split = split_of([[0, 1, 2]] * 11, items=4)
    fold = folds_of(split, 3, seed=5)
    assert sorted(np.bincount(fold).tolist()) == [3, 4, 4]
    assert fold.tolist() == folds_of(split, 3, seed=5).tolist() != folds_of(split, 3, seed=6).tolist()


def test_all_rows_of_a_user_are_in_one_fold():
    whole = split_of([[0, 1, 2]] * 6, items=4)
    users = np.array([3, 1, 3, 0, 1, 3])
    rows = Rows(np.zeros(6, dtype=np.int64), whole.sequences, users, tuple("abcd"))
    split = Split(**{**{name: value for name, value in vars(whole).items() if name != "digest"}, "rows": rows})
    fold = folds_of(split, 2, seed=0)
    assert {len(set(fold[users == user].tolist())) for user in (0, 1, 3)} == {1}
    assert set(fold.tolist()) == {0, 1}


def test_more_folds_than_users_are_a_users_mistake():
    with pytest.raises(UserError, match="2 users can't be dealt out to 3 folds") as caught:
        folds_of(split_of([[0, 1, 2]] * 2, items=4), 3, seed=0)
    assert caught.value.where == "objective.folds"


def test_a_product_of_vectors_is_the_score_of_the_model_that_judges_the_user(world):
    judges, split = judges_of(world, folds=3), world.prepared.split
    histories = [split.sequences[user][:4] for user in range(30)]
    items = np.tile(np.arange(40), (30, 1))
    scores = judges.scores(np.arange(30), histories, items)
    for user, history in enumerate(histories):
        own = judges.models[judges.fold[user]].scores([history])[0].numpy()
        vector = judges.history_vectors(user, [history])[0]
        np.testing.assert_allclose(judges.item_vectors @ vector, own, atol=1e-5)
        np.testing.assert_allclose(scores[user], own, atol=1e-5)
    assert len({float(score) for score in scores[:, 0].round(4)}) > 3


def test_the_stage_asks_for_a_model_a_fold_and_judges_trained_pairs_by_them(tmp_path):
    made = World.of(tmp_path, objective={"name": "rosepo", "folds": 3, "temperature": 1.0}, negatives={"count": 2})
    asked, auxiliary = [], made.auxiliary

    def ask(folds=1, fold=0):
        asked.append((folds, fold))
        return auxiliary(folds, fold)

    made.auxiliary = ask
    batch = made.preference().batches[0]
    assert asked == [(3, 0), (3, 1), (3, 2)]
    fold = folds_of(made.prepared.split, 3, made.recipe.seed)
    for example, (user, chosen) in enumerate(zip(batch["user"].tolist(), batch["chosen"].tolist(), strict=True)):
        sequence = made.prepared.split.sequences[user]
        history = sequence[: sequence.tolist().index(chosen)]
        own = auxiliary(3, int(fold[user])).scores([history])[0]
        torch.testing.assert_close(batch["auxiliary"][example], own[batch["rejected"][example]])


def test_a_model_knows_nothing_of_users_that_it_is_trained_without():
    sequences = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3, 0, 4, 2], [2, 0, 4, 3, 1]]
    settings = AuxiliarySettings(model={"width": 8, "heads": 1, "blocks": 1}, epochs=2, validate_every=1)
    users = np.array([True, True, False, True])
    weights = []
    for other in ([1, 3, 0, 4, 2], [2, 2, 2, 4, 2]):
        split = split_of([*sequences[:2], other, sequences[3]], items=30)
        cases = split.cases("valid").take(np.array([0, 1, 3]))
        model = train_sasrec(split, settings, 0, cases=cases, users=users).model
        weights.append(torch.cat([value.flatten() for value in model.state_dict().values()]))
    assert torch.equal(*weights)


def groups(users: int = 60, half: int = 20, taken: int = 12) -> Split:
    """Even users take 12 of the first 20 items, odd ones 12 of the other 20, in an order of their own: within a group
    nothing but memory can tell what comes next."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:03d}", f"i{item + half * (user % 2):02d}", time)
        for user in range(users)
        for time, item in enumerate(rng.permutation(half)[:taken])
    ]
    events = pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String, "time": pl.Int64}, orient="row")
    return make_split(make_log(events, untitled="id"))


def mean_factors(split: Split, judges: Judges) -> tuple[float, float]:
    """Of held-out pairs and of trained ones, at the temperature that is fitted to the former."""
    pairs = [
        (user, position) for user in range(len(split.sequences)) for position in range(2, int(split.valid_from[user]))
    ]
    user, position = np.array(pairs).T
    target = np.array([split.sequences[who][at] for who, at in pairs])
    sampler = Sampler(SamplerContext(len(split.catalog), split.popularity), Settings())
    held, trained = (
        held_out_margins(cases, sampler, judges, 3, seed=0)
        for cases in (split.cases("valid"), Cases("valid", user, position, target, split))
    )
    temperature = fitted_temperature(held)
    return tuple(float((-margins / temperature).sigmoid().mean()) for margins in (held, trained))


def test_with_folds_trained_pairs_are_as_doubtful_as_held_out_ones_and_with_one_oracle_half_as_much():
    split, valid = groups(), groups().cases("valid")
    settings = AuxiliarySettings(
        model={"width": 32, "heads": 1, "blocks": 1, "max_length": 12, "dropout": 0.0},
        **{"epochs": 20, "validate_every": 20, "batch_size": 10, "lr": 0.02, "leave_out": 0.0},
    )
    fold = folds_of(split, 2, seed=0)
    apart = Judges(
        tuple(
            train_sasrec(split, settings, 0, cases=valid.take(others[valid.user]), users=others).model
            for others in (fold != 0, fold != 1)
        ),
        fold,
    )
    held, trained = mean_factors(split, apart)
    assert abs(held - trained) < 0.05
    held, trained = mean_factors(split, Judges.alone(train_sasrec(split, settings, 0).model, 60))
    assert held - trained > 0.08


def test_the_oracles_of_a_run_are_made_once_and_the_same_again(tmp_path):
    sections = {
        "objective": {"name": "rosepo", "temperature": 1.0},
        "negatives": {"name": "uniform", "count": 2},
        "sft": {"epochs": 0.5},
        "preference": {"epochs": 0.5},
    }
    recipe = tiny_recipe(tmp_path / "data", **sections)
    factors = []
    for name in ("one", "two"):
        progress = Quiet()
        run = train_recipe(recipe, tmp_path / name / "run", progress=progress)
        made = [name for name, _ in progress.steps if name.startswith("SASRec")]
        assert set(made) == {"SASRec, fold 1 of 2", "SASRec, fold 2 of 2"}  # the whole one is nobody's
        lines = [json.loads(line) for line in (run.stages["preference"] / "metrics.jsonl").read_text().splitlines()]
        factors.append([line["smoothing"] for line in lines if "smoothing" in line])
        again = Quiet()
        train_recipe(recipe, tmp_path / name / "other", progress=again)
        assert not any(name.startswith("SASRec") for name, _ in again.steps)
    assert factors[0] == factors[1] != []
