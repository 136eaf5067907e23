"""Formats of model files, by suffix.

To add one: a file here that makes a `ModelFormat` and a line in `FORMATS`, beside an engine in `edge_runtime.engines`
that runs it; then a file and a line in `export.convert.formats`, which make such files.
"""

from __future__ import annotations

from edge_runtime.errors import ModelError
from edge_runtime.model_formats.flatbuffer import TFLITE
from edge_runtime.model_formats.model_format import ModelFormat
from edge_runtime.model_formats.protobuf import ONNX

# In the order in which files are listed.
FORMATS: dict[str, ModelFormat] = {one.suffix: one for one in (TFLITE, ONNX)}


def format_of(suffix: str) -> ModelFormat:
    """The format of files that end so.

    Raises:
        ModelError: model files do not end so.
    """
    if suffix not in FORMATS:
        raise ModelError(f"a model file ends in {' or '.join(FORMATS)}, not in {suffix or 'nothing'}")
    return FORMATS[suffix]
