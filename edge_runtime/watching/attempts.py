"""Which image is being judged, written down beside the results: one that ends the process must not end it for ever.

An image may need more memory than the machine has, and the kernel then kills the process without a word; so may a
fault in a decoder. A service manager starts it again, and it would meet the same image again. After some starts that
ended so, the image is given up. The file is a help and not a record: where it cannot be written, nothing else changes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SUFFIX = ".attempt"
MOST_ATTEMPTS = 5  # so many, because SIGKILL and power cuts count as well and are no fault of the image


class Attempts:
    """How often the process has ended while it judged one image.

    Args:
        results: the results file; the attempt stands beside it.
    """

    def __init__(self, results: Path) -> None:
        self._last, self._count = 0, 0
        self._descriptor = -1
        with contextlib.suppress(OSError, ValueError):
            self._descriptor = os.open(f"{results}{SUFFIX}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            number, count = os.pread(self._descriptor, 64, 0).split()
            self._last, self._count = int(number, 16), int(count)

    def begin(self, fingerprint: int) -> bool:
        """Whether to judge the file of this fingerprint; False where that has ended the process too often."""
        count = self._count + 1 if fingerprint == self._last else 1
        if count > MOST_ATTEMPTS:
            return False
        self._write(fingerprint, count)
        return True

    def end(self) -> None:
        """The process has survived."""
        self._write(0, 0)

    def close(self) -> None:
        """Gives the file back."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _write(self, fingerprint: int, count: int) -> None:
        self._last, self._count = fingerprint, count
        # Not synchronised: what a power cut takes away is one attempt less.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, f"{fingerprint:016x} {count:04d}\n".encode(), 0)
