import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from napo.data.candidates import draw_candidates
from napo.data.item_groups import ItemGroups
from napo.errors import UserError
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.comparison import Claim, compare_lists
from napo.evaluation.leaks import BlindRule, Check
from napo.evaluation.protocols import evaluate_candidates, evaluate_full
from napo.evaluation.table import ROW_ORDER, make_table


class Oracle:
    """Puts the target on top in a share of cases, which it knows from its id and the newest item."""

    name = "oracle"

    def __init__(self, lists, cases, share, seed=0):
        rng = np.random.default_rng(seed)
        self.scores = rng.random(lists.items.shape)
        self.scores[np.arange(len(cases)), lists.slot] += np.where(rng.random(len(cases)) < share, 1.0, 0.0)

    def candidate_scores(self, histories, candidates):
        return self.scores


@pytest.fixture(scope="module")
def cases(zipf_split):
    return zipf_split.cases("test").subset(300, seed=0)


@pytest.fixture(scope="module")
def lists(cases):
    return draw_candidates(cases)


@pytest.fixture(scope="module")
def judge(cases, lists):
    def judged(share, seed=0, **more):
        return evaluate_candidates(Oracle(lists, cases, share, seed), cases, lists, batch=1000, **more)

    return judged


@pytest.fixture(scope="module")
def results(zipf_split, cases, lists, judge):
    valid = zipf_split.cases("valid")
    return {
        "NAPO": judge(0.6, prompt="next"),
        "SFT": judge(0.3, seed=1, prompt="next"),
        "popularity": evaluate_candidates(Popularity(zipf_split.popularity), cases, lists),
        "mine": judge(0.3, seed=2),
        "chance": evaluate_candidates(Chance(400), cases, lists),
        "blind slot rule": evaluate_candidates(BlindRule.learn(valid, draw_candidates(valid)), cases, lists),
    }


def test_rows_stand_in_one_order_and_others_behind(results):
    table = make_table(results, base="SFT")
    assert [row.name for row in table.rows] == ["chance", "blind slot rule", "popularity", "SFT", "NAPO", "mine"]
    assert ROW_ORDER.index("DPO") < ROW_ORDER.index("S-DPO") < ROW_ORDER.index("NAPO")


def test_the_heading_names_protocol_prompt_split_lists_cases_and_users(results, cases, lists, zipf_split):
    heading = make_table(results).heading
    users = np.unique(cases.user).size
    for part in (
        "cand20",
        "prompt next",
        zipf_split.digest[:12],
        lists.digest[:12],
        f"300 test cases of {users} users",
    ):
        assert part in heading


def test_differences_are_paired_against_the_base_and_adjusted(results):
    table = make_table(results, base="SFT")
    rows = {row.name: row for row in table.rows}
    assert rows["SFT"].against is None
    napo = rows["NAPO"].against
    hits = {name: result.metrics["HR@1"].mean() for name, result in results.items()}
    assert napo.difference.value == pytest.approx(hits["NAPO"] - hits["SFT"])
    assert napo.difference.low < napo.difference.value < napo.difference.high
    assert napo.p <= napo.p_holm
    assert napo.verdict.word == "held"
    assert rows["mine"].against.verdict.word in ("undecided", "not held")
    assert any("NAPO better than SFT: held" in line for line in table.footer)
    assert not any(line.startswith("chance better than") for line in table.footer)


def test_every_format_shows_the_same_figures(results):
    table = make_table(results, base="SFT")
    row = next(row for row in table.rows if row.name == "NAPO")
    hit = f"{row.metrics['HR@1'].value:.3f} [{row.metrics['HR@1'].low:.3f}, {row.metrics['HR@1'].high:.3f}]"
    assert hit in table.markdown()
    screen = Console(file=io.StringIO(), width=250)
    screen.print(table.rich())
    assert hit in screen.file.getvalue()
    stored = json.loads(json.dumps(table.to_json()))
    napo = next(row for row in stored["rows"] if row["name"] == "NAPO")
    assert napo["metrics"]["HR@1"]["value"] == pytest.approx(row.metrics["HR@1"].value)
    assert napo["against"]["verdict"]["word"] == "held"
    assert {"HR@1", "HR@5", "HR@10", "NDCG", "NDCG@5", "NDCG@10", "MRR", "popularity"} <= napo["metrics"].keys()


def test_the_average_over_users_stands_below(results, cases):
    table = make_table(results)
    hits = results["NAPO"].metrics["HR@1"]
    by_user = np.mean([hits[cases.user == user].mean() for user in np.unique(cases.user)])
    row = next(row for row in table.rows if row.name == "NAPO")
    assert row.by_user.value == pytest.approx(by_user)
    assert any(line.startswith("HR@1 averaged by user") and f"NAPO {by_user:.3f}" in line for line in table.footer)


def test_markdown_is_a_table(results):
    first, *_ = make_table(results, base="SFT").markdown().split("\n* ")  # what comes before the footer
    lines = [line for line in first.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(results)
    assert len({line.count("|") for line in lines}) == 1


def test_a_failed_check_puts_leaked_into_the_title(results):
    check = Check("slot_rule", 0.559, "FAIL", (0.540, 0.578), {"chance": 0.05})
    table = make_table(results, checks=[check])
    assert table.heading.startswith("LEAKED")
    assert check.line in table.footer
    assert table.to_json()["leaked"]


def test_ties_are_noted(results):
    assert any(note.startswith("popularity") and "tie" in note for note in make_table(results).notes)


def test_candidates_and_whole_catalog_never_share_a_table(results, zipf_split, cases):
    full = evaluate_full(Popularity(zipf_split.popularity), cases)
    with pytest.raises(UserError, match="differ in protocol"):
        make_table({"SFT": results["SFT"], "popularity": full})


def test_what_was_judged_otherwise_is_refused(results, zipf_split, cases, lists, judge):
    popularity = Popularity(zipf_split.popularity)
    with pytest.raises(UserError, match="differ in seen items"):
        make_table({rule: evaluate_full(popularity, cases, mask_seen=rule) for rule in ("history", "none")})
    with pytest.raises(UserError, match="differ in list length"):
        make_table({str(k): evaluate_full(popularity, cases, k=k) for k in (5, 10)})
    with pytest.raises(UserError, match="differ in prompt"):
        make_table({"SFT": judge(0.3, prompt="next"), "NAPO": judge(0.3, prompt="list")})
    others = zipf_split.cases("test").subset(200, seed=1)
    with pytest.raises(UserError, match="differ in cases"):
        make_table({"SFT": results["SFT"], "NAPO": evaluate_candidates(popularity, others, draw_candidates(others))})
    drawn_anew = draw_candidates(cases, list_seed=1)
    with pytest.raises(UserError, match="differ in candidate lists"):
        make_table({"SFT": results["SFT"], "popularity": evaluate_candidates(popularity, cases, drawn_anew)})


def test_the_whole_catalog_has_columns_of_its_own(zipf_split, cases):
    rows = {
        "popularity": evaluate_full(Popularity(zipf_split.popularity), cases),
        "chance": evaluate_full(Chance(400), cases),
    }
    table = make_table(rows, base="chance")
    assert table.header[:5] == ["method", "HR@10 [95 %]", "NDCG@10", "popularity", "tail"]
    assert "coverage [95 %]" in table.header
    assert "all of the user's earlier items left out" in table.heading
    assert table.aims["tail of targets"] == pytest.approx(rows["chance"].bias.aims["tail"])
    assert any(f"tail of targets {rows['chance'].bias.aims['tail']:.3f}" in line for line in table.footer)
    lists = table.sides[0]
    assert lists.header == ["figure", "chance", "popularity", "the targets"]
    figures = {line[0]: line for line in lists.body}
    assert {"log popularity", "novelty", "lift", "entropy", "MGU popularity", "DivRatio"} <= figures.keys()
    assert figures["tail"][-1] == f"{rows['chance'].bias.aims['tail']:.3f}"
    assert figures["coverage"][-1] == ""  # of fewer recommendations: not comparable
    assert len({len(line) for line in [lists.header, *lists.body]}) == 1
    json.loads(json.dumps(table.to_json(), allow_nan=False))


def test_columns_of_the_items_give_figures_and_groups(zipf_split, cases):
    genres = ItemGroups("genre", ("even", "odd"), np.eye(2)[np.arange(400) % 2])
    rows = {
        "popularity": evaluate_full(Popularity(zipf_split.popularity), cases, groups=[genres]),
        "chance": evaluate_full(Chance(400), cases, groups=[genres]),
    }
    table = make_table(rows, base="chance")
    assert {"ILD genre", "KL genre", "MGU genre", "DGU genre"} <= {line[0] for line in table.sides[0].body}
    by_genre = next(group for group in table.groups if group.name == "targets by genre")
    assert by_genre.labels == ["even", "odd"]
    assert sum(by_genre.cases) == len(cases)
    chance = next(row for row in by_genre.rows if row.name == "chance")
    even = cases.target % 2 == 0
    assert chance.groups[0].value == pytest.approx(rows["chance"].metrics["HR@10"][even].mean())
    assert "**HR@10 of targets by genre**" in table.markdown()


def test_the_spread_of_lists_is_compared_by_swapping_users(zipf_split, cases):
    popular, chance = (evaluate_full(scorer, cases, k=3) for scorer in (Popularity(zipf_split.popularity), Chance(400)))
    difference, p = compare_lists(chance, popular, "coverage", swaps=200)
    assert difference.value == pytest.approx(chance.bias.coverage.value - popular.bias.coverage.value)
    assert difference.low < difference.value < difference.high
    # the same list for all has the same coverage without any one user: the error is chance's alone
    assert difference.error == pytest.approx(chance.bias.coverage.error, rel=0.05)
    assert p == pytest.approx(1 / 201)
    with pytest.raises(UserError, match="no figure 'gini'"):
        compare_lists(chance, popular, "gini")
    with pytest.raises(UserError, match="different cases"):
        compare_lists(chance, evaluate_full(Chance(400), cases.subset(50, seed=1), k=3), "Gini")


def test_coverage_and_gini_of_challengers_stand_below_the_table_with_holm_over_all(zipf_split, cases):
    popular = evaluate_full(Popularity(zipf_split.popularity), cases, k=3)
    chances = [evaluate_full(Chance(400, seed=seed), cases, k=3) for seed in (0, 1)]
    rows = {"popularity": popular, "SFT": popular, "NAPO": chances[0], "mine": chances[1]}
    table = make_table(rows, base="SFT")
    asked = [(one.row, one.figure) for one in table.spread]
    assert asked == [("NAPO", "coverage"), ("mine", "coverage"), ("NAPO", "Gini"), ("mine", "Gini")]
    assert all(one.p_holm == pytest.approx(4 / 10_001) for one in table.spread)  # the least that 10,000 swaps can give
    line = next(line for line in table.footer if line.startswith("coverage against SFT, p (Holm): NAPO +"))
    assert "p < .001, mine +" in line
    assert [one["figure"] for one in table.to_json()["spread"]] == ["coverage", "coverage", "Gini", "Gini"]
    seeds = make_table({"SFT": popular, "NAPO": chances}, base="SFT").spread[0]
    assert seeds.difference.seed_error > 0
    assert seeds.p == pytest.approx(seeds.difference.p_value())


def test_every_row_without_a_place_of_its_own_may_be_better_than_one_of_its_kind(judge):
    rows = {"SFT": judge(0.3), "slow": judge(0.3, 1), "fast": judge(0.3, 2)}
    assert [row.name for row in make_table(rows, base="fast").challengers] == ["slow"]
    assert [row.name for row in make_table(rows, base="SFT").challengers] == ["slow", "fast"]


def test_rows_that_differ_for_nobody_tell_nothing_of_the_smallest_difference(judge):
    same = judge(0.3)

    def smallest(**rows):
        table = make_table({"SFT": same, **rows}, base="SFT")
        return next(line for line in table.footer if line.startswith("smallest")).partition("power: ")[2]

    assert (
        smallest(NAPO=same) == "not known (it takes users who differ: NAPO (+0.000) is as far from SFT for all of them)"
    )
    other = smallest(NAPO=judge(0.5, seed=1), DPO=same)
    assert re.fullmatch(r"0\.\d{3} \(it takes users who differ: DPO \(\+0\.000\) is .*", other)
    assert re.fullmatch(r"0\.\d{3}", smallest(NAPO=judge(0.5, seed=1)))


def test_rows_of_which_one_lacks_a_figure_stay_aligned(zipf_split, cases):
    # the least popular item is nobody's target: nothing is found, and there is no PopREO, which the other row has
    blind = Popularity(-zipf_split.popularity)
    blind.name = "unpopularity"
    rows = {"popularity": Popularity(zipf_split.popularity), "mine": blind}
    table = make_table({name: evaluate_full(scorer, cases, k=1) for name, scorer in rows.items()})
    lists = table.sides[0]
    line = next(line for line in lists.body if line[0] == "PopREO")
    assert [bool(cell) for cell in line[1:]] == [True, False, False]


def test_probabilities_are_judged_by_calibration(judge, lists, cases):
    scorer = Oracle(lists, cases, 0.5)
    scorer.scores_are_logits = True
    result = evaluate_candidates(scorer, cases, lists, batch=1000)
    # the softmax of 20 numbers below 2 is sure of nothing, while half of the targets are on top
    table = make_table({"SFT": [result] * 2, "NAPO": judge(0.5)})
    calibration = table.rows[0].calibration
    assert calibration.hit_rate == pytest.approx(result.metrics["HR@1"].mean())
    assert calibration.ece == pytest.approx(calibration.hit_rate - calibration.mean_probability, abs=0.02)
    assert calibration.ece > calibration.null_high
    assert any(
        line.startswith(f"ECE of the top candidate: SFT {calibration.ece:.3f} (perfect") for line in table.footer
    )
    assert "Brier" in table.rows[0].metrics
    assert table.rows[1].calibration is None


def test_ties_as_if_shuffled_are_in_the_json(results):
    popularity = next(row for row in make_table(results).to_json()["rows"] if row["name"] == "popularity")
    assert popularity["expected"]["MRR"] > popularity["metrics"]["MRR"]["value"]


def test_claims_and_searches(results):
    table = make_table(
        results, base="SFT", claims=[Claim("NAPO", "mine", ratio=1.15)], searched={"SFT": 1, "NAPO": 5, "mine": 5}
    )
    assert "NAPO better than SFT: no verdict, unequal search budget: 5 settings tried against 1" in table.verdicts
    assert any(line.startswith("NAPO better than mine by 15%: held (x") for line in table.verdicts)
    assert table.to_json()["claims"][0]["verdict"]["word"] == "held"
    assert "settings tried: SFT 1, NAPO 5, mine 5" in table.footer
    assert table.to_json()["searched"] == {"SFT": 1, "NAPO": 5, "mine": 5}


def test_the_last_place_of_a_list_is_marked_trivial(cases, lists):
    result = evaluate_candidates(Chance(400), cases, lists, ks=(1, 20))
    assert any(note == "HR@20 of 20 candidates is 1 whoever ranks them" for note in result.notes)


def test_several_seeds_count_seeds_and_cases(judge):
    seeds = {"SFT": [judge(0.3, seed) for seed in (1, 2, 3)], "NAPO": [judge(0.6, seed) for seed in (4, 5, 6)]}
    table = make_table(seeds, base="SFT")
    row = table.rows[1]
    assert row.seeds == 3
    difference = row.against.difference
    means = {name: np.mean([result.metrics["HR@1"].mean() for result in given]) for name, given in seeds.items()}
    assert difference.value == pytest.approx(means["NAPO"] - means["SFT"])
    assert row.against.p == pytest.approx(difference.p_value())
    assert "NAPO (3 runs)" in table.markdown()
    # three runs are no 900 cases: the error stays above that of pooled independent cases
    pooled = np.concatenate([result.metrics["HR@1"] for result in seeds["NAPO"]])
    assert row.metrics["HR@1"].error > 0.8 * pooled.std() / np.sqrt(300) / np.sqrt(3)


def test_a_row_of_one_result_meets_every_seed_of_the_base(judge, results):
    table = make_table({"SFT": [judge(0.3, seed) for seed in (1, 2)], "popularity": results["popularity"]}, base="SFT")
    assert table.rows[0].seeds == 1
    assert table.rows[0].against is not None
    with pytest.raises(UserError, match="3 seeds and 'SFT' 2"):
        make_table({"SFT": [judge(0.3, 1)] * 2, "NAPO": [judge(0.3, 2)] * 3}, base="SFT")


def test_figures_of_several_seeds_are_averaged(zipf_split, cases):
    runs = [evaluate_full(Chance(400, seed=seed), cases) for seed in (0, 1, 2)]
    figure = make_table({"chance": runs}).rows[0].figures["coverage"]
    assert figure.value == pytest.approx(np.mean([run.bias.coverage.value for run in runs]))
    assert figure.low < figure.value < figure.high


def test_a_mistyped_base_or_metric_gets_the_nearest_name(results):
    with pytest.raises(UserError, match="no row 'sft'") as wrong:
        make_table(results, base="sft")
    assert "`SFT`" in str(wrong.value)
    with pytest.raises(UserError, match="no metric 'NDGC'"):
        make_table(results, metric="NDGC")


def test_another_metric_can_be_compared(results):
    table = make_table(results, base="SFT", metric="NDCG")
    assert table.header[1] == "NDCG [95 %]"
    assert any(name.startswith("NDCG against SFT") for name in table.header)
