import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import brier_score_loss

from napo.evaluation.calibration import (
    Calibration,
    brier,
    ece,
    miscalibration,
    top_probability,
    user_miscalibration,
)
from napo.evaluation.popularity_bias import group_weights
from tests.evaluation.toy import GENRES, HISTORIES, LISTS

PROBABILITY = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.4, 0.35, 0.3])
HITS = np.array([1.0, 1, 0, 1, 0, 1, 0, 0])


def test_ece_by_hand():
    # pairs (.3 .35: 0), (.4 .55: 1), (.6 .7: 1), (.8 .9: 2): |.65| + |-.05| + |.3| + |-.3|, over 8
    assert ece(PROBABILITY, HITS, bins=4) == pytest.approx(0.1625)


def test_brier_by_hand_and_as_in_scikit_learn():
    # .01 + .04 + .49 + .16 + .3025 + .36 + .1225 + .09, over 8
    assert brier(PROBABILITY, HITS).mean() == pytest.approx(0.196875)
    assert brier(PROBABILITY, HITS).mean() == pytest.approx(brier_score_loss(HITS, PROBABILITY))


@given(order=st.permutations(range(8)), bins=st.integers(1, 8))
def test_the_order_of_cases_does_not_matter(order, bins):
    assert ece(PROBABILITY[list(order)], HITS[list(order)], bins) == pytest.approx(ece(PROBABILITY, HITS, bins))


def test_more_bins_than_cases_are_one_a_case():
    assert ece(PROBABILITY, HITS, bins=50) == pytest.approx(np.abs(PROBABILITY - HITS).mean())


def test_a_sure_model_that_is_always_wrong_is_as_far_off_as_can_be():
    found = Calibration.of(np.ones(40), np.zeros(40))
    assert (found.ece, found.null, found.null_high) == (1.0, 0.0, 0.0)


def test_a_perfectly_calibrated_model_lies_within_its_null_and_an_overconfident_one_does_not():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.05, 0.95, 1000)
    hits = (rng.random(1000) < probability).astype(float)
    honest = Calibration.of(probability, hits)
    assert 0.03 < honest.null < 0.055  # about .043 at 1,000 cases, though nothing is wrong
    assert honest.ece < 1.3 * honest.null_high
    boastful = Calibration.of(np.sqrt(probability), hits)
    assert boastful.ece > 2 * boastful.null_high
    assert (boastful.mean_probability, boastful.hit_rate) == pytest.approx((np.sqrt(probability).mean(), hits.mean()))


def test_the_top_probability_by_hand_also_of_very_small_log_probs():
    # log 3, log 1: 3/4 whatever is added to both
    scores = np.array([[np.log(3), 0.0], [np.log(3) - 900, -900.0]])
    np.testing.assert_allclose(top_probability(scores), [0.75, 0.75])


def test_calibrations_of_seeds_are_averaged():
    first, second = Calibration(0.1, 0.02, 0.03, 0.5, 0.4), Calibration(0.2, 0.04, 0.05, 0.7, 0.6)
    assert Calibration.mean([first, second]).ece == pytest.approx(0.15)
    assert str(first) == "0.100 (perfect calibration: 0.020, below 0.030 in 95 of 100)"


# --- the mixture of groups ----------------------------------------------------------------------------------------


def test_genre_calibration_by_hand():
    # p .3 .35 .35, q .625 .25 .125 mixed with .01 p: .3 ln(.3/.62175) + .35 ln(.35/.251) + .35 ln(.35/.12725)
    recommended, liked = group_weights(LISTS, GENRES).sum(axis=0), group_weights(HISTORIES, GENRES).sum(axis=0)
    assert miscalibration(liked, recommended) == pytest.approx(0.251864, abs=1e-6)


def test_a_genre_that_is_never_recommended_costs_at_most_its_smoothing():
    assert miscalibration(np.array([1.0, 0]), np.array([0.0, 1])) == pytest.approx(np.log(100))


def test_without_any_genre_there_is_no_divergence():
    assert np.isnan(miscalibration(np.zeros(2), np.ones(2)))
    assert np.isnan(miscalibration(np.ones(2), np.zeros(2)))


def test_a_users_lists_are_pooled():
    # two lists, one of each genre, for a history of both: together the same mixture
    liked, recommended = np.array([[1.0, 1], [1, 1], [1, 0]]), np.array([[1.0, 0], [0, 1], [1, 0]])
    np.testing.assert_allclose(user_miscalibration(liked, recommended, np.array([3, 3, 5])), 0, atol=1e-12)


@given(weights=arrays(np.float64, (2, 4), elements=st.floats(0.01, 9)))
def test_divergence_is_not_negative_and_nought_for_the_same_mixture(weights):
    assert miscalibration(weights[0], weights[1]) >= -1e-12
    assert miscalibration(weights[0], 3 * weights[0]) == pytest.approx(0, abs=1e-9)
