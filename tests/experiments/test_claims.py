import json

import numpy as np
import pytest

from napo.errors import UserError
from napo.experiments.asked import Asked
from napo.experiments.claims import claims_json, claims_markdown, judge_claims
from napo.experiments.plan import load_plan
from tests.experiments.made import CASES, among, ranks_of, whole, write_store
from tests.experiments.world import write_recipes, write_sweep

BEATS = {"says": "NAPO beats SFT", "better": "NAPO", "worse": "SFT"}


def two_rows(ours, theirs, seeds=1, data="toy"):
    """HR@1 of NAPO and SFT in 400 cases, the same under every seed but for which cases they are."""
    made = {
        row: [among(ranks_of(hits, seed=s)) for s in range(seeds)] for row, hits in (("NAPO", ours), ("SFT", theirs))
    }
    return {(data, "cand20"): made}


def only(store):
    (one,) = judge_claims(store)
    return one


class TestAccuracy:
    def test_a_clear_gain_is_held_and_its_interval_excludes_zero(self, tmp_path):
        one = only(write_store(tmp_path / "s", two_rows(200, 150, seeds=3), claims=[BEATS], seeds=3))
        (figure,) = one.figures
        assert one.verdict.word == "held"
        assert figure.name == "HR@1"
        assert figure.estimate.value == pytest.approx(50 / 400)
        assert 0 < figure.estimate.low < figure.estimate.value
        assert "0.500 against 0.375" in one.said

    def test_no_gain_at_all_is_not_held(self, tmp_path):
        assert only(write_store(tmp_path / "s", two_rows(150, 150), claims=[BEATS])).verdict.word == "not held"

    def test_a_small_gain_is_undecided_with_the_cases_that_would_decide(self, tmp_path):
        one = only(write_store(tmp_path / "s", two_rows(153, 150), claims=[BEATS]))
        assert one.verdict.word == "undecided"
        assert one.verdict.cases_needed > CASES
        assert "cases would decide" in one.said

    def test_one_seed_says_that_seeds_were_not_looked_at(self, tmp_path):
        assert "one seed" in only(write_store(tmp_path / "s", two_rows(200, 150), claims=[BEATS])).said
        several = only(write_store(tmp_path / "t", two_rows(200, 150, seeds=2), claims=[BEATS], seeds=2))
        assert "one seed" not in several.said

    def test_holm_is_over_the_accuracy_claims_of_one_data_set(self, tmp_path):
        results = {**two_rows(153, 150), **two_rows(153, 150, data="other")}
        claims = [BEATS, {**BEATS, "metric": "NDCG", "data": ["toy"]}]
        first, second, third = judge_claims(write_store(tmp_path / "s", results, claims=claims))
        assert [(one.claim.metric, one.data) for one in (first, second, third)] == [
            *((None, "toy"), (None, "other")),
            ("NDCG", "toy"),
        ]
        # three users gain a hit each: 2 of 8 patterns of signs
        assert first.figures[0].p == second.figures[0].p == pytest.approx(0.25)
        assert first.figures[0].p_holm == pytest.approx(2 * 0.25)
        assert second.figures[0].p_holm == pytest.approx(0.25)

    def test_a_ratio_is_judged_by_its_size(self, tmp_path):
        claims = [{**BEATS, "ratio": 1.15}, {**BEATS, "ratio": 1.9}]
        held, smaller = judge_claims(write_store(tmp_path / "s", two_rows(200, 150), claims=claims))
        assert held.verdict.word == "held"
        assert held.figures[0].estimate.low > 1.15
        assert smaller.verdict.word == "direction held, size not"
        assert held.ours.startswith("HR@1 x1.333 [")

    def test_unequal_search_has_no_verdict_and_says_why(self, tmp_path):
        one = only(write_store(tmp_path / "s", two_rows(200, 150), claims=[BEATS], tried={"NAPO": 8}))
        assert one.said.startswith("no verdict, unequal search budget: 8 settings tried against 0")

    @pytest.mark.parametrize("seeds", [1, 3])
    def test_every_held_claim_has_an_interval_without_zero(self, tmp_path, seeds):
        draw = np.random.default_rng(5)
        rows = {f"row {n}": int(draw.integers(115, 170)) for n in range(25)}
        made = {
            row: [among(ranks_of(hits, seed=s + n)) for s in range(seeds)] for n, (row, hits) in enumerate(rows.items())
        }
        made["SFT"] = [among(ranks_of(120, seed=90 + s)) for s in range(seeds)]
        claims = [{"says": row, "better": row, "worse": "SFT"} for row in rows]
        judged = judge_claims(write_store(tmp_path / "s", {("toy", "cand20"): made}, claims=claims, seeds=seeds))
        held = [one for one in judged if one.verdict.word == "held"]
        assert len(held) < len(judged)
        assert held
        assert all(one.figures[0].estimate.low > 0 and one.figures[0].p_holm < 0.05 for one in held)


TREND = {"says": "grows", "kind": "trend", "row": "S-DPO", "key": "negatives.count"}


class TestTrend:
    def store(self, folder, hits, seeds=1, **claim):
        rows = {
            f"S-DPO, count {count}": [among(ranks_of(h, seed=s)) for s in range(seeds)] for count, h in hits.items()
        }
        keys = {f"S-DPO, count {count}": {"negatives.count": count} for count in hits}
        results = {("toy", "cand20"): rows}
        return write_store(folder, results, claims=[{**TREND, **claim}], seeds=seeds, keys=keys, base=None)

    @pytest.mark.parametrize("seeds", [1, 2])
    def test_the_rise_along_the_line_by_hand(self, tmp_path, seeds):
        # at 1, 3, 9 the logarithms are equally far apart: the line from 0.2 over 0.3 to 0.4 rises by 0.2
        one = only(self.store(tmp_path / "s", {1: 80, 3: 120, 9: 160}, seeds))
        assert one.figures[0].name == "HR@1 from 1 to 9"
        assert one.figures[0].estimate.value == pytest.approx(0.2)
        assert (one.verdict.word, one.figures[0].estimate.low > 0) == ("held", True)
        assert "rises at every step (1: 0.200, 3: 0.300, 9: 0.400)" in one.said

    def test_on_a_linear_scale_the_far_value_weighs_more(self, tmp_path):
        # x - mean: -2, -1, 3 of [0, 1, 5]; sum of squares 14; slope (-2 x .2 - .3 + 3 x .4)/14 x 5
        one = only(self.store(tmp_path / "s", {0: 80, 1: 120, 5: 160}, scale="linear"))
        assert one.figures[0].estimate.value == pytest.approx(0.5 / 14 * 5)

    def test_zero_has_no_logarithm_and_a_remedy(self, tmp_path):
        assert "claim it with `scale: linear`" in only(self.store(tmp_path / "s", {0: 80, 1: 120})).said

    def test_a_dent_is_told(self, tmp_path):
        assert "not monotone" in only(self.store(tmp_path / "s", {1: 80, 3: 160, 9: 140})).said

    def test_one_value_makes_no_trend(self, tmp_path):
        assert "fewer than two numbers" in only(self.store(tmp_path / "s", {1: 80})).said


BIAS = {"says": "less biased", "kind": "bias", "row": "NAPO", "than": "SFT"}


class TestBias:
    def test_rows_that_recommend_the_same_are_not_less_biased(self, tmp_path):
        rng, top = np.random.default_rng(1), np.array([[0, 0, 0, 5, 5]] * CASES)
        popularity = 50 + rng.normal(size=CASES)
        rows = {
            name: [whole(ranks_of(200, seed=s), popularity - rounding, top) for s in range(2)]
            for name, rounding in {"SFT": 0.0, "NAPO": 1e-13}.items()
        }
        one = only(write_store(tmp_path / "s", {("toy", "full"): rows}, claims=[BIAS], seeds=2))
        assert one.figures[0].estimate.value == pytest.approx(0, abs=1e-12)
        assert one.verdict.word == "not held"

    def store(self, folder, *, lower=5.0, hits=200, even=True, seeds=2):
        """SFT's lists lie in the upper two fifths, NAPO's are even; its popularity is lower, its HR@10 hits of 400."""
        rng = np.random.default_rng(1)
        top = np.array([[0, 0, 0, 5, 5]] * CASES)
        ours = np.array([[2, 2, 2, 2, 2]] * CASES) if even else top
        noise = [rng.normal(size=CASES) for _ in range(2 * seeds)]
        rows = {
            "SFT": [whole(ranks_of(200, seed=s), 50 + noise[s], top) for s in range(seeds)],
            "NAPO": [whole(ranks_of(hits, seed=s), 50 - lower + noise[seeds + s], ours) for s in range(seeds)],
        }
        for given in rows.values():  # rank 7 is found among ten: make misses of them
            for one in given:
                one.ranks[one.ranks == 7] = 0
        return write_store(folder, {("toy", "full"): rows}, claims=[BIAS], seeds=seeds)

    @pytest.mark.parametrize("seeds", [1, 2])
    def test_lower_popularity_and_mgu_at_the_same_accuracy_are_held(self, tmp_path, seeds):
        one = only(self.store(tmp_path / "s", seeds=seeds))
        popularity, mgu, found = one.figures
        assert (popularity.name, mgu.name, found.name) == ("popularity", "MGU", "HR@10")
        assert popularity.estimate.value == pytest.approx(-5, abs=0.3)
        # shares 0 0 0 .5 .5 against .2 each: (3 x .2 + 2 x .3)/5 = .24; even lists have 0
        assert mgu.estimate.value == pytest.approx(-0.24)
        assert popularity.estimate.high < 0 > mgu.estimate.high
        assert found.estimate.value == 0
        assert one.verdict.word == "held"
        assert "popularity -10 %" in one.said

    def test_at_a_lower_accuracy_it_is_not_held(self, tmp_path):
        assert only(self.store(tmp_path / "s", hits=150)).verdict.word == "not held"

    def test_more_popular_lists_are_not_held(self, tmp_path):
        assert only(self.store(tmp_path / "s", lower=-5.0)).verdict.word == "not held"

    def test_one_of_the_two_alone_does_not_hold(self, tmp_path):
        assert only(self.store(tmp_path / "s", even=False)).verdict.word == "not held"


class TestFiguresOfLists:
    """SFT recommends items 0 to 2 to everybody, NAPO each user others; genres x and y, of the histories half each."""

    def store(self, folder, *, seeds=2, hits=200, **claim):
        alike = np.tile(np.arange(10) % 3, (CASES, 1))
        varied = (np.arange(CASES)[:, None] // 2 + np.arange(10)) % 40
        groups = {"SFT": np.tile([10.0, 0.0], (CASES, 1)), "NAPO": np.tile([6.0, 4.0], (CASES, 1))}
        liked = {"genre": np.tile([2.0, 2.0], (CASES, 1))}
        fifths = np.full((CASES, 5), 2)
        rows = {}
        for row, top in (("SFT", alike), ("NAPO", varied)):
            ranks = [ranks_of(200 if row == "SFT" else hits, seed=s) for s in range(seeds)]
            rows[row] = [whole(given, np.full(CASES, 50.0), fifths, top=top) for given in ranks]
            for one in rows[row]:
                one.ranks[one.ranks == 7] = 0
                one.bias.recommended_groups["genre"] = groups[row]
                one.bias.liked_groups.update(liked)
        claims = [{"says": "fairer lists", "kind": "bias", "row": "NAPO", "than": "SFT", **claim}]
        return write_store(folder, {("toy", "full"): rows}, claims=claims, seeds=seeds)

    @pytest.mark.parametrize("seeds", [1, 2])
    def test_figures_by_hand(self, tmp_path, seeds):
        lower, higher = ["ORRatio", "MGU genre", "DGU genre"], ["DivRatio"]
        one = only(self.store(tmp_path / "s", seeds=seeds, lower=lower, higher=higher, metric="NDCG@10"))
        assert [figure.name for figure in one.figures] == [*lower, *higher, "NDCG@10"]
        found = [figure.estimate for figure in one.figures]
        # three of 40 items, all of them alike often: 3/40 against 1
        assert found[0].value == pytest.approx(3 / 40 - 1)
        # shares 1 0 and .6 .4 against .5 .5: MGU .5 and .1, DGU 1 and .2
        assert [one.value for one in found[1:3]] == pytest.approx([-0.4, -0.8])
        assert found[3].value == pytest.approx(40 / 4000 - 3 / 4000)
        assert all(estimate.high < 0 for estimate in found[:3])
        assert found[3].low > 0
        assert found[4].value == 0
        assert one.verdict.word == "held"

    def test_not_at_the_price_of_accuracy(self, tmp_path):
        one = only(self.store(tmp_path / "s", hits=150, lower=["ORRatio"], metric="NDCG@10"))
        assert one.verdict.word == "not held"

    def test_the_other_way_round_is_not_held(self, tmp_path):
        assert only(self.store(tmp_path / "s", higher=["ORRatio"])).verdict.word == "not held"

    @pytest.mark.parametrize("name", ["ORatio", "MGU studio"])
    def test_a_figure_that_nothing_has_is_no_verdict_with_the_reason(self, tmp_path, name):
        one = only(self.store(tmp_path / "s", lower=[name]))
        assert one.said.startswith(f"no verdict, no figure '{name}' of lists")


MEMORY = {"says": "no memory", "kind": "memory", "row": "NAPO", "than": "SFT", "at_most": 1.05}


class TestMemory:
    def store(self, folder, ratios, at_most=1.05):
        costs = {"NAPO": [{"peak_gb": 2.0 * ratio} for ratio in ratios], "SFT": [{"peak_gb": 2.0}] * len(ratios)}
        results, claim = two_rows(10, 10, seeds=len(ratios)), {**MEMORY, "at_most": at_most}
        return write_store(folder, results, claims=[claim], seeds=len(ratios), costs=costs)

    def test_by_hand(self, tmp_path):
        one = only(self.store(tmp_path / "s", [1.0, 1.02, 1.04]))
        # logarithms 0, .019803, .039221: mean .019674, error .011324, t(2) 4.3027
        estimate = one.figures[0].estimate
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1.019869, 0.971370, 1.070790), abs=1e-5)
        assert one.verdict.word == "undecided"
        assert "2.04 against 2.00 GB" in one.said

    @pytest.mark.parametrize(("ratios", "word"), [([1.0, 1.001], "held"), ([1.2, 1.21, 1.2], "not held")])
    def test_the_whole_interval_has_to_lie_on_one_side(self, tmp_path, ratios, word):
        assert only(self.store(tmp_path / "s", ratios)).verdict.word == word

    def test_of_one_seed_nothing_is_known_of_the_spread(self, tmp_path):
        one = only(self.store(tmp_path / "s", [1.0]))
        assert one.verdict.word == "undecided"
        assert one.ours == "memory x1.000, no interval"

    def test_the_preference_stage_counts_where_it_was_logged(self, tmp_path):
        rows = (("NAPO", 1.5), ("SFT", 1.0))
        curves = [
            {
                "data": "toy",
                "row": row,
                "seed": seed,
                "stage": "preference",
                "step": step,
                "memory_gb": gb - 0.1 * (step == 1),
            }
            for row, gb in rows
            for seed in (0, 1)
            for step in (1, 2)
        ]
        results = two_rows(10, 10, seeds=2)
        one = only(write_store(tmp_path / "s", results, claims=[MEMORY], seeds=2, curves=curves))
        assert one.figures[0].estimate.value == pytest.approx(1.5)
        assert "until the preference stage ended" in one.said


class TestWhatCannotBeJudged:
    CLAIMS = (
        {**BEATS, "better": "DPO"},
        {**BEATS, "better": "late"},
        {**BEATS, "protocol": "full"},
        {**BEATS, "metric": "HR@3"},
        {**BEATS, "data": ["elsewhere"]},
        {"says": "m", "kind": "memory", "row": "DPO", "than": "SFT", "at_most": 1.0},
        {"says": "b", "kind": "bias", "row": "NAPO", "than": "SFT"},
        {"says": "t", "kind": "trend", "row": "NAPO", "key": "negatives.count"},
    )

    def test_no_cell_of_the_table_is_empty_and_each_says_why(self, tmp_path):
        results = two_rows(200, 150, seeds=2)
        results["toy", "cand20"]["late"] = [among(ranks_of(200))]
        store = write_store(tmp_path / "s", results, claims=self.CLAIMS, seeds=2)
        judged = judge_claims(store)
        assert len(judged) == len(self.CLAIMS)
        assert {one.verdict.word for one in judged} == {"no verdict"}
        reasons = [one.verdict.reason for one in judged]
        for reason, part in zip(
            reasons,
            [
                *("no row DPO", "not all seeds of late", "nothing was judged by full", "'HR@3'", "not in this sweep"),
                *("no cell of DPO", "nothing was judged by full", "fewer than two"),
            ],
            strict=True,
        ):
            assert part in reason
        lines = claims_markdown(judged).splitlines()
        assert len(lines) == 2 + len(judged)
        assert all(cell.strip() for line in lines for cell in line.strip("|").split("|"))
        assert [one["verdict"]["reason"] for one in json.loads(claims_json(judged))] == reasons

    def test_a_leak_is_said_beside_the_verdict(self, tmp_path):
        check = {"name": "slot", "value": 0.5, "interval": None, "verdict": "FAIL"}
        store = write_store(
            tmp_path / "s", two_rows(200, 150), claims=[BEATS], checks={"toy NAPO 0": {"drawn": [check]}}
        )
        assert "LEAKED" in only(store).said


SWEEP = """
methods:
  SFT: {recipe: sft.yaml}
  S-DPO: {recipe: sdpo.yaml, grid: {negatives.count: [1, 3]}}
data: {toy: {}, other: {data: {interactions: log.csv, items: items.csv}}}
baselines: false
claims:
"""
MISTAKES = {
    "a row that is not there": (
        "{says: a, better: SDPO, worse: SFT}",
        ["`claims.0.better`: no row 'SDPO'", "sweep.yaml, line 8", "one of: S-DPO, count 1"],
    ),
    "a method of no such name": ("{says: a, kind: trend, row: SDPO, key: negatives.count}", ["no method", "`S-DPO`"]),
    "a key of no grid": ("{says: a, kind: trend, row: S-DPO, key: negatives.cuont}", ["no key", "`negatives.count`"]),
    "data of no such name": ("{says: a, better: SFT, worse: SFT, data: [tyo]}", ["no data set 'tyo'", "`toy`"]),
    "a protocol that nothing is judged by": (
        "{says: a, better: SFT, worse: SFT, protocol: gen20}",
        ["judged by gen20", "protocols: [cand20, full, gen20]", "line 8"],
    ),
    "a key that its kind lacks": (
        "{says: a, kind: memory, row: SFT}",
        ["kind memory needs `than`, `at_most`", "line 8"],
    ),
    "a key that its kind has no use for": ("{says: a, better: SFT, worse: SFT, key: k}", ["no use for `key`"]),
    "an unknown key": ("{says: a, bettr: SFT}", ["unknown key `claims.0.bettr`", "`better`"]),
    "an unknown kind": ("{says: a, kind: acuracy}", ["`claims.0.kind` cannot be", "`accuracy`"]),
    "nothing said": ("{better: SFT, worse: SFT}", ["`claims.0.says` is missing"]),
    "margin and ratio": ("{says: a, better: SFT, worse: SFT, margin: 0.1, ratio: 1.1}", ["not both"]),
}


class TestInASweepFile:
    @pytest.fixture
    def folder(self, tmp_path):
        write_recipes(tmp_path)
        return tmp_path

    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_a_mistake_is_named_with_its_line(self, mistake, folder):
        claim, said = MISTAKES[mistake]
        with pytest.raises(UserError) as caught:
            load_plan(write_sweep(folder, f"{SWEEP}  - {claim}\n"))
        whole = "\n".join([str(caught.value), *(f"{error}" for error in getattr(caught.value, "errors", []))])
        assert [part for part in said if part not in whole] == [], whole

    def test_data_that_are_not_asked_for_this_time_may_be_named(self, folder):
        path = write_sweep(folder, f"{SWEEP}  - {{says: a, better: SFT, worse: SFT, data: [other]}}\n")
        plan = load_plan(path, ["seed=1"], Asked(data={"toy": None}))
        assert plan.command == f"napo sweep {path} seed=1 --data toy"
