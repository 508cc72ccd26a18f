"""Paddle's bundled MKL on AMD processors. Call before `import paddle`: MKL reads it when it is loaded."""

import os
from pathlib import Path


def wake_mkl_on_amd() -> None:
    """MKL takes its slowest path on AMD; its AVX-512 path (type 7) makes Paddle's GEMM 3.7 times faster there.

    Does nothing where the processor is another or lacks AVX-512, or the variable is set already.
    """
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return
    if "AuthenticAMD" in cpu and " avx512f" in cpu:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "7")
