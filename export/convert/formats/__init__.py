"""Formats of model files, by suffix: how an export makes files of each, and reads them.

To add one: a file here that makes a `ModelFormat`, and a line in `FORMATS`; and its half on the device, see
`edge_runtime.model_formats`. Converters are imported when they are asked: files can be read without TensorFlow.
"""

from __future__ import annotations

from export.convert.formats.model_format import ModelFormat
from export.convert.formats.onnx_files import ONNX
from export.convert.formats.tflite_files import TFLITE

# In the order in which files are made.
FORMATS: dict[str, ModelFormat] = {one.suffix: one for one in (TFLITE, ONNX)}
