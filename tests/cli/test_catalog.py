"""`napo catalog add` as a person types it."""

import json

import pytest

from napo import cli
from tests.recommenders import small_recommender


@pytest.fixture
def run(tmp_path):
    small_recommender().save(tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.fixture
def napo(capsys):
    def ran(*words):
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        return end.value.code or 0, *capsys.readouterr()

    return ran


def test_items_are_added_and_recommended(run, napo, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("id;name;genre\nn1;Fargo;Crime\nn2;Crash;Drama\ni00;Alien;\n")
    code, out, _ = napo("catalog", "add", run, new)
    assert code == 0
    assert "1 items added (Fargo)" in out
    assert "columns separated by semicolons" in out
    code, out, _ = napo("recommend", run, "--history", "Alien", "-k", "50", "--where", "genre=crime", "--json")
    assert {item["key"] for item in json.loads(out)["items"]} == {"i03", "n1"}
    code, out, _ = napo("catalog", "add", run, new, "--same-titles", "--json")
    assert (code, json.loads(out)["counts"]["items_added"]) == (0, 1)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("item,title\ni00,Aliens\n", [], ["another title", "i00"]),
        ("item,label\nn1,Fargo\n", [], ["no column 'title'"]),
        ("item,label\nn1,Fargo\n", ["--column", "titel=label"], ["no column 'titel'", "`title`"]),
        ("item,label\nn1,Fargo\n", ["--column", "label"], ["names no column"]),
    ],
)
def test_a_mistake_is_a_message_and_exit_code_2(run, napo, tmp_path, text, words, said):
    (tmp_path / "new.csv").write_text(text)
    code, out, err = napo("catalog", "add", run, tmp_path / "new.csv", *words)
    assert (code, out) == (2, "")
    assert all(part in err for part in said)
