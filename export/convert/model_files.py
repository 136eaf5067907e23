"""The model files of a bundle: float32 and int8, in each format, each with its spec inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras

from edge_runtime.embedded_spec import embed
from edge_runtime.engines.tensors import check_input_contract
from edge_runtime.spec import ModelSpec, Tensor
from export.convert import to_int8_onnx, to_onnx, to_tflite
from export.request import FORMATS

FLOAT32, INT8 = "model_float32", "model_int8"

_FLOAT_TENSORS = {".tflite": to_tflite.tflite_tensors, ".onnx": to_onnx.onnx_tensors}
_MAKERS = {"tflite": to_tflite.to_float_tflite, "onnx": to_onnx.to_float_onnx}


def convert_to_float(model: keras.Model, formats: tuple[str, ...]) -> dict[str, bytes]:
    """The float32 file of each format, by suffix, without a spec.

    Raises:
        ModelError: the network cannot be converted.
    """
    return {f".{name}": _MAKERS[name](model) for name in FORMATS if name in formats}


def write_float_files(folder: Path, floats: Mapping[str, bytes], spec: ModelSpec) -> dict[Path, ModelSpec]:
    """Writes float32 files by suffix, each with its spec inside; the answer is that spec by the path of the file.

    Raises:
        ModelError: the converter broke the contract of the input.
    """
    specs: dict[Path, ModelSpec] = {}
    for suffix, content in floats.items():
        specs |= _write(folder / f"{FLOAT32}{suffix}", content, spec, _FLOAT_TENSORS[suffix](content))
    return specs


def write_int8_files(folder: Path, quantized: Mapping[str, bytes], spec: ModelSpec) -> dict[Path, ModelSpec]:
    """Writes int8 files by suffix, as `write_float_files` does.

    Raises:
        ModelError: the recipe broke the contract of the input.
    """
    specs: dict[Path, ModelSpec] = {}
    for suffix, content in quantized.items():
        specs |= _write(folder / f"{INT8}{suffix}", content, spec, _int8_tensors(suffix, content))
    return specs


def _int8_tensors(suffix: str, content: bytes) -> tuple[Tensor, ...]:
    return to_tflite.tflite_tensors(content) if suffix == ".tflite" else to_int8_onnx.int8_onnx_tensors(content)


def _write(path: Path, content: bytes, spec: ModelSpec, tensors: tuple[Tensor, ...]) -> dict[Path, ModelSpec]:
    inside = spec.with_tensors(tensors)
    check_input_contract(inside, path.name)
    path.write_bytes(embed(content, inside, path.suffix))
    return {path: inside}
