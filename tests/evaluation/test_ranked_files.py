import polars as pl
import pytest

from napo.errors import UserError, UserErrors
from napo.evaluation.ranked_files import read_ranked


@pytest.fixture
def cases(build_split):
    """u0 and u1 with one test case each, at position 3; u2 with two, at 4 and 5."""
    split = build_split([[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 4, 5, 1, 3]], items=6)
    split.test_from[2] = 4
    return split.cases("test")


def csv(tmp_path, *lines: str, name: str = "tool.csv"):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    return path


ROWS = [("u0", 3, "i4", 0.5), ("u0", 3, "i5", 0.25), ("u2", 5, "i1", -1.0), ("u1", 3, "i1", 2.0)]


def test_csv_parquet_and_trec_hold_the_same_rows(cases, tmp_path):
    table = csv(tmp_path, "user,position,item,score", *(f"{u},{p},{i},{s}" for u, p, i, s in ROWS))
    frame = pl.DataFrame(ROWS, schema=["user", "position", "item", "score"], orient="row")
    frame.write_parquet(tmp_path / "tool.parquet")
    run = csv(tmp_path, *(f"{u}:{p} Q0 {i} 1 {s} x" for u, p, i, s in ROWS if u != "u0"), name="tool.run")
    for path in (table, tmp_path / "tool.parquet"):
        rows = read_ranked(path, cases)
        assert rows.case.tolist() == [0, 0, 3, 1]
        assert rows.item.tolist() == [4, 5, 1, 1]
        assert rows.score.tolist() == [0.5, 0.25, -1.0, 2.0]
    assert read_ranked(run, cases).case.tolist() == [3, 1]


def test_a_user_with_one_case_needs_no_position(cases, tmp_path):
    rows = read_ranked(csv(tmp_path, "user,item,score", "u1,i1,2"), cases)
    assert rows.case.tolist() == [1]
    assert read_ranked(csv(tmp_path, "u1 Q0 i1 1 2 x", name="a.trec"), cases).case.tolist() == [1]
    with pytest.raises(UserError, match="test has 2 cases of user 'u2'") as unclear:
        read_ranked(csv(tmp_path, "user,item,score", "u2,i1,2"), cases)
    assert "position" in unclear.value.remedy


def test_ranks_count_from_the_best_and_scores_from_the_worst(cases, tmp_path):
    ranked = read_ranked(csv(tmp_path, "user,item,rank", "u0,i4,1", "u0,i5,2"), cases)
    assert ranked.score[0] > ranked.score[1]
    both = read_ranked(csv(tmp_path, "user,item,rank,score", "u0,i4,2,0.1", "u0,i5,1,0.2"), cases)
    assert both.score.tolist() == [0.1, 0.2]
    with pytest.raises(UserError, match="rank and score disagree in the list of user 'u0', position 3"):
        read_ranked(csv(tmp_path, "user,item,rank,score", "u0,i4,1,0.1", "u0,i5,2,0.2"), cases)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("u9,3,i1,1", "user 'u9', position '3', is no test case"),
        ("u0,2,i1,1", "user 'u0', position '2', is no test case"),
        ("u0,3,i9,1", "item 'i9' is not in the catalog"),
        ("u0,3,i4,7", "item 'i4' stands twice in the list of user 'u0', position 3"),
        ("u0,3,i1,high", "'high' is no score"),
        ("u0,3,i1,nan", "'nan' is no score"),
        ("u0,3,i1,inf", "'inf' is no score"),
        ("u0,3,i1,", "None is no score"),
    ],
)
def test_a_row_that_means_nothing_is_named_with_its_line(cases, tmp_path, row, said):
    with pytest.raises(UserError, match=said) as wrong:
        read_ranked(csv(tmp_path, "user,position,item,score", "u0,3,i4,1", row), cases)
    assert "tool.csv, line 3" in str(wrong.value)


def test_unlike_mistakes_come_at_once_and_like_ones_are_counted(cases, tmp_path):
    path = csv(tmp_path, "user,position,item,score", "u9,3,i1,1", "u0,3,i9,1", "u8,3,i1,1")
    with pytest.raises(UserErrors) as wrong:
        read_ranked(path, cases)
    assert len(wrong.value.errors) == 2
    assert "line 2, and 1 rows more" in wrong.value.errors[0].where


@pytest.mark.parametrize(
    ("lines", "name", "said"),
    [
        (["user,item,points", "u0,i1,1"], "tool.csv", "need a column `score` or `rank`"),
        (["who,item,score", "u0,i1,1"], "tool.csv", "need a column `user`"),
        (["u0 Q0 the item 1 1 x"], "tool.run", "7 fields where a TREC run has six"),
        ([""], "tool.run", "no rows"),
    ],
)
def test_a_file_of_another_form_is_said(cases, tmp_path, lines, name, said):
    with pytest.raises(UserError, match=said):
        read_ranked(csv(tmp_path, *lines, name=name), cases)


def test_a_file_that_is_not_there_is_said(cases, tmp_path):
    for name in ("tool.csv", "tool.run"):
        with pytest.raises(UserError, match="there is no file"):
            read_ranked(tmp_path / name, cases)
