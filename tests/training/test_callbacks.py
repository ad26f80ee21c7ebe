import json
import os
import signal
from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState

from napo.errors import UserError
from napo.training.callbacks import (
    Report,
    Rhythm,
    StopOnInterrupt,
    StuckWarning,
    WriteMetrics,
    best_of,
    out_of_patience,
    validations,
)

WRITES = SimpleNamespace(should_save=True)


def look(step: int, ndcg: float) -> dict[str, float]:
    return {"step": step, "eval_ndcg": ndcg, "eval_hr@1": ndcg / 2, "seconds": 1.0}


def state_of(*log: dict[str, float], step: int = 0, last: int = 100) -> TrainerState:
    return TrainerState(log_history=list(log), global_step=step, max_steps=last)


@pytest.mark.parametrize(
    ("every", "save_every", "looks", "saves"),
    [
        (4, None, [4, 8, 10], [4, 8, 10]),
        (4, 3, [4, 8, 10], [3, 4, 6, 8, 9, 10]),
        (50, None, [10], [10]),
        (50, 20, [10], [10]),
    ],
)
def test_looks_and_checkpoints_come_at_their_steps_and_at_the_end(every, save_every, looks, saves):
    seen: dict[str, list[int]] = {"looks": [], "saves": [], "logs": []}
    for step in range(1, 11):
        control = Rhythm(every, save_every).on_step_end(None, state_of(step=step, last=10), TrainerControl())
        for name, asked in (
            ("looks", control.should_evaluate),
            ("saves", control.should_save),
            ("logs", control.should_log),
        ):
            seen[name] += [step] if asked else []
    # each look and each checkpoint has the loss up to it beside it
    assert seen == {"looks": looks, "saves": saves, "logs": saves}


def test_a_line_that_is_due_anyway_stays_due():
    control = Rhythm(4).on_step_end(None, state_of(step=1), TrainerControl(should_log=True))
    assert control.should_log


def test_the_best_look_is_the_highest_and_of_equals_the_first():
    history = validations(state_of(look(0, 0.3), {"step": 2, "loss": 1.0}, look(4, 0.5), look(8, 0.5), look(12, 0.4)))
    assert [entry["step"] for entry in history] == [0, 4, 8, 12]
    assert history[1] == {"step": 4, "ndcg": 0.5, "hr@1": 0.25}
    assert best_of(history)["step"] == 4
    assert best_of(validations(state_of(look(0, 0.3), look(4, 0.3))))["step"] == 0


def test_a_step_that_was_looked_at_twice_counts_once():
    assert validations(state_of(look(4, 0.1), look(0, 0.3), look(4, 0.2))) == validations(
        state_of(look(0, 0.3), look(4, 0.2))
    )


def test_patience_ends_after_so_many_looks_without_a_better_one():
    falling = [look(0, 0.3), look(4, 0.5), look(8, 0.4)]
    assert not out_of_patience(state_of(*falling), 2)
    assert out_of_patience(state_of(*falling, look(12, 0.5)), 2)  # as good is not better
    assert not out_of_patience(state_of(*falling, look(12, 0.6)), 2)
    assert not out_of_patience(state_of(*falling, look(12, 0.1), look(16, 0.1)), None)
    assert out_of_patience(state_of(look(0, 0.3), look(4, 0.2)), 1)


def losses(*values: float, every: int = 10) -> list[dict[str, float]]:
    return [{"step": (place + 1) * every, "loss": value} for place, value in enumerate(values)]


def told_by(log: list[dict[str, float]], warning: StuckWarning, said: list[str]) -> list[str]:
    """What it says while the log grows by these lines."""
    state = state_of()
    for entry in log:
        state.log_history.append(entry)
        state.global_step = int(entry["step"])
        warning.on_log(None, state, TrainerControl())
    return said


def test_a_loss_that_does_not_move_for_fifty_steps_is_reported_once():
    said: list[str] = []
    told_by(losses(1.38629, 1.38631, 1.38625, 1.38629, 1.3863, 1.3863, 1.3863), StuckWarning(said.append), said)
    assert len(said) == 1
    assert "1.38630 for 50 steps" in said[0]
    assert all(cause in said[0] for cause in ("rate too low", "frozen", "titles the same"))


@pytest.mark.parametrize("log", [losses(1.38629, 1.386, 1.38629, 1.38629, 1.38629, 1.38629), losses(1.0, 1.0, 1.0)])
def test_a_loss_that_moved_or_had_no_time_to_is_not_reported(log):
    said: list[str] = []
    assert told_by(log, StuckWarning(said.append), said) == []


def test_a_resumed_run_is_not_taken_for_a_stuck_one():
    said: list[str] = []
    state = state_of(*losses(3.0, 2.5, 2.0, 1.5, 1.4, 1.3), step=60)
    resumed = StuckWarning(said.append)
    state.log_history.append({"step": 70, "loss": 1.2})
    state.global_step = 70
    resumed.on_log(None, state, TrainerControl())  # the first line that it sees has not moved from itself
    assert said == []


def test_metrics_are_a_line_for_each_entry_and_a_resumed_run_drops_what_lies_behind_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writes, state = WriteMetrics(path), state_of()
    writes.on_train_begin(WRITES, state, None)
    for entry in [look(0, 0.1), *losses(2.0, 1.0)]:
        state.log_history.append(entry)
        writes.on_log(WRITES, state, None)
    assert [json.loads(line) for line in path.read_text().splitlines()] == state.log_history
    WriteMetrics(path).on_train_begin(WRITES, state_of(look(0, 0.1)), None)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [look(0, 0.1)]


def test_only_the_main_rank_writes_metrics(tmp_path):
    writes = WriteMetrics(tmp_path / "metrics.jsonl")
    silent = SimpleNamespace(should_save=False)
    writes.on_train_begin(silent, state_of(), None)
    writes.on_log(silent, state_of(look(0, 0.1)), None)
    assert not list(tmp_path.iterdir())


def test_metrics_that_cannot_be_written_are_a_users_mistake(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl"):
        WriteMetrics(tmp_path / "metrics.jsonl").on_log(WRITES, state_of(look(0, 0.1)), None)


def test_progress_is_told_the_step_and_the_latest_figures():
    told = []
    report = Report(lambda *given: told.append(given))
    report.on_log(None, state_of(look(0, 0.25)), None)
    report.on_log(None, state_of({"step": 1, "loss": 2.0}), None)
    report.on_step_end(None, state_of(step=3, last=9), None)
    assert told == [(3, 9, {"ndcg": 0.25, "hr@1": 0.125, "loss": 2.0})]


def test_ctrl_c_saves_at_the_end_of_the_step_and_a_second_one_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    stop = StopOnInterrupt()
    stop.on_train_begin(None, state_of(), None)
    control = stop.on_step_end(None, state_of(step=1), TrainerControl())
    assert not control.should_training_stop
    os.kill(os.getpid(), signal.SIGINT)
    control = stop.on_step_end(None, state_of(step=2), TrainerControl())
    assert control.should_save
    assert control.should_training_stop
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    stop.restore()
    assert signal.getsignal(signal.SIGINT) is before
