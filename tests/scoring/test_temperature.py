"""The numbers were worked by hand from the formula of the docstring."""

import math

import pytest
import torch
from torch import Tensor

from napo.scoring.batch import Row, TokenBatch, pack
from napo.scoring.shared_prefix import TreeOnDevice
from napo.scoring.temperature import AdaptiveTemperature, Settings, solved_temperature
from napo.scoring.tree import PrefixTree
from tests.scoring.toys import NEXT, catalog_tree, ids

WIDE = Settings(low=1e-3, high=1e3)


def solved(gap: float, children: int, settings: Settings, variance: float = 9.0) -> float:
    """tau* where the right tokens lie `gap` above the mean of all, whose variance is as given."""
    spread = math.sqrt(variance)
    allowed = torch.tensor([[-spread, 0.0, spread]], dtype=torch.float64)  # mean 0, variance (n - 1) spread^2
    return float(solved_temperature(torch.tensor([gap], dtype=torch.float64), allowed, children, settings))


@pytest.mark.parametrize(
    ("gap", "children", "expected"),
    [
        (12.0, 100, 3.305015),  # C = log 25 = 3.218876
        (5.0, 100, 0.776669),  # no root: D / (2 C)
        (23.0, 100, 6.944027),
        (18.0, 4000, 2.325656),
    ],
)
def test_the_temperature_that_gives_the_right_first_token_its_probability(gap, children, expected):
    assert solved(gap, children, WIDE) == pytest.approx(expected, abs=1e-6)


def test_put_back_the_temperature_gives_a_quarter():
    tau = solved(12.0, 100, WIDE)
    assert math.exp(12.0 / tau - 9.0 / (2 * tau**2)) / 100 == pytest.approx(0.25)


def test_the_temperature_stays_between_its_limits():
    assert solved(5.0, 100, Settings()) == 1.5
    assert solved(23.0, 100, Settings()) == 5.0


def test_where_even_chance_reaches_the_probability_the_temperature_is_one():
    assert solved(12.0, 4, Settings(eta=0.25)) == 1.0  # log(4 x 0.25) = 0: nothing to solve
    assert solved(12.0, 2, Settings(eta=0.25)) == 1.0


def test_means_are_over_all_the_titles_of_a_batch():
    right = torch.tensor([3.0, 5.0])
    allowed = torch.tensor([[3.0, 1.0, 0.0, -1.0], [5.0, 2.0, 1.0, 0.0]])  # mean 1.375, variance 3.696429
    assert float(allowed.var()) == pytest.approx(3.696429, abs=1e-6)
    assert float(solved_temperature(right, allowed, 4, Settings(eta=0.5, low=0.1))) == pytest.approx(2.852221, abs=1e-6)


# -- the moving average, on the logits of a batch

TREE = catalog_tree()  # first tokens: 3, 6, 8, 9, 12


def batch(*branches: int) -> TokenBatch:
    sees = ids(*([1] * len(branches)))
    return pack([Row(ids(4), branches=ids(*branches), sees=sees)], TREE, NEXT, "catalog")


def logits_of(batch: TokenBatch, tree: TreeOnDevice) -> Tensor:
    """Of each place, the used tokens' logits: 2 for token 8, 0 for the others."""
    return torch.where(tree.vocabulary == 8, 2.0, 0.0).expand(len(batch.places), -1).clone()


def test_the_average_moves_before_it_is_used_and_never_in_evaluation():
    adaptive, tree = AdaptiveTemperature(Settings(momentum=0.05, low=0.1)), TreeOnDevice(TREE)
    given = batch(4)  # the title that begins with token 8: D = 2 - 2/5, variance 0.8, C = log(5/4)
    gap, scale = 2 - 0.4, math.log(5 * 0.25)
    expected = min((gap + math.sqrt(gap**2 - 2 * scale * 0.8)) / (2 * scale), 5.0)
    assert expected == 5.0  # 1.6 / 0.223: above the highest
    adaptive.eval()
    assert float(adaptive(logits_of(given, tree), given, tree)) == 1.5
    adaptive.train()
    assert float(adaptive(logits_of(given, tree), given, tree)) == pytest.approx(1.5 + 0.05 * (5.0 - 1.5))
    assert float(adaptive.value) == pytest.approx(1.675)


def test_three_steps_towards_the_same_solution():
    """From 1.5 towards 3.305015: 1.590251, 1.675989, 1.757440."""
    adaptive, tree = AdaptiveTemperature(Settings(momentum=0.05)), TreeOnDevice(TREE)
    given = batch(4)
    target = 3.305015
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napo.scoring.temperature.solved_temperature", lambda *_: torch.tensor(target))
        for _ in range(3):
            before = adaptive.value.clone()
            used = adaptive(logits_of(given, tree), given, tree)
            assert used == adaptive.value != before
            found.append(float(used))
    assert found == pytest.approx([1.590251, 1.675989, 1.757440], abs=1e-6)


def test_only_first_places_are_looked_at_and_each_title_brings_its_own_right_token():
    tree = TreeOnDevice(TREE)
    seen = {}

    def look(right: Tensor, allowed: Tensor, children: int, settings: Settings) -> Tensor:
        seen.update(right=right.tolist(), allowed=allowed.tolist(), children=children)
        return torch.tensor(2.0)

    given = batch(4, 0, 7)  # begin with tokens 8, 3, 12; title 0 has another choice further on
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napo.scoring.temperature.solved_temperature", look)
        AdaptiveTemperature(Settings()).train()(logits_of(given, tree), given, tree)
    assert seen["children"] == 5
    assert seen["right"] == [2.0, 0.0, 0.0]
    assert seen["allowed"] == [[0.0, 0.0, 2.0, 0.0, 0.0]]  # one place, which the three titles share


def test_where_all_titles_begin_alike_the_first_choice_counts():
    tree = PrefixTree.build([[3, 4, 1], [3, 5, 1], [3, 6, 1]], end=1)
    given = pack([Row(ids(0), branches=ids(1), sees=ids(1))], tree, NEXT, "catalog")
    on_device = TreeOnDevice(tree)
    adaptive = AdaptiveTemperature(Settings(momentum=1.0, low=0.1, high=50.0, eta=0.5)).train()
    logits = torch.where(on_device.vocabulary == 5, 3.0, 0.0).expand(len(given.places), -1)
    # D = 3 - 1, variance of (0, 3, 0) is 3, C = log 1.5: (2 + sqrt(4 - 2 x 0.405465 x 3)) / (2 x 0.405465)
    assert float(adaptive(logits, given, on_device)) == pytest.approx(4.010064, abs=1e-6)


def test_a_single_title_leaves_nothing_to_choose_and_the_temperature_rests():
    tree = PrefixTree.build([[3, 4, 1]], end=1)
    given = pack([Row(ids(0), branches=ids(0), sees=ids(1))], tree, NEXT, "catalog")
    adaptive = AdaptiveTemperature(Settings()).train()
    assert float(adaptive(torch.zeros(0, 3), given, TreeOnDevice(tree))) == 1.5


def test_what_was_used_does_not_move_with_the_average():
    adaptive, tree = AdaptiveTemperature(Settings()).train(), TreeOnDevice(TREE)
    given = batch(4)
    first = adaptive(logits_of(given, tree), given, tree)
    kept = float(first)
    adaptive(logits_of(given, tree), given, tree)
    assert float(first) == kept
