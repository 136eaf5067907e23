"""A recipe: how the network is prepared, how its weights are rounded, and which rule gives the ranges of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import keras

from edge_runtime.errors import ModelError
from export.convert.formats import FORMATS
from export.convert.prepared_network import PreparedNetwork
from export.library_errors import told_as_model_error
from export.quantize.int8_files import RangeRule, quantise_network
from export.quantize.recipes.recipe_inputs import RecipeInputs

# (the network, what may be learnt from) -> a network that may be changed
Preparation = Callable[[PreparedNetwork, RecipeInputs], keras.Model]
# (network, what may be learnt from) -> the network with its weights on the int8 grid, or as the converter rounds them
Rounding = Callable[[keras.Model, RecipeInputs], keras.Model]


@dataclass(frozen=True)
class Recipe:
    """Makes int8 files."""

    name: str  # as in `--recipe`
    preparation: Preparation  # of preparations.py
    rounding: Rounding  # of roundings.py
    ranges: RangeRule  # of activation_ranges.py

    def quantize(self, prepared: PreparedNetwork, formats: Iterable[str], inputs: RecipeInputs) -> dict[str, bytes]:
        """The int8 file of each format, by suffix, without a spec.

        All formats are made at once, so that they share ranges and rounded weights.

        Args:
            prepared: the network.
            formats: suffixes of them.
            inputs: images that may be learnt from.

        Raises:
            ModelError: the network cannot be quantised.
        """
        with told_as_model_error(f"recipe {self.name}"):
            network = self.rounding(self.preparation(prepared, inputs), inputs)
            files = quantise_network(network, tuple(formats), inputs.calibration, self.ranges)
        if not inputs.allow_mixed:
            _require_int8(files)
        return files


def _require_int8(files: Mapping[str, bytes]) -> None:
    for suffix, content in files.items():
        kinds = FORMATS[suffix].float_operators(content)
        if kinds:
            raise ModelError(
                f"int8 {suffix} cannot hold operators of the network: {', '.join(kinds)}; --allow-mixed leaves them in "
                "float and writes model_mixed files"
            )
