"""What a test misses is no pass in CI."""

from pathlib import Path

import pytest

from tests.needs import REQUIRED, missing

CI = Path(__file__).parents[1] / ".ci" / "run"


def test_what_is_missing_skips_a_test_and_in_ci_fails_it(monkeypatch):
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such program"):
        missing("no such program")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="no such program"):
        missing("no such program")


def test_ci_asks_for_it_before_it_tests():
    said = CI.read_text(encoding="utf-8")
    assert said.index(f"export {REQUIRED}=1\n") < said.index("\nmake test\n")
