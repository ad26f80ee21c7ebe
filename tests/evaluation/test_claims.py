import pytest

from napo.errors import UserError
from napo.evaluation.claims import check_question, parse_claim, parse_tried
from napo.evaluation.comparison import Claim


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("NAPO > S-DPO", Claim("NAPO", "S-DPO")),
        ("  NAPO>S-DPO ", Claim("NAPO", "S-DPO")),
        ("NAPO > S-DPO by 0.01", Claim("NAPO", "S-DPO", margin=0.01)),
        ("NAPO > S-DPO by .01 on NDCG@10", Claim("NAPO", "S-DPO", margin=0.01, metric="NDCG@10")),
        ("NAPO > SFT longer by 15%", Claim("NAPO", "SFT longer", ratio=1.15)),
        ("NAPO > blind slot rule by 2.5 % on MRR", Claim("NAPO", "blind slot rule", ratio=1.025, metric="MRR")),
        ("NAPO > SFT on AUC", Claim("NAPO", "SFT", metric="AUC")),
        ("NAPO > led by nothing", Claim("NAPO", "led by nothing")),
    ],
)
def test_a_claim_is_two_rows_a_size_and_a_metric(text, claim):
    assert parse_claim(text) == claim


@pytest.mark.parametrize("text", ["", "NAPO", "NAPO >", "> SFT", "NAPO > SFT > DPO", "NAPO < SFT", "NAPO beats SFT"])
def test_what_is_no_claim_is_told_with_the_form(text):
    with pytest.raises(UserError, match="is no claim") as wrong:
        parse_claim(text)
    assert "`NAPO > S-DPO`" in wrong.value.remedy
    assert wrong.value.where == "--claim"


def test_no_row_is_better_than_itself():
    with pytest.raises(UserError, match="better than itself"):
        parse_claim("NAPO > NAPO by 0.01")


def test_search_budgets_are_counts_by_row():
    assert parse_tried([]) == {}
    assert parse_tried(["NAPO=8", "a=b=2"]) == {"NAPO": 8, "a=b": 2}


@pytest.mark.parametrize("word", ["NAPO", "NAPO=", "=8", "NAPO=0", "NAPO=-1", "NAPO=1.5", "NAPO=many"])
def test_what_is_no_budget_is_told(word):
    with pytest.raises(UserError, match="is no search budget"):
        parse_tried([word])


def test_a_row_has_one_budget():
    with pytest.raises(UserError, match="'NAPO' has two search budgets"):
        parse_tried(["NAPO=8", "NAPO=6"])


ROWS = {"cand20": ["chance", "SFT", "NAPO"], "gen20": ["SFT", "NAPO"]}
METRICS = {"cand20": ["HR@1", "NDCG"], "gen20": ["HitRatio@1"]}


def check(base=None, claims=(), tried=()):
    check_question(base, claims, tried, rows=ROWS, metrics=METRICS, trained=["SFT", "NAPO"])


def test_what_some_table_can_answer_passes():
    check()
    check("chance", [Claim("NAPO", "chance"), Claim("NAPO", "SFT", metric="HitRatio@1")], ["NAPO"])


def test_all_that_no_table_can_answer_is_told_at_once():
    with pytest.raises(UserError) as wrong:
        check("sdpo", [Claim("NAPO", "S-DPO by lots"), Claim("NAPO", "SFT", metric="MRR")], ["chance"])
    said = str(wrong.value)
    for part in (
        "row 'sdpo' to compare",
        "no row 'S-DPO by lots'",
        "no metric 'MRR'",
        "no row 'chance' that is trained",
    ):
        assert part in said
    assert "rows: chance, SFT, NAPO" in said


def test_rows_and_metric_have_to_be_in_one_table():
    with pytest.raises(UserError, match="no table has both rows and the metric"):
        check(claims=[Claim("NAPO", "chance", metric="HitRatio@1")])
