import numpy as np
import pytest

from napo.data.item_groups import ItemGroups
from napo.evaluation.bias_report import bias_report
from napo.evaluation.popularity_bias import group_unfairness

# a user a line: training, one validation event, one test event; the last is the target
SEQUENCES = [[0, 1, 2, 0], [0, 2, 1, 5], [0, 1, 2, 3], [0, 3, 4, 2]]
LISTS = np.array([[0, 1], [0, 2], [0, 1], [3, 0]])
RANKS = np.array([1, 4, 0, 7])
COLUMN = ItemGroups("genre", ("a", "b"), np.array([[1, 0], [0.5, 0.5], [0, 1], [0, 1], [0, 0], [1, 0]]))


@pytest.fixture(scope="module")
def report(build_split):
    return bias_report(LISTS, RANKS, build_split(SEQUENCES, 6).cases("test"), [COLUMN])


def test_popularity_of_lists_beside_that_of_the_targets(report):
    # training events, the first two of each: item 0 four times, 1 twice, 2 and 3 once
    assert report.by_case["popularity"].tolist() == [3, 2.5, 3, 2.5]
    assert report.aims["popularity"] == pytest.approx((4 + 0 + 1 + 1) / 4)
    assert report.by_case["popularity share"].mean() == pytest.approx(2.75 / 8)
    # 4 of 8, then 6, then 7: 0.8 x 8 = 6.4 is crossed by item 2, so item 3 is tail with 4 and 5
    assert report.by_case["tail"].tolist() == [0, 0, 0, 0.5]
    assert report.aims["tail"] == pytest.approx(2 / 4)
    # four users: item 0 is no news, 1 was taken by half of them: 1 bit, 2 by a quarter: 2 bits
    assert report.by_case["novelty"].tolist() == [0.5, 1, 0.5, 1]


def test_lift_against_the_histories(report):
    # histories with validation: (4+2+1)/3, (4+1+2)/3, (4+2+1)/3, (4+1+0)/3, together 26/12
    assert report.lift == pytest.approx(2.75 / (26 / 12) - 1)
    assert report.aims["lift"] == pytest.approx(1.5 / (26 / 12) - 1)


def test_concentration_of_the_lists(report):
    # counts 4 2 1 1 0 0, as in the toy
    values = {name: estimate.value for name, estimate in report.figures.items()}
    assert values["coverage"] == pytest.approx(4 / 6)
    assert values["Gini"] == pytest.approx(0.541667, abs=1e-6)
    assert values["entropy"] == pytest.approx(1.213008, abs=1e-6)
    assert values["effective items"] == pytest.approx(3.363586, abs=1e-6)
    assert values["relative entropy"] == pytest.approx(0.676992, abs=1e-6)
    assert (values["DivRatio"], values["ORRatio"]) == (0.5, 0.875)
    # the four lists without one user each have 4, 3, 4, 3 items: SE^2 = 3/4 x 4 x (0.5/6)^2
    assert report.coverage.error == pytest.approx(0.144338, abs=1e-6)
    assert report.figures["effective items"].high <= 6


def test_four_targets_are_too_few_for_opportunity_and_one_a_user_for_rank_bias(report):
    assert not {"PopREO", "PRU"} & report.figures.keys()


def test_rank_bias_needs_three_targets_a_user(build_split):
    # two users of three targets each, over items by falling popularity; ranked so: -Spearman 1 and -1
    split = build_split([[0, 0, 1, 2, 1, 0, 0, 1, 2], [0, 0, 1, 0, 1, 2, 0, 1, 2]], 3, held=3)
    cases = split.cases("test")
    found = bias_report(np.array([[0]] * 6), np.array([1, 2, 3, 3, 2, 1]), cases).figures["PRU"]
    assert split.popularity.tolist() == [4, 2, 0] or split.popularity.tolist() == [4, 2]
    assert found.value == pytest.approx(0.0)


def test_groups_of_a_column(report):
    # a | a b: 1/2, a | b: 1, 1/2, b | a: 1
    assert report.by_case["ILD genre"].tolist() == [0.5, 1, 0.5, 1]
    # lists: a 1.5 + 1 + 1.5 + 1 = 5 of 8; histories: a 1.5 + 1.5 + 1.5 + 1 = 5.5 of 11, item 4 having none
    assert report.figures["MGU genre"].value == pytest.approx(5 / 8 - 1 / 2)
    assert report.figures["DGU genre"].value == pytest.approx(2 * (5 / 8 - 1 / 2))
    # targets: items 0, 5, 3, 2: a half, as in the histories
    assert report.aims["MGU genre"] == pytest.approx(0.0)
    assert report.by_case["KL genre"].shape == (4,)
    assert {"MGU popularity", "DGU popularity"} <= report.figures.keys()


def test_deciles_are_shares(report):
    for deciles in (report.recommended_deciles, report.liked_deciles, report.target_deciles):
        assert deciles.shape == (10,)
        assert deciles.sum() == pytest.approx(1.0)


def test_items_by_fifth_are_what_mgu_is_made_of(report):
    # popularity 4 2 1 1 0 0: below item 0 five of six, below 1 four, below 2 and 3 two: fifths 4 3 1 1 0 0
    assert report.recommended_fifths.tolist() == [[0, 0, 0, 1, 1], [0, 1, 0, 0, 1], [0, 0, 0, 1, 1], [0, 1, 0, 0, 1]]
    assert report.liked_fifths.sum(axis=1).tolist() == [3, 3, 3, 3]
    unfair = group_unfairness(report.recommended_fifths, report.liked_fifths, np.arange(4))
    assert unfair["MGU"] == report.figures["MGU popularity"]
