import numpy as np
import pytest

from napo.evaluation.plot_style import DARK, LIGHT, png
from napo.experiments.costs import cost_table, memory_by_seed
from napo.experiments.figures import data_pictures, grid_lines, hit_rates, preference_logs, row_styles, table_pictures
from tests.experiments.made import CASES, among, ranks_of, whole, write_store

KEYS = {
    f"NAPO, count {k}, name {name}": {"negatives.count": k, "negatives.name": name} for k in (1, 9) for name in "ab"
}


def stage(row, seed, **figures):
    return [
        {"data": "toy", "row": row, "seed": seed, "stage": "preference", "step": step, **figures} for step in (10, 20)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """SFT, DPO and NAPO with two keys that vary; two seeds; both protocols for SFT and DPO."""
    hits = {"SFT": 100, "DPO": 120, **{row: 100 + 10 * keys["negatives.count"] for row, keys in KEYS.items()}}
    among_20 = {row: [among(ranks_of(count, seed=s)) for s in (0, 1)] for row, count in hits.items()}
    even = np.full((CASES, 5), 2)
    full = {row: [whole(ranks_of(90, seed=s), np.full(CASES, 9.0), even) for s in (0, 1)] for row in ("SFT", "DPO")}
    curves = [
        *(line for seed in (0, 1) for line in stage("DPO", seed, memory_gb=1.0 + seed, reward_margin=0.5 + seed)),
        *stage("NAPO, count 1, name a", 0, memory_gb=2.0, gamma=0.25),
    ]
    return write_store(
        tmp_path_factory.mktemp("made") / "store",
        {("toy", "cand20"): among_20, ("toy", "full"): full},
        seeds=2,
        keys=KEYS,
        curves=curves,
        costs={row: [{"preference seconds": 60.0}, {"preference seconds": 180.0}] for row in ("DPO", *KEYS)},
    )


def test_rows_of_a_methods_grid_share_its_style(store):
    styles = row_styles(store)
    assert len({styles[row] for row in KEYS}) == 1
    assert len({styles["SFT"], styles["DPO"], styles["NAPO, count 1, name a"]}) == 3


def test_lines_run_along_one_number_and_keep_the_other_keys_apart(store):
    table = store.table("toy", "cand20")
    lines = grid_lines(store, "toy", "cand20", {row.name: row.metrics["HR@1"] for row in table.rows})
    assert list(lines) == ["negatives.count"]  # names are no numbers
    points = {line.name: [(x, one.value) for x, one in line.points] for line in lines["negatives.count"]}
    rising = [(1.0, pytest.approx(110 / 400)), (9.0, pytest.approx(190 / 400))]
    assert points == {"NAPO, name a": rising, "NAPO, name b": rising}


def test_hit_rates_are_the_tables_own(store):
    table = store.table("toy", "cand20")
    rates = {rate.name: rate for rate in hit_rates(table)}
    assert rates["DPO"].ks.tolist() == [1, 5, 10]
    assert rates["DPO"].values[0] == pytest.approx(0.3)
    assert rates["DPO"].low[0] == table.rows[1].metrics["HR@1"].low


def test_a_log_is_the_mean_over_seeds(store):
    logs = {log.name: log.series for log in preference_logs(store, "toy")}
    assert logs["DPO"]["reward_margin"][1].tolist() == [1.0, 1.0]  # of 0.5 and 1.5
    assert list(logs["NAPO, count 1, name a"]) == ["gamma"]


def test_pictures_are_there_where_their_data_are(store):
    styles = row_styles(store)
    drawn = {
        "cand20": [one.file for one in table_pictures(store, "toy", "cand20", styles)],
        "full": [one.file for one in table_pictures(store, "toy", "full", styles)],
        "both": [one.file for one in data_pictures(store, "toy", styles)],
    }
    assert drawn == {
        "cand20": ["toy-cand20-hit-rates", "toy-cand20-by-negatives-count"],
        "full": ["toy-full-hit-rates", "toy-full-popularity"],
        "both": ["toy-costs", "toy-margins"],
    }


def test_equal_data_give_equal_bytes_on_both_papers(store):
    styles = row_styles(store)
    for one in [*table_pictures(store, "toy", "cand20", styles)[1:], *data_pictures(store, "toy", styles)]:
        light, dark = png(one.draw(LIGHT)), png(one.draw(DARK))
        assert light == png(one.draw(LIGHT)) != dark
        assert one.alt


def test_a_store_without_training_has_no_pictures_of_it(tmp_path):
    rows = {"SFT": [among(ranks_of(100))]}
    bare = write_store(tmp_path / "store", {("toy", "cand20"): rows})
    assert data_pictures(bare, "toy", row_styles(bare)) == []


def test_costs_are_means_over_seeds_with_their_ends(store):
    body = {line[0]: line[1:] for line in cost_table(store, "toy").body}
    # memory of the stage 1 and 2 GB, of the cell 1; the stage 1 and 3 minutes, the cell 1
    assert body["DPO"] == ["1.50 (1.00 to 2.00)", "1.00 (1.00 to 1.00)", "2.00 (1.00 to 3.00)", "1.00 (1.00 to 1.00)"]
    assert body["SFT"][0] == "-"


def test_memory_is_compared_like_with_like(store):
    ours, theirs, where = memory_by_seed(store, "toy", "NAPO, count 1, name a", "DPO")
    assert (ours[0], theirs[0]) == (2.0, 1.0)
    assert "preference stage" in where
    assert memory_by_seed(store, "toy", "SFT", "DPO")[2].startswith("peak of the whole cell")
