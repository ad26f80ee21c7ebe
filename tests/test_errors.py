import pytest

from napo.errors import UserError, UserErrors, did_you_mean, nearest


def test_a_mistake_says_what_where_and_the_remedy_on_lines_of_their_own():
    error = UserError("unknown key `shareing`", where="napo.yaml, line 7", remedy="`sharing`")
    assert str(error) == "unknown key `shareing`\n  in    napo.yaml, line 7\n  try   `sharing`"


def test_a_mistake_without_place_or_remedy_is_its_sentence():
    assert str(UserError("no disk")) == "no disk"


def test_several_mistakes_are_said_together():
    both = UserErrors([UserError("one", where="line 1"), UserError("two")])
    assert str(both) == "one\n  in    line 1\ntwo"
    assert [error.what for error in both.errors] == ["one", "two"]


def test_several_mistakes_are_caught_as_one_user_error():
    with pytest.raises(UserError):
        raise UserErrors([UserError("one")])


@pytest.mark.parametrize(
    ("word", "close"),
    [("shareing", ["sharing"]), ("SHARING", ["sharing"]), ("sharin", ["sharing"]), ("xyz", [])],
)
def test_nearest_forgives_case_and_slips_and_nothing_else(word, close):
    assert nearest(word, ["beta", "sharing"]) == close


def test_nearest_gives_the_names_as_they_are_spelt():
    assert nearest("heat (1995)", ["Heat (1995)", "Brazil"]) == ["Heat (1995)"]


def test_nearest_gives_no_more_than_asked_for_and_the_most_alike_first():
    assert nearest("abcd", ["abcx", "abcd", "abxx", "abce"], count=2)[0] == "abcd"
    assert len(nearest("abcd", ["abcx", "abcd", "abxx", "abce"], count=2)) == 2


def test_did_you_mean_falls_back_on_all_the_names():
    assert did_you_mean("sdop", ["sdpo", "napo"]).startswith("`sdpo`")
    assert did_you_mean("zzz", ["sdpo", "napo"]) == "one of: napo, sdpo"
