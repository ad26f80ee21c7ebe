"""Rows against each other, with results that hold nothing but their values."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from napo.errors import UserError
from napo.evaluation.comparison import Claim, compare_with_base, judge_claims, paired_differences
from napo.evaluation.statistics import bootstrap_interval

CASES = 400
USERS = np.repeat(np.arange(200), 2)


@dataclass
class Values:
    hits: np.ndarray
    users: np.ndarray = field(default_factory=lambda: USERS)

    @property
    def metrics(self):
        return {"HR@1": self.hits, "half": self.hits / 2}


def row(hits: int, seed: int = 0) -> Values:
    """So many hits, somewhere among the 400 cases; more hits contain those of fewer."""
    values = np.zeros(CASES)
    values[np.random.default_rng(seed).permutation(CASES)[:hits]] = 1
    return Values(values)


RUNS = {"SFT": [row(150)], "NAPO": [row(200)], "S-DPO": [row(153)]}


def test_every_row_against_the_base_with_holm_over_them():
    found = compare_with_base(RUNS, "SFT", "HR@1")
    assert list(found) == ["NAPO", "S-DPO"]
    napo, sdpo = found.values()
    assert napo.difference.value == pytest.approx(50 / 400)
    assert napo.verdict.word == "held"
    # three users gain one hit each: 2 of 8 patterns; Holm leaves the largest p as it is and doubles the smallest
    assert sdpo.p == pytest.approx(0.25) == sdpo.p_holm
    assert napo.p_holm == pytest.approx(2 * napo.p)


def test_a_row_that_was_searched_longer_gets_no_verdict():
    found = compare_with_base(RUNS, "SFT", "HR@1", searched={"SFT": 3, "NAPO": 12, "S-DPO": 3})
    assert str(found["NAPO"].verdict) == "no verdict, unequal search budget: 12 settings tried against 3"
    assert found["S-DPO"].verdict.word in ("not held", "undecided")
    unknown = compare_with_base(RUNS, "SFT", "HR@1", searched={"NAPO": 12})
    assert unknown["NAPO"].verdict.word == "held"


def test_a_ratio_is_mean_over_mean():
    (found,) = judge_claims([Claim("NAPO", "SFT", ratio=1.15)], RUNS, "HR@1")
    assert found.estimate.value == pytest.approx(200 / 150)
    assert found.estimate.low < 200 / 150 < found.estimate.high
    assert found.verdict.word == "held"
    assert found.line.startswith("NAPO better than SFT by 15%: held (x1.333 [")


def test_more_but_not_as_much_more_as_claimed():
    (found,) = judge_claims([Claim("NAPO", "SFT", ratio=1.9)], RUNS, "HR@1")
    assert found.verdict.word == "direction held, size not"


def test_a_claimed_margin_and_another_metric():
    held, missed = judge_claims(
        [Claim("NAPO", "SFT", margin=0.05), Claim("NAPO", "SFT", margin=0.05, metric="half")], RUNS, "HR@1"
    )
    assert held.verdict.word == "held"
    assert missed.estimate.value == pytest.approx(25 / 400)
    assert missed.verdict.word == "undecided"
    assert str(held.claim) == "NAPO better than SFT by 0.05"
    assert str(missed.claim) == "NAPO better than SFT by 0.05 (half)"


def test_holm_is_over_all_the_claims():
    claims = [Claim("NAPO", "SFT"), Claim("S-DPO", "SFT"), Claim("NAPO", "S-DPO")]
    found = judge_claims(claims, RUNS, "HR@1")
    # 50 and 47 users who all gain are beyond what 10,000 flips reach, three users who do are 2 of 8 patterns
    assert [one.p_holm for one in found] == pytest.approx([3 / 10_001, 0.25, 3 / 10_001])
    (alone,) = judge_claims(claims[:1], RUNS, "HR@1")
    assert alone.p_holm == alone.p
    unequal = judge_claims(claims, RUNS, "HR@1", searched={"NAPO": 2, "SFT": 1})
    assert unequal[0].verdict.word == "no verdict"


def test_seeds_of_a_ratio_count_too():
    runs = {"SFT": [row(150, seed) for seed in range(3)], "NAPO": [row(hits, 5 + hits) for hits in (170, 200, 230)]}
    (found,) = judge_claims([Claim("NAPO", "SFT", ratio=1.15)], runs, "HR@1")
    assert found.estimate.value == pytest.approx(200 / 150)
    assert found.estimate.seed_error > 0
    # the seeds' ratios are 1.13, 1.33, 1.53: 0.2 / sqrt(3) = .115
    assert found.estimate.seed_error == pytest.approx(0.115, abs=0.02)
    same = {name: given * 3 for name, given in RUNS.items()}
    (steady,) = judge_claims([Claim("NAPO", "SFT", ratio=1.15)], same, "HR@1")
    (once,) = judge_claims([Claim("NAPO", "SFT", ratio=1.15)], RUNS, "HR@1")
    assert steady.estimate.error == pytest.approx(once.estimate.error, rel=0.1)


def test_what_cannot_be_claimed_is_told():
    with pytest.raises(UserError, match="no row 'napo'"):
        judge_claims([Claim("napo", "SFT")], RUNS, "HR@1")
    (nothing,) = judge_claims([Claim("NAPO", "chance", ratio=2)], {**RUNS, "chance": [row(0)]}, "HR@1")
    assert nothing.line == "NAPO better than chance by 100%: no verdict, nothing is a multiple of 0"


def test_a_row_of_one_result_meets_every_seed():
    runs = {"SFT": [row(150)], "NAPO": [row(160, 1), row(170, 2)]}
    first, second = paired_differences(runs, "NAPO", "SFT", "HR@1")
    assert (first.sum(), second.sum()) == (10, 20)
    with pytest.raises(UserError, match="'NAPO' has 2 seeds and 'SFT' 3"):
        paired_differences({"SFT": [row(1)] * 3, "NAPO": runs["NAPO"]}, "NAPO", "SFT", "HR@1")


def test_one_seed_is_the_bootstraps_interval():
    found = compare_with_base(RUNS, "SFT", "HR@1")["NAPO"].difference
    plain = bootstrap_interval(RUNS["NAPO"][0].hits - RUNS["SFT"][0].hits, USERS)
    assert (found.low, found.high) == (plain.low, plain.high)
