"""Open what edge-export wrote: a bundle folder, or one model file that carries its spec inside.

Engines do not notice altered bytes (of 200 single-bit flips none raised, 51 changed the answer), so every file is read
once, compared with its SHA-256, and those very bytes are loaded. What a file says of itself is compared with its own
tables, and with the bundle's spec, before an engine is imported.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.embedded_spec import parse_embedded_spec
from edge_runtime.engines import AUTO, choose_engine, suffix_of
from edge_runtime.errors import ModelError
from edge_runtime.model_formats import FORMATS
from edge_runtime.model_tables import check_tables
from edge_runtime.regular_files import NotRegularError, open_regular
from edge_runtime.spec import ModelSpec
from edge_runtime.strict_json import is_count, is_sha256, loads_strict

MANIFEST = "manifest.json"
BUNDLE_FORMAT = 1
MODEL_VARIABLE = "EDGE_MODEL"
INT8, MIXED, FLOAT32 = "int8", "mixed", "float32"  # mixed: int8 in, and some layers in float
PRECISIONS = (INT8, MIXED, FLOAT32)  # of files; the first that a bundle has is taken
MOST_MODEL_BYTES = 256 << 20  # of any file of a bundle: it lies in memory
_MOST_MANIFEST_BYTES = 16 << 20

_SHIPPED_BUNDLE = Path(__file__).with_name("model")


@dataclass(frozen=True)
class ModelFile:
    """One verified model file."""

    path: Path  # of the file
    spec: ModelSpec  # with the tensors of this file
    sha256: str  # of the model without its embedded spec, hexadecimal
    engine: str  # the engine that is to run it
    content: bytes = field(default=b"", repr=False)  # of the file, which are loaded; empty: read then
    fingerprint: str = ""  # SHA-256 of these bytes, hexadecimal


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


def describe_network(model: Path | str | None) -> str:
    """What answers would say of their network: `name/file, SHA-256`, and where it lies; or why there is none.

    Args:
        model: as `model_path` takes it. It is not verified.
    """
    try:
        source = model_path(model)
        path = source / model_files(read_manifest(source))[0] if source.is_dir() else source
        embedded = parse_embedded_spec(_read(path, MOST_MODEL_BYTES), path.suffix, str(path), verify=False)
    except (ModelError, OSError, IndexError) as error:
        return f"none ({error})"
    return f"{embedded.spec.name}/{path.name}, SHA-256 {embedded.model_sha256}, in {source}"


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
        return read_model(source, manifest, path.name, name)
    if source.is_file():
        if source.suffix not in FORMATS:
            raise ModelError(f"{source}: a bundle, or a file ending in {' or '.join(FORMATS)}, was expected")
        name, path = choose_engine((source.suffix,), engine), source
        return _verified(path, _read(source, MOST_MODEL_BYTES), name)
    raise ModelError(f"{source}: no such model; give --model BUNDLE or FILE, or set EDGE_MODEL")


def read_model(bundle: Path, manifest: Mapping[str, Any], name: str, engine: str) -> ModelFile:
    """One model file of a bundle, compared with the manifest, its own tables and the bundle's spec.

    Args:
        bundle: folder.
        manifest: its own.
        name: of the file.
        engine: that is to run it.

    Raises:
        ModelError: something does not fit.
    """
    content, expected = _listed_bytes(bundle, manifest, name), manifest["files"][name]["sha256"]
    try:
        model = _verified(bundle / name, content, engine, expected)
    except ModelError:
        _compare(bundle / name, hashlib.sha256(content).hexdigest(), expected)  # the plainer word, where it is true
        raise
    spec = spec_of_bundle(manifest, bundle)
    if model.spec.shared != spec.shared or (model.spec.coverage is None) != (spec.coverage is None):
        raise ModelError(f"{model.path}: its spec is not the bundle's; copy the bundle again")
    return model


def _verified(path: Path, content: bytes, engine: str, expected: str | None = None) -> ModelFile:
    """A model file from its bytes, whose SHA-256 is the one expected, where there is one, and the one inside.

    One pass over the bytes gives both: a Raspberry Pi 4 takes 100 ms for 24 MB.
    """
    embedded = parse_embedded_spec(content, path.suffix, str(path), verify=False)
    digest = hashlib.sha256(memoryview(content)[: embedded.model_bytes])
    model_sha256 = digest.hexdigest()
    digest.update(memoryview(content)[embedded.model_bytes :])
    if expected is not None:
        _compare(path, digest.hexdigest(), expected)
    if model_sha256 != embedded.model_sha256:
        raise ModelError(
            f"{path}: the model's SHA-256 is not the one written inside it: the file was altered; copy it again"
        )
    check_tables(memoryview(content)[: embedded.model_bytes], path.suffix, embedded.spec, str(path))
    return ModelFile(path, embedded.spec, model_sha256, engine, content, digest.hexdigest())


def _compare(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise ModelError(f"{path}: size or SHA-256 is not the manifest's: the file was altered; copy the bundle again")


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle.

    Raises:
        ModelError: there is none, or it is not one that this version reads.
    """
    path = bundle / MANIFEST
    try:
        manifest = loads_strict(_read(path, _MOST_MANIFEST_BYTES))
    except FileNotFoundError as error:
        raise ModelError(f"{bundle}: no {MANIFEST} inside; this is not a bundle written by edge-export") from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error}); copy the bundle again") from error
    form = manifest.get("format") if isinstance(manifest, dict) else None
    if type(form) is not int or form != BUNDLE_FORMAT:  # True is equal to 1
        raise ModelError(f"{path}: bundle format {BUNDLE_FORMAT} was expected; was it written by another version?")
    if not isinstance(manifest.get("files"), dict):
        raise ModelError(f"{path}: lists no files; copy the bundle again")
    for name, record in manifest["files"].items():
        if not _is_plain(name):
            raise ModelError(f"{path}: {name!r} is no name of a file inside a bundle")
        if not (isinstance(record, dict) and is_count(record.get("size")) and is_sha256(record.get("sha256"))):
            raise ModelError(f"{path}: gives no size and SHA-256 of {name}; copy the bundle again")
    return dict(manifest)


def verify_bundle(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle, after every file that it lists was compared with it.

    Raises:
        ModelError: a file is missing, or its size or SHA-256 differs.
    """
    manifest = read_manifest(bundle)
    for name in manifest["files"]:
        read_file(bundle, manifest, name)
    return manifest


def read_file(bundle: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    """The bytes of one file of a bundle, after they were compared with the manifest.

    Raises:
        ModelError: it is missing, leads out of the bundle, or its size or SHA-256 differs.
    """
    content = _listed_bytes(bundle, manifest, name)
    _compare(bundle / name, hashlib.sha256(content).hexdigest(), manifest["files"][name]["sha256"])
    return content


def _listed_bytes(bundle: Path, manifest: Mapping[str, Any], name: str) -> bytes:
    """The bytes of a file that a manifest lists, as many as it says, and not yet hashed."""
    path, size = bundle / name, manifest["files"][name]["size"]
    if not path.resolve().is_relative_to(bundle.resolve()):
        raise ModelError(f"{path}: a link that leads out of the bundle; copy the bundle again")
    try:
        content = _read(path, size)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: missing; copy the bundle again") from error
    _compare(path, str(len(content)), str(size))
    return content


def spec_of_bundle(manifest: Mapping[str, Any], bundle: Path) -> ModelSpec:
    """The spec that all model files of a bundle share, but for their tensors.

    Raises:
        ModelError: there is none, or it is wrong.
    """
    try:
        return ModelSpec.from_dict(manifest["spec"])
    except KeyError as error:
        raise ModelError(f"{bundle / MANIFEST}: gives no spec; copy the bundle again") from error
    except ModelError as error:
        raise ModelError(f"{bundle / MANIFEST}: {error}") from error


def _read(path: Path, most_bytes: int) -> bytes:
    """The bytes of a regular file, and one more than allowed of one that is larger.

    Raises:
        ModelError: no regular file, larger than the limit for model files, or not to be read.
        FileNotFoundError: there is none.
    """
    try:
        stream, size = open_regular(path)
        with stream:
            if size > MOST_MODEL_BYTES:
                raise ModelError(f"{path}: {size / 1e6:.0f} MB: larger than any file of a bundle")
            return stream.read(most_bytes + 1)
    except NotRegularError as error:
        raise ModelError(f"{path}: {error}, not a file") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(path)) from error


def _is_plain(name: str) -> bool:
    """Whether a name in a manifest is that of a file below the bundle, in plain letters."""
    parts = name.split("/")
    return all(part not in ("", ".", "..") for part in parts) and name.isprintable() and not set(name) & set("\\:")


def file_name(precision: str, suffix: str) -> str:
    """Name that a model file has in a bundle.

    Args:
        precision: one of PRECISIONS.
        suffix: of its format.
    """
    return f"model_{precision}{suffix}"


def model_files(manifest: Mapping[str, Any]) -> list[str]:
    """Names of the model files in a manifest, the preferred precision first."""
    wanted = (file_name(precision, suffix) for precision in PRECISIONS for suffix in FORMATS)
    return [name for name in wanted if name in manifest["files"]]


def _choose_file(bundle: Path, manifest: Mapping[str, Any], engine: str) -> tuple[str, Path]:
    """(engine, file): the best precision that the bundle has and, of its formats, the best engine that is installed."""
    suffixes = tuple(FORMATS) if engine == AUTO else (suffix_of(engine),)
    for precision in PRECISIONS:
        there = tuple(suffix for suffix in suffixes if file_name(precision, suffix) in manifest["files"])
        if there:
            name = choose_engine(there, engine)
            return name, bundle / file_name(precision, suffix_of(name))
    raise ModelError(f"{bundle}: holds no model file{'' if engine == AUTO else f' that {engine} runs'}")
