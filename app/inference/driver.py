"""Whether this machine has an NVIDIA driver, found without a framework: loading one takes seconds."""

import os
from ctypes import CDLL

# One suffices: a driver that is reported wrongly costs memory, one that is overlooked costs the GPU.
TRACES = (
    "/dev/nvidiactl",
    "/proc/driver/nvidia/version",  # the host's, also in a container without the GPU
    "/usr/lib/wsl/lib/libcuda.so.1",  # WSL2, whose /dev/dxg exists for GPUs of other makers, too
)
LIBRARY = "libcuda.so.1"


def has_nvidia_driver() -> bool:
    """True if a trace of the driver exists, or CUDA's driver library can be loaded."""
    return any(os.access(trace, os.F_OK) for trace in TRACES) or _loads(LIBRARY)


def _loads(library: str) -> bool:
    try:
        CDLL(library)
    except OSError:
        return False
    return True
