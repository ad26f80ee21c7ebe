import numpy as np
import pytest
import torch

from napo.negatives._protocol import SamplerContext
from napo.negatives.uniform import Sampler, Settings
from napo.training import stages
from napo.training.oracle import held_out_margins
from tests.tiny_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World.of(tmp_path_factory.mktemp("world"), objective={"name": "rosepo"}, negatives={"count": 2})


def sampler_of(world, drawn):
    class Watched(Sampler):
        def draw(self, example, seen, count, rng):
            items = super().draw(example, seen, count, rng)
            drawn.append((example, seen, items))
            return items

    return Watched(SamplerContext(40, world.prepared.split.popularity), Settings())


def test_margins_are_the_targets_score_less_that_of_each_item_drawn_as_in_training(world):
    drawn, model, cases = [], world.auxiliary(), world.prepared.valid
    margins = held_out_margins(cases, sampler_of(world, drawn), model, 2, seed=0)
    assert margins.shape == (60,)  # 30 cases, 2 items each
    expected = []
    for case, (example, seen, items) in enumerate(drawn):
        assert (example.user, example.chosen) == (cases.user[case], cases.target[case])
        assert set(seen.tolist()) == {*world.prepared.split.seen(example.user).tolist(), example.chosen}
        scores = model.scores([cases.history(case)])[0]
        expected += [float(scores[example.chosen] - scores[item]) for item in items]
    np.testing.assert_allclose(margins.numpy(), expected, atol=1e-5)


def test_the_same_seed_draws_the_same_pairs(world):
    one, same, other = (
        held_out_margins(world.prepared.valid, sampler_of(world, []), world.auxiliary(), 2, seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_objective_of_the_stage_is_calibrated_before_it_trains(world, monkeypatch):
    # margins log 4, of which 8 in 10 are in order: the temperature is 1 / 2 where they are halved
    margins = torch.tensor([1.386294] * 8 + [-1.386294] * 2, dtype=torch.float64) / 2
    monkeypatch.setattr(stages, "held_out_margins", lambda *asked: margins)
    assert world.preference().objective.temperature.item() == pytest.approx(0.5, abs=1e-5)
