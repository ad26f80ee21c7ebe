import pytest

from napo.evaluation.statistics import Estimate
from napo.evaluation.verdicts import cases_needed, detectable_difference, ratio_verdict, unequal_search, verdict


@pytest.mark.parametrize(
    ("cases", "unpaired", "paired", "clustered"),
    [
        (500, 0.086, (0.040, 0.056, 0.069), 0.071),
        (1_000, 0.061, (0.028, 0.040, 0.049), 0.050),
        (5_000, 0.027, (0.013, 0.018, 0.022), 0.022),
        (20_000, 0.014, (0.006, 0.009, 0.011), 0.011),
    ],
)
def test_smallest_detectable_differences_at_hr_0_37(cases, unpaired, paired, clustered):
    # two independent samples differ in 2 x .37 x .63 of pairs
    assert detectable_difference(2 * 0.37 * 0.63, cases) == pytest.approx(unpaired, abs=6e-4)
    for differing, expected in zip((0.1, 0.2, 0.3), paired, strict=True):
        assert detectable_difference(differing, cases) == pytest.approx(expected, abs=6e-4)
    assert detectable_difference(0.2, cases, design_effect=1.6) == pytest.approx(clustered, abs=6e-4)


def test_cases_needed_by_hand():
    # 7.85 x 0.2 / difference^2
    assert [cases_needed(difference, 0.2) for difference in (0.05, 0.02, 0.01)] == [628, 3_924, 15_698]


def test_cases_needed_and_detectable_difference_undo_each_other():
    assert cases_needed(detectable_difference(0.3, 1234, design_effect=1.6), 0.3, design_effect=1.6) == 1234


def test_an_interval_above_the_margin_holds_and_one_below_does_not():
    assert verdict(Estimate(0.03, 0.01, 0.05, 0.01), 0.01, cases=1000).word == "held"
    assert verdict(Estimate(0.03, 0.01, 0.05, 0.01), 0.20, cases=1000).word == "undecided"  # Holm says no
    assert verdict(Estimate(0.03, 0.01, 0.05, 0.01), 0.01, cases=1000, margin=0.02).word == "undecided"
    assert verdict(Estimate(-0.01, -0.03, 0.009, 0.01), 0.3, cases=1000).word == "not held"
    assert verdict(Estimate(0.02, 0.01, 0.03, 0.005), 0.01, cases=1000, margin=0.05).word == "not held"


def test_a_sure_gain_below_a_hundredth_still_holds():
    # in this order: low > 0 comes before "too small to matter"
    assert verdict(Estimate(0.005, 0.002, 0.008, 0.0015), 0.001, cases=100_000).word == "held"


def test_undecided_says_how_many_cases_would_decide():
    # 0.02 with a standard error of 0.02 on 1,000 cases: (2.802 x 0.02 / 0.02)^2 x 1,000
    found = verdict(Estimate(0.02, -0.019, 0.059, 0.02), 0.3, cases=1000)
    assert found.cases_needed == pytest.approx(7849, abs=1)
    assert str(found) == f"undecided, {found.cases_needed:,} cases would decide"


def test_among_five_comparisons_it_takes_more_cases_to_hold():
    # as above at 1 %: 2.576 + 0.842 = 3.417 standard errors instead of 2.802
    found = verdict(Estimate(0.02, -0.019, 0.059, 0.02), 0.3, cases=1000, of=5)
    assert found.cases_needed == pytest.approx(11679, abs=2)
    # towards "not held" there is nothing to adjust: 0.01 - 0.001 with an error of 0.009
    fewer = [verdict(Estimate(0.001, -0.017, 0.019, 0.009), 0.9, cases=1000, of=of).cases_needed for of in (1, 5)]
    assert fewer[0] == fewer[1] == pytest.approx(7849, abs=1)


def test_undecided_by_seeds_alone_asks_for_seeds():
    found = verdict(Estimate(0.02, -0.06, 0.1, 0.02, seed_error=0.019, freedom=2), 0.3, cases=1000)
    assert found.cases_needed is None
    assert str(found) == "undecided, more seeds"


# --- ratios and unequal searches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "value", "high", "p", "word"),
    [
        (1.16, 1.20, 1.25, 0.01, "held"),
        (1.02, 1.08, 1.14, 0.01, "direction held, size not"),
        (0.98, 1.05, 1.14, 0.20, "not held"),
        (1.02, 1.08, 1.14, 0.06, "not held"),  # Holm says the direction is not sure either
        (1.02, 1.10, 1.18, 0.01, "undecided"),
        (1.16, 1.20, 1.25, 0.06, "undecided"),
    ],
)
def test_a_claim_of_fifteen_per_cent_more(low, value, high, p, word):
    ratio = Estimate(value, low, high, (high - low) / 3.92)
    assert ratio_verdict(ratio, p, cases=1000, claimed=1.15).word == word


def test_an_undecided_ratio_says_how_many_cases_would_decide():
    # 0.05 from the bar with an error of 0.04 on 1,000 cases: (2.802 x 0.04 / 0.05)^2 x 1,000
    found = ratio_verdict(Estimate(1.20, 1.12, 1.28, 0.04), 0.01, cases=1000, claimed=1.15)
    assert found.cases_needed == pytest.approx(5024, abs=1)


def test_after_unequal_searches_there_is_no_verdict():
    assert str(unequal_search(12, 3)) == "no verdict, unequal search budget: 12 settings tried against 3"


def test_where_seeds_are_too_few_no_number_of_cases_is_named():
    # three seeds, t of 2 degrees: 2.8 errors of .0035 are less than the gap of .011, and yet the interval holds 0
    found = verdict(Estimate(0.011, -0.006, 0.028, 0.0035, seed_error=0.002, freedom=2), 0.2, cases=1000)
    assert str(found) == "undecided, more seeds"
