"""The spec inside a model file, so that one file alone can be deployed, and the SHA-256 of the model without it.

Every format allows bytes to be added behind the model without changing it; which, `edge_runtime.model_formats` knows.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ModelError
from edge_runtime.model_formats import format_of
from edge_runtime.model_formats.model_format import DAMAGE
from edge_runtime.spec import ModelSpec
from edge_runtime.strict_json import is_count, is_sha256, loads_strict

_NO_SPEC = "carries no readable spec; was it written by edge-export, and copied whole?"


@dataclass(frozen=True)
class EmbeddedSpec:
    """What a model file says of itself."""

    spec: ModelSpec  # with the tensors of this file
    model_sha256: str  # of the model's bytes without the embedded spec, hexadecimal
    model_bytes: int  # length of the model without the embedded spec


def embed(model: bytes, spec: ModelSpec, suffix: str) -> bytes:
    """The bytes of a model file with the spec inside.

    Args:
        model: a `.tflite` or `.onnx` file as its converter wrote it.
        spec: with the tensors of this file.
        suffix: `.tflite` or `.onnx`.
    """
    record = {"spec": spec.to_dict(), "model_sha256": hashlib.sha256(model).hexdigest(), "model_bytes": len(model)}
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return model + _tail(text, len(model), suffix)


def read_embedded_spec(path: Path, verify: bool = True) -> EmbeddedSpec:
    """What the model file says of itself: as `parse_embedded_spec` of its bytes."""
    return parse_embedded_spec(path.read_bytes(), path.suffix, str(path), verify)


def parse_embedded_spec(content: bytes, suffix: str, where: str, verify: bool = True) -> EmbeddedSpec:
    """What a model file says of itself. Nothing is executed.

    Args:
        content: the bytes of the file.
        suffix: `.tflite` or `.onnx`.
        where: the file, for messages.
        verify: whether to compare the model's bytes with the SHA-256 inside; False for a file verified otherwise.

    Raises:
        ModelError: there is no embedded spec, it is damaged, more stands behind the model, or the model's bytes are
            not those it was made for.
    """
    try:
        text = format_of(suffix).text(content)
        embedded = _from_json(text)
        # Written again it must come out the same: then every byte behind the model is accounted for.
        if content[embedded.model_bytes :] != _tail(text, embedded.model_bytes, suffix):
            raise ValueError("other bytes stand behind the model")
    except DAMAGE as error:
        raise ModelError(f"{where}: {_NO_SPEC} ({error})") from error
    if verify and hashlib.sha256(memoryview(content)[: embedded.model_bytes]).hexdigest() != embedded.model_sha256:
        raise ModelError(
            f"{where}: the model's SHA-256 is not the one written inside it: the file was altered; copy it again"
        )
    return embedded


def _from_json(text: bytes) -> EmbeddedSpec:
    record = loads_strict(text)
    if not isinstance(record, dict) or set(record) != {"spec", "model_sha256", "model_bytes"}:
        raise ValueError("its record has other keys than spec, model_sha256 and model_bytes")
    digest, length = record["model_sha256"], record["model_bytes"]
    if not is_sha256(digest) or not is_count(length) or length == 0:
        raise ValueError("its record does not tell the model's SHA-256 and length")
    return EmbeddedSpec(ModelSpec.from_dict(record["spec"]), digest, length)


def _tail(text: bytes, model_bytes: int, suffix: str) -> bytes:
    """What stands behind a model of so many bytes."""
    return format_of(suffix).tail(text, model_bytes)
