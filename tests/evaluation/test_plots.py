import struct
import warnings

import numpy as np
import pytest

from napo.data.candidates import draw_candidates
from napo.evaluation.baselines import Popularity
from napo.evaluation.plot_style import DARK, LIGHT, _columns, label, png, styles_for
from napo.evaluation.plots import (
    Deciles,
    HitRates,
    TrainingLog,
    decile_shares,
    hit_rate_curves,
    log_prob_curves,
    margin_curves,
    running_mean,
    training_curves,
)
from napo.evaluation.protocols import evaluate_candidates, evaluate_full
from napo.evaluation.table import ROW_ORDER, make_table
from tests.processes import printed


def training_log(name: str = "NAPO", steps: int = 4, fall: float = 1.0, **more: float) -> TrainingLog:
    """A line of figures each ten steps, and a look at validation each twenty: .70, .72, .71, ..."""
    looks = [{"step": 0, "eval_ndcg": 0.70, "eval_hr@1": 0.40}]
    looks += [{"step": 20 * i, "eval_ndcg": 0.73 - 0.01 * i, "eval_hr@1": 0.4} for i in range(1, steps // 2 + 1)]
    lines = [
        {
            "step": 10 * i,
            "loss": 2.0 / i,
            "chosen_log_prob": -9.0 - fall * i,
            "rejected_log_prob": -12.0 - i,
            **more,
        }
        for i in range(1, steps + 1)
    ]
    return TrainingLog.of(name, [*looks, *lines], best=20)


def rates(name: str, ks=(1, 5, 10)) -> HitRates:
    values = np.linspace(0.4, 0.8, len(ks))
    return HitRates(name, np.array(ks), values, values - 0.05, values + 0.05)


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def plotted(axes) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.lines]


# --- reading -----------------------------------------------------------------------------------------------------


def test_a_log_is_read_figure_by_figure_and_a_step_that_comes_twice_counts_once():
    entries = [
        {"step": 0, "eval_ndcg": 0.5},
        {"step": 10, "loss": 2.0, "epoch": 0.1},
        {"step": 20, "loss": 9.0},
        {"step": 20, "loss": 1.0, "note": "resumed"},
    ]
    log = TrainingLog.of("DPO", entries, best=0)
    steps, loss = log.series["loss"]
    assert steps.tolist() == [10, 20]
    assert loss.tolist() == [2.0, 1.0]
    assert log.series["eval_ndcg"][0].tolist() == [0]
    assert "note" not in log.series
    assert "step" not in log.series


def test_hit_rates_and_their_intervals_are_those_of_the_table(zipf_split):
    cases = zipf_split.cases("test").subset(300, seed=0)
    result = evaluate_candidates(Popularity(zipf_split.popularity), cases, draw_candidates(cases))
    rate = HitRates.of("popularity", [result])
    row = make_table({"popularity": result}).rows[0]
    assert rate.ks.tolist() == list(range(1, 11))
    for k in (1, 5, 10):
        at, known = rate.place_of(k), row.metrics[f"HR@{k}"]
        assert (rate.values[at], rate.low[at], rate.high[at]) == pytest.approx((known.value, known.low, known.high))


def test_hit_rates_over_seeds_are_the_mean_of_the_seeds(zipf_split):
    cases = zipf_split.cases("test").subset(200, seed=0)
    scorers = [Popularity(zipf_split.popularity), Popularity(-zipf_split.popularity)]
    results = [evaluate_candidates(scorer, cases, draw_candidates(cases)) for scorer in scorers]
    both = HitRates.of("popularity", results, ks=[1, 3])
    each = [HitRates.of("popularity", [result], ks=[1, 3]).values for result in results]
    np.testing.assert_allclose(both.values, (each[0] + each[1]) / 2)


def test_k_beyond_the_candidates_is_left_out(zipf_split):
    cases = zipf_split.cases("test").subset(50, seed=0)
    lists = draw_candidates(cases, count=5)
    result = evaluate_candidates(Popularity(zipf_split.popularity), cases, lists)
    assert HitRates.of("popularity", [result]).ks.tolist() == [1, 2, 3, 4, 5]


def test_deciles_are_those_of_the_bias_report(zipf_split):
    cases = zipf_split.cases("test").subset(100, seed=0)
    result = evaluate_full(Popularity(zipf_split.popularity), cases)
    deciles = Deciles.of({"popularity": [result, result]})
    np.testing.assert_allclose(deciles.recommended["popularity"], result.bias.recommended_deciles)
    np.testing.assert_allclose(deciles.liked, result.bias.liked_deciles)


# --- looks -------------------------------------------------------------------------------------------------------


def test_a_known_method_looks_the_same_whoever_stands_beside_it():
    alone, among = styles_for(["NAPO"]), styles_for(["mine", "NAPO", "SFT", "DPO"])
    assert alone["NAPO"] == among["NAPO"]
    assert list(among) == ["SFT", "DPO", "NAPO", "mine"]


def test_no_two_of_twenty_methods_look_alike():
    styles = styles_for([*ROW_ORDER, *(f"method {i}" for i in range(12))])
    assert len(set(styles.values())) == len(styles)


def test_equal_data_give_equal_bytes():
    first, second = (png(training_curves([training_log()])) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_picture_is_a_png_on_its_paper(theme):
    log = training_log(gamma=1.0)
    tenth = np.full(10, 0.1)
    for figure in (
        training_curves([log], theme=theme),
        log_prob_curves([log], theme=theme),
        margin_curves([log], theme=theme),
        hit_rate_curves([rates("NAPO")], theme=theme),
        decile_shares(Deciles({"NAPO": tenth}, tenth), theme=theme),
    ):
        image = png(figure, dpi=40)
        assert image.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", image[16:24])
        assert width == pytest.approx(5.4 * 40, abs=1)
        assert height > 60
        paper = [channel / 255 for channel in bytes.fromhex(theme.paper[1:])]
        assert figure.get_facecolor()[:3] == pytest.approx(paper)


# --- pictures ----------------------------------------------------------------------------------------------------


def test_validation_begins_at_the_start_and_a_ring_marks_the_best_step():
    figure = training_curves([training_log()])
    loss, ndcg, hr = figure.axes
    assert plotted(loss) == [[2.0, 1.0, 2 / 3, 0.5]]
    start, line, ring = ndcg.lines
    assert start.get_ydata()[0] == 0.70
    assert line.get_xdata().tolist() == [0, 20, 40]
    assert line.get_ydata() == pytest.approx([0.70, 0.72, 0.71])
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (20, 0.72)
    assert ring.get_markerfacecolor() == "none"
    assert "0.700 at the start, 0.720 at step 20" in texts(figure)
    assert hr.get_ylabel() == "validation HR@1"
    assert hr.get_xlabel() == "step"


def test_a_stage_that_did_not_help_has_its_ring_at_the_start():
    log = training_log()
    figure = training_curves([TrainingLog(log.name, log.series, best=0)])
    assert figure.axes[1].lines[-1].get_xdata()[0] == 0
    assert "0.700 at the start, the start is best" in texts(figure)


def test_several_runs_share_the_axes_and_seeds_of_a_method_their_colour_and_one_sign():
    figure = training_curves([training_log("DPO"), training_log("NAPO"), training_log("NAPO")])
    first, second, third = (line.get_color() for line in figure.axes[0].lines)
    assert first != second == third
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["DPO", "NAPO", "the start", "best step, kept"]


def test_a_run_without_validation_shows_its_loss():
    figure = training_curves([TrainingLog.of("SFT", [{"step": 10, "loss": 1.0}])])
    assert len(figure.axes) == 1
    assert figure.axes[0].get_ylabel() == "training loss\n(nats an example)"


def test_chosen_and_rejected_are_drawn_by_method_on_one_scale_so_that_both_falling_is_seen():
    figure = log_prob_curves([training_log("DPO"), training_log("NAPO", fall=0.0)])
    dpo, napo = figure.axes
    chosen, began, rejected, _ = dpo.lines
    assert chosen.get_ydata().tolist() == [-10, -11, -12, -13]
    assert rejected.get_ydata().tolist() == [-13, -14, -15, -16]
    assert began.get_ydata()[0] == -10
    assert (chosen.get_linestyle(), rejected.get_linestyle()) == ("-", "--")
    assert dpo.get_ylim() == napo.get_ylim()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["DPO", "NAPO"]


def test_only_runs_with_a_margin_are_in_its_picture():
    figure = margin_curves([training_log("DPO"), training_log("NAPO", gamma=1.5)])
    assert plotted(figure.axes[0]) == [[1.5] * 4]


def test_hit_rates_show_the_headline_with_its_interval_and_every_k_below():
    figure = hit_rate_curves([rates("NAPO"), rates("SFT")], headline=10)
    top, every = figure.axes
    assert top.get_xlabel() == "HR@10 [95 %]"
    assert [label.get_text() for label in top.get_yticklabels()] == ["SFT", "NAPO"]  # in the order of the tables
    whiskers = top.collections[0].get_segments()[0]
    assert whiskers[:, 0].tolist() == pytest.approx([0.75, 0.85])
    assert every.get_xticks().tolist() == [1, 5, 10]
    assert every.lines[0].get_ydata() == pytest.approx([0.4, 0.6, 0.8])
    assert every.get_ylim()[0] == 0


def test_one_k_needs_one_panel():
    assert len(hit_rate_curves([rates("NAPO", ks=(1,))]).axes) == 1


def test_decile_cells_hold_percentages_and_their_colour_the_distance_from_the_liked():
    liked = np.array([0.0] * 8 + [0.4, 0.6])
    mine = np.array([0.004] + [0.0] * 7 + [0.196, 0.8])
    figure = decile_shares(Deciles({"NAPO": mine}, liked, targets=liked))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts][20:] == ["<1", *["0"] * 7, "20", "80"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["liked before", "targets", "NAPO"]
    np.testing.assert_allclose(axes.images[0].get_array()[2], [0.4, *[0] * 7, -20.4, 20], atol=1e-9)
    assert axes.images[0].get_clim() == (-20, 20)


def test_names_are_neither_mathematics_nor_hidden():
    odd = ["_mine", "a$b$c", "$\\frac", "a\x00b\udc80"]
    figure = training_curves([training_log(name) for name in odd])
    png(figure, dpi=30)
    (legend,) = figure.legends
    assert [text.get_text().strip() for text in legend.get_texts()][:4] == [*odd[:3], "a\ufffdb\ufffd"]
    png(log_prob_curves([training_log(name) for name in odd]), dpi=30)
    png(hit_rate_curves([rates(name) for name in odd]), dpi=30)
    png(decile_shares(Deciles({name: np.full(10, 0.1) for name in odd}, np.full(10, 0.1))), dpi=30)


def test_a_long_name_is_cut_and_leaves_room_for_the_panel():
    assert label("x" * 60) == "x" * 27 + "…"
    figure = hit_rate_curves([rates("x" * 60)])
    png(figure, dpi=30)
    assert figure.axes[0].get_position().width > 0.4


def test_a_legend_has_as_many_columns_as_there_is_room_for():
    # a column takes its longest label and seven letters more; 74 fit
    assert _columns(["SFT", "DPO", "NAPO", "S-DPO", "IPO"]) == 4
    assert _columns(["x" * 20] * 4) == 2
    assert _columns(["x" * 40, "SFT"]) == 2
    assert _columns(["x" * 40] * 2) == 1


def test_a_loss_that_became_nan_or_infinite_leaves_a_gap_and_no_warning():
    lines = [{"step": step, "loss": loss} for step, loss in ((10, 1.0), (20, float("nan")), (30, float("inf")))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = training_curves([TrainingLog.of("SFT", lines)])
        png(figure, dpi=30)
    assert np.isnan(figure.axes[0].lines[0].get_ydata()).tolist() == [False, True, True]


def test_many_entries_are_drawn_as_their_running_mean_over_pale_points():
    log = TrainingLog.of("SFT", [{"step": i, "loss": float(i % 2)} for i in range(100)])
    pale, line = training_curves([log]).axes[0].lines
    assert pale.get_alpha() < 0.5
    assert np.ptp(line.get_ydata()[2:-2]) < np.ptp(pale.get_ydata())


def test_a_running_mean_is_shorter_at_the_ends_and_leaves_nan_out():
    # windows of three: (1+2)/2, (1+2+6)/3, (2+6)/2 without the NaN, (6+4)/2, 4
    values = np.array([1.0, 2.0, 6.0, np.nan, 4.0])
    np.testing.assert_allclose(running_mean(values, 3), [1.5, 3.0, 4.0, 5.0, 4.0])


def test_matplotlib_is_imported_by_the_first_picture_and_pyplot_never():
    code = """
import sys
from napo.evaluation.plots import TrainingLog, training_curves
print("matplotlib" in sys.modules)
training_curves([TrainingLog.of("SFT", [{"step": 10, "loss": 1.0}])])
print("matplotlib.figure" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    assert printed(code).split() == ["False", "True", "False"]
