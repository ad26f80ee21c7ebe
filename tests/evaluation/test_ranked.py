import numpy as np
import polars as pl
import pytest

from napo.data.candidates import draw_candidates
from napo.data.prepare import Prepared
from napo.errors import UserError
from napo.evaluation.baselines import Chance, Popularity
from napo.evaluation.judge import judge
from napo.evaluation.ranked import judge_ranked


def prepared_of(split, lists) -> Prepared:
    """Test cases with lists; there is no log, and validation is not asked for."""
    cases = split.cases("test")
    return Prepared(None, split, cases, lists, cases, lists, cases, lists)


@pytest.fixture
def small(build_split, build_lists) -> Prepared:
    # training (0, 1), (2, 3), (0, 2); validation one each; test targets 3, 1, 5
    split = build_split([[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 4, 5]], items=6)
    return prepared_of(split, build_lists(split, [[3, 4, 5], [4, 1, 5], [1, 3, 5]], slot=[0, 1, 2]))


def written(path, rows, columns=("user", "item", "score")):
    pl.DataFrame(rows, schema=list(columns), orient="row").write_parquet(path)
    return path


def test_scores_of_candidates_by_hand(small, tmp_path):
    rows = [("u0", "i3", 3), ("u0", "i4", 3), ("u0", "i5", 0), ("u1", "i1", 9), ("u1", "i4", 1), ("u1", "i5", 2)]
    result = judge_ranked(written(tmp_path / "tool.parquet", rows), small, "cand20")
    # u0's target 3 ties with 4: rank 2; u1's is on top; u2 has no list
    assert result.ranks.tolist() == [2, 1, 0]
    assert result.best_ranks.tolist() == [1, 1, 0]
    assert result.picks.tolist() == [4, 1, -1]
    assert result.metrics["HR@1"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(result.metrics["NDCG"], [0.63093, 1, 0], atol=1e-5)
    np.testing.assert_allclose(result.metrics["AUC"], [0.75, 1, 0])
    assert result.metrics["popularity"].tolist() == [0, 1, 0]
    np.testing.assert_allclose(result.expected["HR@1"], [0.5, 1, 0])
    np.testing.assert_allclose(result.expected["MRR"], [0.75, 1, 0])
    assert "tool: 1 cases have no list and count as misses" in result.notes


def test_a_candidate_without_a_score_stands_below_all_that_have_one(small, tmp_path):
    # u0: the target 3 has none, so it ties with 5 below 4; u1: the target 1 alone has one, however low
    rows = [("u0", "i4", -1e300), ("u1", "i1", -1e300)]
    result = judge_ranked(written(tmp_path / "tool.parquet", rows), small, "cand20")
    assert result.ranks.tolist() == [3, 1, 0]
    assert result.best_ranks.tolist() == [2, 1, 0]
    assert any("4 candidates of 2 cases have no score" in note for note in result.notes)


def test_an_item_that_is_no_candidate_is_refused(small, tmp_path):
    with pytest.raises(UserError, match="item 'i2' is no candidate of user 'u0', position 3") as refused:
        judge_ranked(written(tmp_path / "tool.parquet", [("u0", "i2", 1)]), small, "cand20")
    assert "--protocol full" in refused.value.remedy


def test_lists_from_the_whole_catalog_by_hand(small, tmp_path):
    rows = [("u0", "i4", 1), ("u0", "i3", 2), ("u0", "i5", 3), ("u1", "i4", 1), ("u1", "i5", 2)]
    result = judge_ranked(written(tmp_path / "tool.parquet", rows, ("user", "item", "rank")), small, "full")
    assert result.ranks.tolist() == [2, 0, 0]
    assert result.top[:, :4].tolist() == [[4, 3, 5, -1], [4, 5, -1, -1], [-1, -1, -1, -1]]
    np.testing.assert_allclose(result.metrics["NDCG@10"], [0.63093, 0, 0], atol=1e-5)
    assert result.notes[-2:] == [
        "tool: 1 cases have no list and count as misses",
        "tool: 2 lists are shorter than 10",
    ]


def test_of_equal_scores_the_target_comes_last(small, tmp_path):
    rows = [("u0", "i3", 1.0), ("u0", "i4", 1.0), ("u0", "i5", 2.0)]
    result = judge_ranked(written(tmp_path / "tool.parquet", rows), small, "full")
    assert result.ranks[0] == 3
    assert result.top[0, :3].tolist() == [5, 4, 3]


def test_an_item_the_user_has_seen_is_refused_unless_repeats_count(build_split, small, tmp_path):
    path = written(tmp_path / "tool.parquet", [("u0", "i3", 2), ("u0", "i1", 1)])
    with pytest.raises(UserError, match="item 'i1' stands in the history of user 'u0', position 3"):
        judge_ranked(path, small, "full")
    object.__setattr__(small.split, "mask_seen", "none")
    assert judge_ranked(path, small, "full").ranks[0] == 1


def test_a_file_comes_to_what_its_scorer_comes_to(zipf_split, tmp_path):
    lists = draw_candidates(zipf_split.cases("test"))
    prepared = prepared_of(zipf_split, lists)
    cases, keys = prepared.test, zipf_split.catalog.keys
    for scorer in (Chance(400), Popularity(zipf_split.popularity)):
        histories = cases.histories()
        scores = scorer.candidate_scores(histories, lists.items)
        top = scorer.top(histories, histories, 30)
        among = [
            (f"u{user}", position, keys[item], score)
            for user, position, items, row in zip(cases.user, cases.position, lists.items, scores, strict=True)
            for item, score in zip(items, row, strict=True)
        ]
        columns = ("user", "position", "item", "score")
        one = judge(scorer, prepared, "cand20")
        other = judge_ranked(written(tmp_path / "a.parquet", among, columns), prepared, "cand20")
        assert (one.ranks == other.ranks).all()
        assert (one.best_ranks == other.best_ranks).all()
        assert (one.picks == other.picks).all()
        whole = [
            (f"u{user}", position, keys[item], rank)
            for user, position, items in zip(cases.user, cases.position, top, strict=True)
            for rank, item in enumerate(items, start=1)
        ]
        path = written(tmp_path / "b.parquet", whole, ("user", "position", "item", "rank"))
        one, other = (
            judge(scorer, prepared, "full", full_cases=100),
            judge_ranked(path, prepared, "full", full_cases=100),
        )
        assert one.conditions == other.conditions
        assert (one.users == other.users).all()
        assert (one.top == other.top).all()
        found = other.ranks > 0
        if scorer.name == "chance":  # popularity's ties at the end of a list are cut off
            assert (one.ranks[found] == other.ranks[found]).all()
        assert (one.ranks[~found] > 30 - 1).all()
        assert any("lists of 2,400 cases that are not judged here" in note for note in other.notes)
