"""What is done to the network before its weights are rounded."""

from __future__ import annotations

import logging

import keras

from edge_runtime.errors import ModelError
from export.convert.grey_network import as_input
from export.convert.prepared_network import PreparedNetwork
from export.quantize.logit_duplication import ends_with_one_sigmoid
from export.quantize.recipes.recipe_inputs import RecipeInputs
from train.int8.equalisation import equalise
from train.int8.fake_quant import lies_on_grid
from train.int8.keras_graph import answer_layer

log = logging.getLogger(__name__)


def folded(prepared: PreparedNetwork, inputs: RecipeInputs) -> keras.Model:
    """Batch normalisation and input scaling inside the convolutions; as it is where that cannot be had.

    Unfolded, the scaling of the input is rounded on its own, half a step off everywhere.
    """
    return prepared.folded or prepared.grey


def equalised(prepared: PreparedNetwork, inputs: RecipeInputs) -> keras.Model:
    """Folded, and every channel fills its tensor's range (Nagel et al. 2019, arXiv:1906.04721).

    Raises:
        ModelError: it cannot be folded, or does not end with the dense layer that gives the probability.
    """
    network = prepared.folded_copy()
    if not answer_layer(network).get_weights():
        raise ModelError(f"{network.name}: its last layer is not the dense one that gives the probability")
    log.info("equalising channels")
    equalise(network, as_input(inputs.calibration.images_u8))
    return network


def equalised_unless_on_grid(prepared: PreparedNetwork, inputs: RecipeInputs) -> keras.Model:
    """As `equalised`; only folded where the kernels lie on the int8 grid already, as those of edge-train do.

    Raises:
        ModelError: as `equalised`.
    """
    network = prepared.folded_copy()
    if not ends_with_one_sigmoid(network):
        raise ModelError(f"{network.name}: its last layer is not the dense one that gives the probability")
    return network if lies_on_grid(network) else equalised(prepared, inputs)
