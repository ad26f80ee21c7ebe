"""What the processor has instructions for.

Path    /proc/cpuinfo -> [processor] -> models.pretrained, benchmarks
Gives   an answer without torch: who decides what a process of its own is to do has not imported it
"""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def multiplies_bfloat16() -> bool:
    """Whether products in bfloat16 are about as fast as in float32: else they take up to fifty times as long."""
    flags = CPUINFO.read_text(encoding="utf-8") if CPUINFO.is_file() else ""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags.split()))
