import io
import json

import numpy as np
import pytest
from rich.console import Console

from napo.data.candidates import draw_candidates
from napo.errors import UserError
from napo.evaluation.baselines import Chance, Popularity
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
    lines = [line for line in make_table(results, base="SFT").markdown().splitlines() if line.startswith("|")]
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
    assert table.aims["tail share of targets"] == pytest.approx(rows["chance"].bias.target_tail)


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
