"""A deployed network to `.tflite`, in float or in int8 throughout, through TensorFlow's converter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edge_runtime.engines.tflite_file import SIGNATURE
from edge_runtime.errors import ModelError
from edge_runtime.spec import Tensor
from export.deployed import INPUT, OUTPUT, deployed_function

Inputs = Callable[[], Iterator[NDArray[np.float32]]]  # gives the calibration inputs, each (1, S, S, 1), 0 to 1


def to_float_tflite(model: keras.Model) -> bytes:
    """A float32 `.tflite` file of a network with input `grey`."""
    converted: bytes = _converter(model).convert()
    return converted


def to_int8_tflite(model: keras.Model, inputs: Inputs) -> bytes:
    """A `.tflite` file with int8 input, output and everything between, weights per channel (arXiv:1806.08342).

    Args:
        model: takes `grey`, (N, S, S, 1).
        inputs: calibration inputs; ranges are the smallest and largest value that they cause.

    Raises:
        ModelError: an operator has no int8 form.
    """
    converter = _converter(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one] for one in inputs())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        converted: bytes = converter.convert()
    except Exception as error:  # the converter raises ConverterError, RuntimeError and ValueError alike
        raise ModelError(f"{model.name}: TensorFlow's converter cannot make an int8 file of it: {error}") from error
    return converted


def tflite_tensors(model: bytes) -> tuple[Tensor, ...]:
    """The named input and output of a `.tflite` file, with the scales inside it."""
    runner = Interpreter(model_content=model).get_signature_runner(SIGNATURE)
    return (
        _tensor(INPUT, runner.get_input_details()[INPUT]),
        _tensor(OUTPUT, runner.get_output_details()[OUTPUT]),
    )


def _converter(model: keras.Model) -> Any:
    function = deployed_function(model)
    # With the weights as constants the calibrator sees plain tensors; it cannot read variables.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    holder = tf.Module()
    holder.named = tf.function(lambda grey: {OUTPUT: frozen(grey)[0]}, input_signature=function.input_signature)
    return tf.lite.TFLiteConverter.from_concrete_functions([holder.named.get_concrete_function()], holder)


def _tensor(name: str, details: dict[str, Any]) -> Tensor:
    dtype, (scale, zero_point) = np.dtype(details["dtype"]).name, details["quantization"]
    if dtype == "float32":
        return Tensor(name, dtype)
    return Tensor(name, dtype, float(scale), int(zero_point))
