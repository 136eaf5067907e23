"""A deployed network to `.tflite`, in float or in int8 throughout, through TensorFlow's converter."""

from __future__ import annotations

import tempfile

import keras
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.tools import flatbuffer_utils
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edge_runtime.engines.tflite_file import SIGNATURE
from export.convert.grey_network import deployed_function, graphs_freed
from export.convert.tflite_tensors import Ranges
from export.library_errors import told_as_model_error


@graphs_freed()
def to_float_tflite(model: keras.Model) -> bytes:
    """A float32 `.tflite` file of a network with input `grey`.

    Raises:
        ModelError: an operator has no form in this format.
    """
    says = f"{model.name}: TensorFlow's converter cannot make a .tflite file of it"
    with told_as_model_error(says), tempfile.TemporaryDirectory() as folder:
        _saved(model, folder)
        converted: bytes = tf.lite.TFLiteConverter.from_saved_model(folder, [SIGNATURE]).convert()
    return converted


def to_int8_tflite(float_tflite: bytes, ranges: Ranges, is_mixed: bool = False) -> bytes:
    """A `.tflite` file with int8 input, output and everything between, weights per channel (arXiv:1806.08342).

    Args:
        float_tflite: file of a network with input `grey`.
        ranges: of its tensors; int8 covers each from end to end.
        is_mixed: operators on tensors without a range stay float.

    Raises:
        ModelError: an operator has no int8 form.
    """
    with told_as_model_error("TensorFlow's converter cannot make an int8 file of the network"):
        quantized: bytes = mlir_quantize(
            _with_ranges(float_tflite, ranges),
            fully_quantize=not is_mixed,
            input_data_type=tf.int8,
            output_data_type=tf.int8,
        )
    return quantized


def _with_ranges(float_tflite: bytes, ranges: Ranges) -> bytes:
    """The file with a range written beside each tensor, as the converter's quantiser reads it."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(float_tflite))
    for index, (lowest, highest) in ranges.items():
        quantization = schema.QuantizationParametersT()
        quantization.min, quantization.max = [lowest], [highest]
        model.subgraphs[0].tensors[index].quantization = quantization
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _saved(model: keras.Model, folder: str) -> None:
    """Writes the network as the SavedModel that the converter reads."""
    function = deployed_function(model)
    # With the weights as constants the calibrator sees plain tensors; it cannot read variables.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    names = sorted(function.get_concrete_function().structured_outputs)  # TensorFlow's order of a dict's values
    holder = tf.Module()
    holder.named = tf.function(
        lambda grey: dict(zip(names, frozen(grey), strict=True)), input_signature=function.input_signature
    )
    # The gradient that swish brings along cannot be saved, and the converter, which saves by itself otherwise, would
    # then take another way on which the names of input and output are lost.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(holder, folder, {SIGNATURE: holder.named.get_concrete_function()}, options)
