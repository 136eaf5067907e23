"""Fine-tuning: all weights learn, through the rounding, to give each tensor of the trained network again."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from export.quantize.fine_tuning import fine_tune
from export.quantize.recipes import Material
from export.quantize.recipes.equalised import Equalised
from export.quantize.weight_rounding import nearest, reconstruct
from train.int8.keras_graph import again, rebuild
from train.int8.layer_kinds import WEIGHTED


class FineTuned(Equalised):
    """As `Equalised`, then trained on images of the training split, without labels (see fine_tuning.py)."""

    name = "finetuned"

    def _round(self, network: keras.Model, images: NDArray[np.float32], material: Material) -> None:
        teacher = rebuild(network, again)
        kernels = {layer.name: layer.get_weights()[0] for layer in network.layers if isinstance(layer, WEIGHTED)}
        reconstruct(network, images, nearest)
        for name, kernel in kernels.items():  # the corrected biases stay; what rounding took off the kernels comes back
            layer = network.get_layer(name)
            layer.set_weights([kernel, *layer.get_weights()[1:]])
        material.tell(f"{self.name}: reading training images")
        fine_tune(network, teacher, material.training(), material.tell, material.budget_minutes, material.state)
