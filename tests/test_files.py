import errno
import os
import stat
from pathlib import Path

import pytest
from polars.exceptions import ComputeError
from safetensors import SafetensorError

from napo.errors import UserError
from napo.files import folder_aside, write_aside

FULL = OSError(errno.ENOSPC, "No space left on device")


def everything(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write_half(target: Path, error: Exception) -> None:
    with write_aside(target) as aside:
        aside.write_text("half")
        raise error


def fill_half(target: Path, error: Exception) -> None:
    with folder_aside(target) as aside:
        (aside / "weights").write_text("half")
        raise error


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def full(*args, **kwargs):
        raise FULL

    monkeypatch.setattr(Path, name, full)


def test_a_file_is_there_when_the_block_ends_and_not_before(tmp_path):
    target = tmp_path / "deep" / "report.json"
    with write_aside(target) as aside:
        aside.write_text("whole")
        assert not target.exists()
    assert everything(tmp_path) == {"deep/report.json": "whole"}


def test_a_file_is_as_readable_as_the_user_lets_files_be(tmp_path):
    old = os.umask(0o022)
    try:
        with write_aside(tmp_path / "report.json") as aside:
            aside.write_text("whole")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "report.json").stat().st_mode) == 0o644


def test_an_error_of_the_block_leaves_the_old_file_as_it_was(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half(target, ZeroDivisionError())
    assert everything(tmp_path) == {"report.json": "old"}


def test_a_full_disk_while_writing_is_a_users_mistake_and_leaves_nothing_half_written(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(UserError, match="No space left"):
        write_half(target, FULL)
    assert everything(tmp_path) == {"report.json": "old"}


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/1: No space left on device"),
        ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_whatever_library_writes(tmp_path, error):
    with pytest.raises(UserError, match="No space left"):
        write_half(tmp_path / "weights", error)
    with pytest.raises(UserError, match="No space left"):
        fill_half(tmp_path / "run", error)
    assert everything(tmp_path) == {}


def test_another_error_of_a_block_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"):
        write_half(tmp_path / "weights", RuntimeError("a bug"))


def test_a_disk_that_fills_at_the_very_end_leaves_nothing_half_written(tmp_path, monkeypatch):
    target = tmp_path / "report.json"
    refuse(monkeypatch, "replace")
    with pytest.raises(UserError, match=r"cannot write .*report\.json"), write_aside(target) as aside:
        aside.write_text("whole")
    assert everything(tmp_path) == {}


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"), write_aside(tmp_path / "file" / "report.json"):
        raise AssertionError("the block must not run")


def test_a_folder_is_there_when_the_block_ends_and_not_before(tmp_path):
    target = tmp_path / "run"
    with folder_aside(target) as aside:
        (aside / "weights").write_text("w")
        assert not target.exists()
    assert everything(tmp_path) == {"run/weights": "w"}


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    target = tmp_path / "run"
    target.mkdir()
    (target / "gone").write_text("old")
    with folder_aside(target) as aside:
        (aside / "weights").write_text("new")
        assert (target / "gone").exists()
    assert everything(tmp_path) == {"run/weights": "new"}


def test_a_full_disk_leaves_the_old_folder_as_it_was(tmp_path):
    target = tmp_path / "run"
    target.mkdir()
    (target / "weights").write_text("old")
    with pytest.raises(UserError, match="No space left"):
        fill_half(target, FULL)
    assert everything(tmp_path) == {"run/weights": "old"}


def test_an_error_of_the_block_leaves_no_folder(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fill_half(tmp_path / "run", ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []
