"""What the kernel knows of this process and this machine: start, memory, heat. Linux tells; elsewhere it is None."""

from __future__ import annotations

import os
import time
from pathlib import Path

_ROOT = Path("/")
_STARTTIME = 22 - 3  # its place among the fields of /proc/PID/stat that follow the name (proc(5))
_PROCESSOR_ZONES = ("cpu", "soc", "pkg")  # in the names of thermal zones: Raspberry Pi, other boards, x86
# Of the Raspberry Pi's firmware (documentation of `vcgencmd get_throttled`); 16 bits higher: since the last start.
_THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_START = 16


def seconds_since_start() -> float | None:
    """Age of this process, with the kernel's resolution of usually 10 ms."""
    text = _read(Path("/proc/self/stat"))
    if text is None:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    started = int(fields[_STARTTIME]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def peak_memory_bytes() -> int | None:
    """The most memory that this process has had resident so far."""
    # Not getrusage: there a child starts with the peak of its parent.
    for line in (_read(Path("/proc/self/status")) or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def temperature_celsius(root: Path = _ROOT) -> float | None:
    """Of the processor.

    Args:
        root: of the file system to read.
    """
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    of_processor = [zone for zone in zones if any(word in (_read(zone / "type") or "") for word in _PROCESSOR_ZONES)]
    text = _read(of_processor[0] / "temp") if of_processor else None
    return None if text is None else int(text) / 1000


def throttling(root: Path = _ROOT) -> list[str] | None:
    """What slows a Raspberry Pi down, now or since its start; empty where nothing does; None on other machines.

    Args:
        root: of the file system to read.
    """
    found = sorted((root / "sys/devices/platform").glob("soc*/soc*:firmware/get_throttled"))
    text = _read(found[0]) if found else None
    if text is None:
        return None
    bits = int(text, 16)
    now = [f"{name} now" for bit, name in _THROTTLING.items() if bits >> bit & 1]
    return now + [f"{name} since start" for bit, name in _THROTTLING.items() if bits >> bit + _SINCE_START & 1]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
