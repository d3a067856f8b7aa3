"""The CPU of this machine, in a line: its model, and the instructions that decide how products are computed."""

import platform
from functools import lru_cache
from pathlib import Path

# As Linux spells them: of x86, then of ARM.
INSTRUCTIONS = (
    *("avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8"),
    *("asimd", "asimddp", "sve", "sve2", "i8mm", "bf16"),
)
CPUINFO = Path("/proc/cpuinfo")


@lru_cache
def cpu_line() -> str:
    """Return the CPU of this machine, such as "AMD EPYC: avx avx2 fma f16c"."""
    try:
        return line_of(CPUINFO.read_text())
    except OSError:
        return platform.processor() or platform.machine()


def line_of(cpuinfo: str) -> str:
    """Return the line of what Linux tells of its CPUs, which is the same for each."""
    fields = dict(line.split(":", 1) for line in reversed(cpuinfo.splitlines()) if ":" in line)
    told = {name.strip(): value.strip() for name, value in fields.items()}
    there = set((told.get("flags") or told.get("Features") or "").split())
    known = " ".join(name for name in INSTRUCTIONS if name in there)
    model = told.get("model name") or platform.machine()
    return f"{model}: {known}" if known else model
