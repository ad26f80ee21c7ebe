import pytest

from napo import processor
from napo.processor import multiplies_bfloat16


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("avx2 avx512f", False),
        ("avx512f avx512_bf16", True),
        ("amx_bf16", True),
        ("asimd bf16", True),
        ("xbf16", False),
    ],
)
def test_bfloat16_is_fast_where_there_are_instructions_for_it(monkeypatch, tmp_path, flags, fast):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags} sse\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    assert multiplies_bfloat16() == fast


def test_where_the_system_does_not_tell_it_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert not multiplies_bfloat16()
