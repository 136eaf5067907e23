"""The machines that a package can be made for: what pip calls them, and which engines exist there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_runtime.errors import DataError

# Of the C library: wheels for these or older ones run on bookworm (2.36) and trixie (2.41).
_GLIBC = ("2_35", "2_34", "2_31", "2_28", "2_27", "2_17")
_LITERT, _TFLITE, _ONNX = "litert", "tflite-runtime", "onnxruntime"  # names in edge_runtime.engines


@dataclass(frozen=True)
class Target:
    """A kind of machine."""

    name: str  # as `uname -m` has it
    engines: tuple[str, ...]  # that exist for it, best first
    system_numpy: bool = False  # numpy comes from the system: no wheel exists

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags of the wheels that run there."""
        manylinux = [f"manylinux_{version}_{self.name}" for version in _GLIBC]
        return (*manylinux, f"manylinux2014_{self.name}", f"linux_{self.name}")


TARGETS = {
    "aarch64": Target("aarch64", (_LITERT, _ONNX, _TFLITE)),
    "armv7l": Target("armv7l", (_TFLITE,), system_numpy=True),
    "x86_64": Target("x86_64", (_LITERT, _ONNX, _TFLITE)),
}
# Python version -> the systems that have it.
SYSTEMS = {
    "3.11": "Raspberry Pi OS or Debian bookworm",
    "3.12": "Ubuntu 24.04",
    "3.13": "Raspberry Pi OS or Debian trixie",
    "3.14": "Ubuntu 26.04",
}
TFLITE_PYTHON = "3.11"  # the last that tflite-runtime, and so 32-bit ARM, has wheels for
DEFAULT_PYTHON = "3.13"  # of a fresh Raspberry Pi


@dataclass(frozen=True)
class Machine:
    """A target with the Python and the engine that a package is made for."""

    target: Target
    python: str  # version, such as `3.11`
    engine: str  # of `target.engines`

    def __str__(self) -> str:
        return f"{self.target.name}, Python {self.python}, {self.engine}"


def machine_for(target: str, python: str, engine: str | None) -> Machine:
    """The machine of that description.

    Args:
        target: one of TARGETS.
        python: one of SYSTEMS.
        engine: None takes the best of the target.

    Raises:
        DataError: no such combination exists.
    """
    found = TARGETS[target]
    engine = engine or found.engines[0]
    if engine not in found.engines:
        raise DataError(f"{engine} does not exist for {target}, only {', '.join(found.engines)}: give another --engine")
    if engine == _TFLITE and python != TFLITE_PYTHON:
        others = [name for name in found.engines if name != _TFLITE]
        way_out = f", or --engine {others[0]}" if others else "; 32-bit systems of later versions have no engine"
        raise DataError(f"{engine} exists for Python {TFLITE_PYTHON} alone, not {python}: give --python 3.11{way_out}")
    return Machine(found, python, engine)


def machines_for(target: str, pythons: Sequence[str], engine: str | None) -> tuple[Machine, ...]:
    """The machines that one package is for: the same but for their Python.

    Args:
        target: one of TARGETS.
        pythons: of SYSTEMS; none takes that of a fresh Raspberry Pi, or the one that the engine exists for.
        engine: None takes the best of the target.

    Raises:
        DataError: one of the combinations does not exist.
    """
    if not pythons:
        is_tflite = (engine or TARGETS[target].engines[0]) == _TFLITE
        pythons = (TFLITE_PYTHON if is_tflite else DEFAULT_PYTHON,)
    return tuple(machine_for(target, python, engine) for python in sorted(set(pythons)))


def told(machines: Sequence[Machine]) -> str:
    """Target, Pythons and engine of a package: `aarch64, Python 3.11 and 3.13, litert`."""
    pythons = " and ".join(machine.python for machine in machines)
    return f"{machines[0].target.name}, Python {pythons}, {machines[0].engine}"
