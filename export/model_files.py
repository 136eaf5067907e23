"""The model files of a bundle: float32 and int8, in each format, each with its spec inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras

from edge_runtime.embedded_spec import embed
from edge_runtime.engines.tensors import check_input_contract
from edge_runtime.spec import ModelSpec, Tensor
from export import qdq, to_onnx, to_tflite
from export.recipes import Material, Recipe
from export.request import FORMATS

FLOAT32, INT8 = "model_float32", "model_int8"

_MAKERS = {"tflite": to_tflite.to_float_tflite, "onnx": to_onnx.to_float_onnx}


def write_model_files(
    folder: Path,
    model: keras.Model,
    spec: ModelSpec,
    formats: tuple[str, ...],
    quantization: tuple[Recipe, Material] | None,
    tell: Callable[[str], None],
) -> dict[Path, ModelSpec]:
    """The spec inside each file written, by its path, float files first.

    Args:
        folder: to write to.
        model: takes `grey`, (N, S, S, 1).
        spec: without tensors.
        formats: of FORMATS.
        quantization: recipe of the int8 files, and what it learns from; None for float files alone.
        tell: is given a line at each step.

    Raises:
        ModelError: the network cannot be converted, or the converter broke the contract of the input.
    """
    tell("converting to float32")
    floats = {f".{name}": _MAKERS[name](model) for name in FORMATS if name in formats}
    specs: dict[Path, ModelSpec] = {}
    for suffix, content in floats.items():
        specs |= _write(folder / f"{FLOAT32}{suffix}", content, spec, to_onnx.float_tensors())
    if quantization is not None:
        recipe, material = quantization
        tell(f"quantising to int8 with {len(material.calibration)} calibration images (recipe {recipe.name})")
        for suffix, content in recipe.quantize(model, floats, material).items():
            specs |= _write(folder / f"{INT8}{suffix}", content, spec, _int8_tensors(suffix, content))
    return specs


def _int8_tensors(suffix: str, content: bytes) -> tuple[Tensor, ...]:
    return to_tflite.tflite_tensors(content) if suffix == ".tflite" else qdq.int8_onnx_tensors()


def _write(path: Path, content: bytes, spec: ModelSpec, tensors: tuple[Tensor, ...]) -> dict[Path, ModelSpec]:
    inside = spec.with_tensors(tensors)
    check_input_contract(inside, path.name)
    path.write_bytes(embed(content, inside, path.suffix))
    return {path: inside}
