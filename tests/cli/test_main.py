"""The frame: help, exit codes, messages. What each command does is in the file named after it."""

import sys
from types import ModuleType

import pytest

from napo import __version__
from napo.cli import main, said
from napo.errors import UserError, UserErrors
from tests.processes import printed, python

COMMANDS = ["train", "evaluate", "compare", "search", "recommend", "data", "demo"]
HEAVY = ["torch", "transformers", "polars", "scipy", "matplotlib"]


def exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def break_demo(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """`napo demo` raises the error."""

    def run_demo(**_: object) -> None:
        raise error

    demo = ModuleType("napo.demo")
    demo.run_demo = run_demo
    monkeypatch.setitem(sys.modules, "napo.demo", demo)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["data", "inspect", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words):
    code = f"""
import sys
from napo.cli import main
try:
    main({words})
except SystemExit as end:
    assert end.code == 0
print("heavy:", [name for name in {HEAVY} if name in sys.modules])
"""
    assert printed(code).endswith("heavy: []")


def test_python_m_napo_is_napo():
    ran = python("-m", "napo", "--version")
    assert (ran.stdout, ran.returncode) == (f"napo {__version__}\n", 0)


def test_help_names_every_command(capsys):
    assert exit_code("--help") == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in shown] == []


@pytest.mark.parametrize("command", [[command] for command in COMMANDS] + [["data", "fetch"], ["data", "inspect"]])
def test_every_command_explains_itself(command, capsys):
    assert exit_code(*command, "--help") == 0
    assert f"napo {' '.join(command)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["trian"], ["train"], ["train", "x.yaml", "--frobnicate"], ["recommend", "run", "-k", "0"]]
)
def test_a_slip_in_the_command_itself_is_exit_code_2(words, capsys):
    assert exit_code(*words) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_users_mistake_is_a_message_on_stderr_and_exit_code_2(monkeypatch, capsys):
    break_demo(monkeypatch, UserError("no space", where="/tmp", remedy="free some"))
    assert exit_code("demo") == 2
    shown = capsys.readouterr()
    assert shown.err == "napo: no space\n  in    /tmp\n  try   free some\n"
    assert shown.out == ""


def test_all_the_mistakes_of_a_file_are_said_each_with_our_name():
    assert (
        said(UserErrors([UserError("one", where="line 1"), UserError("two")])) == "napo: one\n  in    line 1\nnapo: two"
    )


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    break_demo(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        main(["demo"])


def test_ctrl_c_is_exit_code_130(monkeypatch, capsys):
    break_demo(monkeypatch, KeyboardInterrupt())
    assert exit_code("demo") == 130
    assert capsys.readouterr().err.strip() == "napo: stopped"


def test_a_users_mistake_in_a_process_of_its_own_has_no_traceback(tmp_path):
    ran = python("-m", "napo", "train", "napo.yaml", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr == "napo: no recipe napo.yaml\n  try   . holds no recipes\n"
    assert ran.stdout == ""
