"""A bundle cut down to what one engine runs. The manifest says which files are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge_runtime.bundle import model_files, verify_bundle
from edge_runtime.engines import suffix_of
from edge_runtime.errors import ModelError
from edge_runtime.self_test import EXPECTED, GOLDEN
from export.bundle.writer import write_manifest

_PAPERS = ("MODEL_CARD.md", "parity.json")
_OF_MANIFEST_ITSELF = ("format", "files")


def choose_model_file(bundle: Path, engine: str) -> str:
    """Name of the model file for an engine: the best precision that the bundle has, as on the device.

    Raises:
        ModelError: the bundle is altered, or has no file that the engine runs.
    """
    names = [name for name in model_files(verify_bundle(bundle)) if Path(name).suffix == suffix_of(engine)]
    if not names:
        suffix = suffix_of(engine)
        raise ModelError(f"{bundle}: holds no {suffix} file, which {engine} runs: export with --formats tflite,onnx")
    return names[0]


def write_device_bundle(bundle: Path, name: str, folder: Path) -> None:
    """Writes a bundle with one model file, the golden images with its answers, and the papers.

    Args:
        bundle: a verified one.
        name: of the model file.
        folder: to be made.
    """
    manifest = verify_bundle(bundle)
    folder.mkdir()
    for path in (name, *(paper for paper in _PAPERS if paper in manifest["files"])):
        shutil.copyfile(bundle / path, folder / path)
    _write_golden(bundle / GOLDEN, name, folder / GOLDEN)
    write_manifest(folder, _facts_of(manifest, name))


def _write_golden(source: Path, name: str, folder: Path) -> None:
    folder.mkdir()
    expected = json.loads((source / EXPECTED).read_bytes())
    for image in expected:
        shutil.copyfile(source / image, folder / image)
    of_file = {image: {name: answers[name]} for image, answers in expected.items()}
    (folder / EXPECTED).write_text(json.dumps(of_file, indent=1) + "\n", encoding="utf-8")


def _facts_of(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """The manifest's facts, with the tensors of this file alone."""
    facts = {key: value for key, value in manifest.items() if key not in _OF_MANIFEST_ITSELF}
    if name in facts.get("tensors", {}):
        facts["tensors"] = {name: facts["tensors"][name]}
    return facts
