"""The wheels of a package, with their hashes, out of the lock files: export/package/files/wheels.json.

    python -m tools.wheel_lock [--check]

A lock file lists every wheel of a version, for all machines; a package is checked against them wherever it is made,
also where this repository is not at hand. `make lock` runs it; a test holds the two together.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from packaging.markers import Marker

from export.package.pins import (
    DICOM_WHEELS,
    ENGINE_WHEELS,
    EVERYWHERE,
    MQTT_WHEELS,
    NODE_WHEELS,
    PIP,
    SERVE_WHEELS,
    SIGNATURE_WHEELS,
)
from export.package.target import SYSTEMS, TFLITE_PYTHON

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "export" / "package" / "files" / "wheels.json"
TFLITE = "tflite-runtime"  # whose environment is older, and so has a lock file of its own
LOCK, LOCK_OF_TFLITE = "requirements.lock", "requirements-tflite.lock"
_ENTRY = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ ;\\]+)(?: ; (?P<marker>[^\\]+))?", re.MULTILINE)


def read_lock(path: Path, python: str) -> dict[str, dict[str, object]]:
    """{name: version and hashes} of the entries of a lock file that count for a version of Python."""
    found: dict[str, dict[str, object]] = {}
    entries = list(_ENTRY.finditer(text := path.read_text()))
    for entry, following in zip(entries, [*entries[1:], None], strict=True):
        body = text[entry.end() : following.start() if following else len(text)]
        environment = {
            "platform_machine": "aarch64",
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": "linux",
        }
        if entry["marker"] and not Marker(entry["marker"].strip()).evaluate(environment):
            continue
        found[entry["name"]] = {
            "version": entry["version"],
            "sha256": sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", body)),
        }
    return found


def make_table() -> dict[str, dict[str, dict[str, object]]]:
    """{`PYTHON ENGINE`: {name: version and hashes}}."""
    table = {}
    for python in SYSTEMS:
        for engine, names in ENGINE_WHEELS.items():
            if engine == TFLITE and python != TFLITE_PYTHON:
                continue
            lock = read_lock(ROOT / LOCK, python)
            if engine == TFLITE:
                lock |= read_lock(ROOT / LOCK_OF_TFLITE, python)
            of_extras = (*DICOM_WHEELS, *SERVE_WHEELS, *NODE_WHEELS, *MQTT_WHEELS, *SIGNATURE_WHEELS)
            wanted = sorted({*EVERYWHERE, *names, *of_extras, "numpy"} - {PIP})
            table[f"{python} {engine}"] = {name: lock[name] for name in wanted}
    return table


def main() -> None:
    """Writes the table, or says whether it is up to date."""
    text = json.dumps(make_table(), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        sys.exit(None if TARGET.read_text() == text else f"{TARGET}: out of date: python -m tools.wheel_lock")
    TARGET.write_text(text)


if __name__ == "__main__":
    main()
