"""The exact wheels that a device gets: those of the lock files, so that what was tested is what is installed.

`files/wheels.json` is the part of the lock files that packages need, with the SHA-256 of every wheel of each version;
`tools.wheel_lock` writes it. A wheel is packed only if its bytes are among them, wherever it came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from edge_runtime.errors import DataError
from edge_runtime.hashing import sha256_of
from export.package.target import Machine

PIP = "pip"  # installs the others; Debian splits it from Python, so it comes along
# Not in a lock file, for it comes with Python and not with this project: the wheel on the Python Package Index.
_PIP_VERSION, _PIP_SHA256 = "26.3", "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"

EVERYWHERE = ("click", "pillow", PIP)
ENGINE_WHEELS = {
    "litert": (
        "ai-edge-litert",
        "backports-strenum",
        "flatbuffers",
        "ml-dtypes",
        "protobuf",
        "tqdm",
        "typing-extensions",
    ),
    "onnxruntime": ("onnxruntime", "flatbuffers", "packaging", "protobuf"),
    "tflite-runtime": ("tflite-runtime",),
}
# Of the extra [dicom]. Lossless JPEG would need gdcm: 12 MB, and 43 installed.
DICOM_WHEELS = ("pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pyjpegls")
_NOT_ARMV7 = frozenset(DICOM_WHEELS[1:])  # no wheels for 32-bit ARM: uncompressed, RLE and JPEG baseline
# Of the extra [serve]: pure Python, 0.7 MB, one wheel for all machines.
SERVE_WHEELS = ("starlette", "uvicorn", "python-multipart", "anyio", "h11", "idna", "typing-extensions")
# Of the extra [node]: pure Python too.
NODE_WHEELS = ("pynetdicom",)
# Of the extra [mqtt]: pure Python, 0.1 MB.
MQTT_WHEELS = ("paho-mqtt",)
_NO_WHEELS = {"3.14": frozenset({"pyjpegls"})}  # Python -> what has none for it yet: no JPEG-LS
SIGNATURE_WHEELS = ("cryptography", "cffi", "pycparser")
# No release has a wheel for 32-bit ARM: `make armhf-wheels` compiles it, here, so that no lock file can know its hash.
_COMPILED_HERE = {("armv7l", "pillow")}
# What inference never opens, as patterns inside the folder of packages: 17 MB that drive a GPU through an interface
# that edge_runtime does not use, and 16 MB of tests and programs.
_TESTS = ("numpy/tests", "numpy/*/tests", "pynetdicom/tests", "pynetdicom/apps")
TRIM = {
    "litert": ("ai_edge_litert/libLiteRtWebGpuAccelerator.so", *_TESTS),
    "onnxruntime": _TESTS,
    "tflite-runtime": _TESTS,
}


def pinned_versions(machine: Machine, signed: bool = False) -> dict[str, str]:
    """{name of a distribution: version} of all wheels for a machine, but for the runtime's own.

    Args:
        machine: what they are for.
        signed: whether it is to check signatures.
    """
    return {
        name: entry["version"] for name, entry in _locked(machine).items() if signed or name not in SIGNATURE_WHEELS
    }


def require_locked(machine: Machine, wheels: Iterable[Path]) -> list[str]:
    """Names of the wheels that no lock file can know, for they were compiled here; all others are those of the lock.

    Raises:
        DataError: a wheel's bytes are not those that the lock file lists.
    """
    locked, unknown = _locked(machine), []
    for wheel in wheels:
        name = distribution_of(wheel)
        if (machine.target.name, name) in _COMPILED_HERE:
            unknown.append(name)
        elif name not in locked or sha256_of(wheel) not in locked[name]["sha256"]:
            raise DataError(
                f"{wheel}: its SHA-256 is not one that the lock file lists for {name}: the file was altered, or is no "
                "release of the package index; remove it, and fetch it again"
            )
    return unknown


def distribution_of(wheel: Path) -> str:
    """Normalised name of the distribution in a wheel: `ai-edge-litert`."""
    return wheel.name.partition("-")[0].replace("_", "-").lower()


def _locked(machine: Machine) -> dict[str, Any]:
    locked = dict(_table()[f"{machine.python} {machine.engine}"])
    locked = {name: entry for name, entry in locked.items() if name not in _NO_WHEELS.get(machine.python, ())}
    locked[PIP] = {"version": _PIP_VERSION, "sha256": [_PIP_SHA256]}
    if machine.target.system_numpy:
        locked = {name: entry for name, entry in locked.items() if name not in {"numpy", *_NOT_ARMV7}}
    return dict(sorted(locked.items()))


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((files("export.package") / "files" / "wheels.json").read_bytes())
    return table
