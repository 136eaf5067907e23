"""Open what edge-export wrote: a bundle folder, or one model file that carries its spec inside.

Engines do not notice altered bytes (of 200 single-bit flips none raised, 51 changed the answer), so every file is
compared with its SHA-256 before anything is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.embedded_spec import read_embedded_spec, sha256_of
from edge_runtime.engines import AUTO, choose_engine, suffix_of
from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec

MANIFEST = "manifest.json"
BUNDLE_FORMAT = 1
MODEL_VARIABLE = "EDGE_MODEL"
MODEL_SUFFIXES = (".tflite", ".onnx")
# The first that a bundle has is taken.
PRECISIONS = ("int8", "mixed", "float32")

_SHIPPED_BUNDLE = Path(__file__).with_name("model")


@dataclass(frozen=True)
class ModelFile:
    """One verified model file."""

    path: Path  # of the file
    spec: ModelSpec  # with the tensors of this file
    sha256: str  # of the model without its embedded spec, hexadecimal
    engine: str  # the engine that is to run it
    content: bytes = field(default=b"", repr=False)  # of the file, which are loaded; empty: read then


def shipped_bundle() -> Path | None:
    """The bundle inside the installed package, where there is one."""
    return _SHIPPED_BUNDLE if (_SHIPPED_BUNDLE / MANIFEST).is_file() else None


def model_path(model: Path | str | None) -> Path:
    """The model to use: the one given, else `$EDGE_MODEL`, else the bundle inside the installed package.

    Raises:
        ModelError: there is none.
    """
    if model is not None:
        return Path(model)
    if os.environ.get(MODEL_VARIABLE):
        return Path(os.environ[MODEL_VARIABLE])
    shipped = shipped_bundle()
    if shipped is None:
        raise ModelError(f"no model: give --model BUNDLE or FILE, or set {MODEL_VARIABLE}; this package ships none")
    return shipped


def open_model(source: Path, engine: str = AUTO) -> ModelFile:
    """The verified model file of a bundle, or the single file itself, with the engine that fits.

    Args:
        source: bundle folder, `.tflite` or `.onnx` file.
        engine: one of `edge_runtime.engines.NAMES`, or `auto`.

    Raises:
        ModelError: missing, altered, or without a file that fits.
        DependencyError: no engine for it is installed.
    """
    if source.is_dir():
        manifest = read_manifest(source)
        name, path = _choose_file(source, manifest, engine)
        verify_file(source, manifest, path.name)
        embedded = read_embedded_spec(path, verify=False)  # every byte of it was verified just now
    elif source.is_file():
        if source.suffix not in MODEL_SUFFIXES:
            raise ModelError(f"{source}: a bundle, or a file ending in {' or '.join(MODEL_SUFFIXES)}, was expected")
        name, path = choose_engine((source.suffix,), engine), source
        embedded = read_embedded_spec(path)
    else:
        raise ModelError(f"{source}: no such model; give --model BUNDLE or FILE, or set EDGE_MODEL")
    return ModelFile(path, embedded.spec, embedded.model_sha256, name, path.read_bytes())


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle.

    Raises:
        ModelError: there is none, or it is not one that this version reads.
    """
    path = bundle / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{bundle}: no {MANIFEST} inside; this is not a bundle written by edge-export") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not JSON ({error}); copy the bundle again") from error
    if not isinstance(manifest, Mapping) or manifest.get("format") != BUNDLE_FORMAT:
        raise ModelError(f"{path}: bundle format {BUNDLE_FORMAT} was expected; was it written by another version?")
    if not isinstance(manifest.get("files"), Mapping):
        raise ModelError(f"{path}: lists no files; copy the bundle again")
    for name, record in manifest["files"].items():
        if not isinstance(record, Mapping) or not {"size", "sha256"} <= set(record):
            raise ModelError(f"{path}: gives no size and SHA-256 of {name}; copy the bundle again")
    return dict(manifest)


def verify_bundle(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle, after every file that it lists was compared with it.

    Raises:
        ModelError: a file is missing, or its size or SHA-256 differs.
    """
    manifest = read_manifest(bundle)
    for name in manifest["files"]:
        verify_file(bundle, manifest, name)
    return manifest


def verify_file(bundle: Path, manifest: Mapping[str, Any], name: str) -> None:
    """Compares one file of a bundle with the manifest.

    Raises:
        ModelError: it is missing, or its size or SHA-256 differs.
    """
    path, record = bundle / name, manifest["files"][name]
    if not path.is_file():
        raise ModelError(f"{path}: missing; copy the bundle again")
    if path.stat().st_size != record["size"] or sha256_of(path) != record["sha256"]:
        raise ModelError(f"{path}: size or SHA-256 is not the manifest's: the file was altered; copy the bundle again")


def model_files(manifest: Mapping[str, Any]) -> list[str]:
    """Names of the model files in a manifest, the preferred precision first."""
    wanted = (f"model_{precision}{suffix}" for precision in PRECISIONS for suffix in MODEL_SUFFIXES)
    return [name for name in wanted if name in manifest["files"]]


def _choose_file(bundle: Path, manifest: Mapping[str, Any], engine: str) -> tuple[str, Path]:
    """(engine, file): the best precision that the bundle has and, of its formats, the best engine that is installed."""
    files = [bundle / name for name in model_files(manifest)]
    if engine != AUTO:
        files = [path for path in files if path.suffix == suffix_of(engine)]
    if not files:
        raise ModelError(f"{bundle}: holds no model file{'' if engine == AUTO else f' that {engine} runs'}")
    of_best_precision = {path.suffix: path for path in files if path.stem == files[0].stem}
    name = choose_engine(tuple(of_best_precision), engine)
    return name, of_best_precision[suffix_of(name)]
