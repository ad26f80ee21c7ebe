"""`napo data inspect` of a log alone, and of one that is too short to be split."""

import json

import pytest

from napo import cli


@pytest.fixture
def inspected(tmp_path, capsys):
    """Inspects a log of one user and so many events; gives the figures and stderr."""

    def ran(events: int, *words: str) -> tuple[dict, str]:
        rows = [f"u,i{number},5,{1_700_000_000 + number}" for number in range(events)]
        (tmp_path / "log.csv").write_text("\n".join(["user,item,rating,time", *rows]))
        with pytest.raises(SystemExit) as end:
            cli.main(["data", "inspect", str(tmp_path / "log.csv"), "--json", *words])
        out, err = capsys.readouterr()
        assert end.value.code == (0 if out else 2)
        return json.loads(out or "{}"), err

    return ran


def test_without_an_items_file_items_go_by_their_ids(inspected):
    figures, err = inspected(20)
    assert (figures["items"], figures["events"], err) == (20, 20, "")
    assert figures["split"]["test_cases"] == 2


def test_a_log_that_is_too_short_to_be_split_is_shown_all_the_same(inspected):
    figures, err = inspected(2)
    assert (figures["events"], figures["split"]) == (2, None)
    assert "no test case is left" in err


def test_who_asks_to_stop_at_items_without_titles_is_stopped(inspected):
    figures, err = inspected(20, "--untitled", "stop")
    assert figures == {}
    assert "has no titles" in err
