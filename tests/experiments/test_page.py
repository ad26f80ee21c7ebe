import json
import re

import pytest

from napo.cli import main
from napo.errors import UserError
from napo.experiments.page import find_stores, write_page
from napo.experiments.store import Store
from tests.experiments.made import among, ranks_of, write_store

CLAIMS = (
    {"says": "NAPO beats SFT", "better": "NAPO", "worse": "SFT", "paper": "+15 % | plotted"},
    {"says": "it costs <no> memory", "kind": "memory", "row": "NAPO", "than": "SFT", "at_most": 1.05},
    {"says": "and is less biased", "kind": "bias", "row": "NAPO", "than": "SFT"},
)


def make(folder, **said):
    rows = {row: [among(ranks_of(hits, seed=s)) for s in (0, 1)] for row, hits in (("SFT", 150), ("NAPO", 200))}
    return write_store(folder, {("toy", "cand20"): rows}, claims=CLAIMS, seeds=2, **said)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    store = make(folder / "one" / "store", tried={"NAPO": 8, "SFT": 8}, command="napo sweep one.yaml 'a=b c'")
    write_page([store], folder / "one")
    return folder / "one"


def test_the_page_needs_nothing_else(out):
    page = (out / "overview.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page


def test_claims_stand_on_top_with_their_verdicts(out):
    page = (out / "overview.html").read_text()
    assert page.index("3 claims: 2 held, 1 no verdict.") < page.index("toy: among 20 candidates")
    assert '<span class="good">Held</span>' in page
    assert "nothing was judged by full" in page
    assert "NAPO better than SFT: held" in page  # of the table's rows
    assert "it costs &lt;no&gt; memory" in page


def test_each_claim_is_one_click_from_its_table(out):
    page, index = (out / "overview.html").read_text(), (out / "index.md").read_text()
    links = re.findall(r'href="#([^"]+)"', page)
    assert links == ["toy-cand20", "toy-costs", "toy-cand20"]
    assert all(f'<section id="{link}">' in page for link in links)
    assert re.findall(r"\]\(#([^)]+)\)", index) == links
    assert all(f'<a id="{link}"></a>' in index for link in links)


def test_behind_each_table_stand_command_data_store_and_budget(out):
    page, index = (out / "overview.html").read_text(), (out / "index.md").read_text()
    digest = Store(out / "store").digest[:16]
    for said in ("napo sweep one.yaml", "last_tenth 0123456789ab", "ba9876543210", digest, "NAPO 8, SFT 8"):
        assert said in page
        assert said in index


def test_a_claims_row_has_five_cells_and_none_is_empty(out):
    lines = [line for line in (out / "index.md").read_text().splitlines() if line.startswith(("| [", "| claim"))]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [len(row) for row in rows] == [5] * 4
    assert all(cell for row in rows for cell in row)


def test_pictures_lie_beside_the_index(out):
    named = re.findall(r"\]\((plots/[^)]+)\)", (out / "index.md").read_text())
    assert named == ["plots/toy-cand20-hit-rates.png"]
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in named)


def test_claims_as_json(out):
    said = json.loads((out / "claims.json").read_text())
    assert [one["verdict"]["word"] for one in said] == ["held", "held", "no verdict"]
    assert said[0]["figures"][0]["estimate"]["low"] > 0


def test_equal_stores_give_equal_pages(out, tmp_path):
    write_page([Store(out / "store")], tmp_path)
    for name in ("overview.html", "index.md", "claims.json"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_the_digest_follows_every_byte_of_the_store(tmp_path):
    one, two = make(tmp_path / "a"), make(tmp_path / "b")
    assert one.digest == two.digest
    assert make(tmp_path / "c", title="Another").digest != one.digest


class TestSeveral:
    def test_each_has_its_part_and_no_picture_takes_anothers_place(self, tmp_path, capsys):
        for name in ("first", "second"):
            make(tmp_path / name / "store", title=f"The {name} sweep")
        with pytest.raises(SystemExit) as end:
            main(["report", str(tmp_path)])
        assert end.value.code == 0
        page = (tmp_path / "overview.html").read_text()
        assert "Claims: The first sweep" in page
        assert "toy: among 20 candidates (The second sweep)" in page
        anchors = re.findall(r'<section id="([^"]+)"', page)
        assert len(set(anchors)) == len(anchors) == 4
        assert {path.name for path in (tmp_path / "plots").iterdir()} == {
            "first-toy-cand20-hit-rates.png",
            "second-toy-cand20-hit-rates.png",
        }
        said = capsys.readouterr().out
        assert "Held: NAPO beats SFT (toy; HR@1 +0.125 [" in said
        assert f"The page is {tmp_path / 'overview.html'}" in said

    def test_a_store_is_found_by_each_of_its_folders_and_counts_once(self, tmp_path):
        make(tmp_path / "one" / "store")
        for folders in ([tmp_path], [tmp_path / "one"], [tmp_path / "one" / "store"], [tmp_path, tmp_path / "one"]):
            assert [store.folder for store in find_stores(folders)] == [tmp_path / "one" / "store"]

    def test_a_folder_without_results_is_refused_with_the_remedy(self, tmp_path):
        with pytest.raises(UserError, match="holds no results of a sweep"):
            find_stores([tmp_path])
        with pytest.raises(UserError, match="no folder"):
            find_stores([tmp_path / "nowhere"])
