"""The trained network in the three forms that an export works with, each made once."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec
from export.convert.grey_network import float_probabilities, load_network, with_grey_input
from export.inputs.opening import ExportInputs
from train.int8.batchnorm_folding import foldable
from train.int8.keras_graph import again, rebuild


@dataclass(frozen=True)
class PreparedNetwork:
    """One function in three forms; none of them is ever changed."""

    spec: ModelSpec  # without tensors
    model: keras.Model  # as trained
    grey: keras.Model  # takes `grey`, (N, S, S, 1), 0 to 1
    folded: keras.Model | None  # the same without batch normalisation and input scaling; None where it cannot be had

    def folded_copy(self) -> keras.Model:
        """The folded network with weights of its own, to be changed.

        Raises:
            ModelError: it cannot be had.
        """
        if self.folded is None:
            raise ModelError(
                f"{self.model.name}: batch normalisation cannot be folded into its convolutions (its graph is not flat)"
            )
        return rebuild(self.folded, again)


def prepare(model: keras.Model, spec: ModelSpec, sample_u8: NDArray[np.uint8]) -> PreparedNetwork:
    """The network in all its forms.

    Args:
        model: as trained.
        spec: of it, without tensors.
        sample_u8: (n, S, S), a few images on which forms are compared.
    """
    grey = with_grey_input(model, sample_u8)
    return PreparedNetwork(spec, model, grey, foldable(grey))


def load(opened: ExportInputs, force: bool = False) -> keras.Model:
    """The trained network, whose answers are what files are held to.

    Args:
        opened: what an export reads.
        force: take a network made elsewhere by the reading of its input that was asked for, though the images that
            judge speak for another.

    Raises:
        ModelError: it cannot be loaded.
        GateError: the images that judge speak for another reading of its input.
    """
    if opened.foreign is None:
        return load_network(opened.network.model, opened.network.spec.size)
    if not force:
        from export.inputs.foreign.reading import require_best_range

        judging = opened.images.judging
        require_best_range(opened.foreign, judging.images_u8, judging.labels, float_probabilities)
    return opened.foreign.model
