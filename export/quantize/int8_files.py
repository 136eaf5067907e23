"""The int8 files of a network, with the same ranges in every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras

from export.convert.formats import FORMATS
from export.convert.formats.model_format import Calibrated
from export.convert.grey_network import as_input
from export.convert.tflite_tensors import Inputs, Ranges, TensorReader
from export.convert.to_tflite import to_float_tflite
from export.inputs.calibration import CalibrationSet
from export.quantize.logit_duplication import ends_with_one_sigmoid, logit_reach, with_duplicated_logit

_FEW = 32  # calibration images that tell how far the logit reaches

RangeRule = Callable[[bytes, Inputs], Ranges]  # (float .tflite file, calibration inputs) -> ranges of its tensors


def quantise_network(
    network: keras.Model, formats: Iterable[str], calibration: CalibrationSet, rule: RangeRule
) -> dict[str, bytes]:
    """The int8 file of each format, by suffix.

    Args:
        network: takes `grey`, (N, S, S, 1), 0 to 1; each kernel is rounded to the nearest integers, channel by channel.
        formats: suffixes of them.
        calibration: images that the rule measures ranges on.
        rule: of export.quantize.activation_ranges.

    Raises:
        ModelError: an operator has no int8 form.
    """
    reach = None
    if ends_with_one_sigmoid(network):
        reach = logit_reach(network, as_input(calibration.spread(_FEW)))
    float_tflite = to_float_tflite(network if reach is None else with_duplicated_logit(network, reach))
    ranges = rule(float_tflite, calibration.inputs)
    if reach is not None:
        ranges |= dict.fromkeys(TensorReader(float_tflite).logits, (-reach, reach))
    calibrated = Calibrated(network, float_tflite, ranges, calibration.inputs)
    return {suffix: one.quantise(calibrated) for suffix, one in FORMATS.items() if suffix in formats}
