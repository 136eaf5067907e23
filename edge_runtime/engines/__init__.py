"""Inference engines behind one protocol. Each imports its package when constructed, never before.

To add one: a file here with a class that satisfies `Engine`, and a line in `_ENGINES`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edge_runtime.errors import DependencyError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.spec import ModelSpec

AUTO = "auto"


class Engine(Protocol):
    """Runs one deployed model file. Several threads may share one: a lock lets them in one after the other."""

    name: str  # as in `--engine`
    version: str  # of the package
    settings: Mapping[str, str | int]  # what was set for this session, for people who must answer for a result

    def run(self, image_u8: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Real-valued outputs by name, without the batch axis, for one grey uint8 (S, S) image."""


class _Entry(NamedTuple):
    """An engine before anything of it is imported."""

    package: str  # that it needs
    module: str  # in this folder
    class_name: str  # there
    extra: str  # of the distribution, that installs the package
    suffix: str  # of the files that it runs


# In order of preference.
_ENGINES = {
    "litert": _Entry("ai_edge_litert", "litert", "LiteRTEngine", "litert", ".tflite"),
    "tflite-runtime": _Entry("tflite_runtime", "tflite", "TFLiteRuntimeEngine", "tflite", ".tflite"),
    "onnxruntime": _Entry("onnxruntime", "onnx_runtime", "OnnxRuntimeEngine", "onnx", ".onnx"),
}
NAMES = tuple(_ENGINES)


def engines_for(suffix: str) -> tuple[str, ...]:
    """Names of the engines that run files of a suffix, best first, installed or not."""
    return tuple(name for name, entry in _ENGINES.items() if entry.suffix == suffix)


def is_installed(name: str) -> bool:
    """Whether an engine's package is there. Nothing is imported."""
    return importlib.util.find_spec(_ENGINES[name].package) is not None


def install_command(name: str) -> str:
    """The command that installs an engine."""
    return f'pip install "fracture-edge-runtime[{_ENGINES[name].extra}]"'


def choose_engine(suffixes: tuple[str, ...], wanted: str = AUTO) -> str:
    """The name of the engine to use for one of the model files of these suffixes.

    Raises:
        DependencyError: it is not installed, or none is.
        ModelError: the wanted engine runs no file of these suffixes.
    """
    fitting = [name for name in NAMES if _ENGINES[name].suffix in suffixes]
    if wanted != AUTO:
        if wanted not in fitting:
            raise ModelError(
                f"{wanted} runs {_ENGINES[wanted].suffix} files, and there is none: only {', '.join(suffixes)}"
            )
        fitting = [wanted]
    for name in fitting:
        if is_installed(name):
            return name
    raise DependencyError(f"{' or '.join(fitting)} is needed and not installed: {install_command(fitting[0])}")


def suffix_of(name: str) -> str:
    """Suffix of the model files that an engine runs."""
    return _ENGINES[name].suffix


def package_of(name: str) -> str:
    """The package that an engine is imported from."""
    return _ENGINES[name].package


def open_engine(
    path: Path, spec: ModelSpec, engine: str = AUTO, threads: int | None = None, content: bytes | None = None
) -> Engine:
    """The engine with the model file loaded.

    Args:
        path: `.tflite` or `.onnx` file; already verified.
        spec: with the tensors of this file.
        engine: one of NAMES, or `auto`.
        threads: how many the engine may use; None leaves it to the engine.
        content: the bytes of the file that were verified, which are loaded; None: read now.

    Raises:
        DependencyError: the engine is not installed, or cannot be imported.
        ModelError: the engine cannot load the file, or its tensors are not those of the spec.
    """
    name = choose_engine((path.suffix,), engine)
    entry = _ENGINES[name]
    constructor = getattr(importlib.import_module(f"{__name__}.{entry.module}"), entry.class_name)
    try:
        opened: Engine = constructor(path.read_bytes() if content is None else content, str(path), spec, threads)
    except ImportError as error:  # its package is there: a part of it, or a library of the system, is not
        message = f"{name} is installed but cannot be imported ({error}): {install_command(name)}"
        raise DependencyError(message) from error
    return opened
