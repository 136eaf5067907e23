"""What stands on top of a backbone: features pooled into one probability, or a map of fractures beside it.

A fracture is a thin line in one place. A head that averages all places sees it diluted; a map that names the place is
taught by boxes, and its strongest cell is a second opinion. Both opinions are 1x1 convolutions before pooling, so that
int8 rounds a value a cell, whose errors the mean takes out again, and not one logit.
"""

from __future__ import annotations

import keras
from keras import layers

from train.networks import HEATMAP_NAME, OUTPUT_NAME

ACTIVATION_MAP = "activation_map"  # layer whose mean is the logit of the whole image
FRACTURE_MAP = "fracture_map"  # layer of the logit of each cell, taught by boxes
OPINIONS = "opinions"  # layer of both logits of an image, (b, 2): of the whole, and of the strongest place

_RARE = -2.0  # logit of a cell before anything is learnt: few show a fracture
_SMALL = 0.01  # standard deviation of kernels at the start


def with_head(
    image: keras.KerasTensor,
    features: keras.KerasTensor,
    fine: keras.KerasTensor,
    head: str,
    dropout: float,
    name: str,
) -> keras.Model:
    """A backbone with a head on top, as `train.networks` describes a network.

    Args:
        image: the input, (b, S, S, 3).
        features: the backbone's last, (b, h, w, c), square.
        fine: of a layer before them, (b, 2h, 2w, d), which a map reads.
        head: `map` or `pooled`.
        dropout: fraction of the channels, or of the pooled features, dropped in training.
        name: of the network.
    """
    outputs = map_head(features, fine, dropout) if head == "map" else pooled_head(features, dropout)
    return keras.Model(image, outputs if len(outputs) > 1 else outputs[0], name=name)


def pooled_head(features: keras.KerasTensor, dropout: float) -> list[keras.KerasTensor]:
    """[probability] from the mean of features, (b, h, w, c).

    Args:
        features: of the backbone.
        dropout: fraction of the pooled features dropped in training.
    """
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    return [layers.Dense(1, activation="sigmoid", name=OUTPUT_NAME)(layers.Dropout(dropout, name="dropout")(pooled))]


def map_head(features: keras.KerasTensor, fine: keras.KerasTensor, dropout: float) -> list[keras.KerasTensor]:
    """[probability (b, 1), heatmap (b, 2h, 2w, 1)] of a backbone: the mean of two logits.

    Args:
        features: its last, (b, h, w, c), square.
        fine: of a layer before them, (b, 2h, 2w, d): a cell of the map is to be no larger than a fracture.
        dropout: fraction of the channels dropped in training, in all places at once.
    """
    activation = _map(ACTIVATION_MAP, 0.0)(layers.SpatialDropout2D(dropout, name="dropout")(features))
    fracture = _map(FRACTURE_MAP, _RARE)(layers.SpatialDropout2D(dropout, name="fine_dropout")(fine))
    whole = layers.GlobalAveragePooling2D(name="whole")(activation)
    # A maximum by pooling: every engine has it in int8, and its output keeps the scale of its input.
    strongest = layers.Flatten(name="strongest")(layers.MaxPooling2D(fine.shape[1], name="peak")(fracture))
    opinions = layers.Concatenate(name=OPINIONS)([whole, strongest])
    probability = layers.Dense(
        1, activation="sigmoid", kernel_initializer=keras.initializers.Constant(0.5), name=OUTPUT_NAME
    )(opinions)
    return [probability, layers.Activation("sigmoid", name=HEATMAP_NAME)(fracture)]


def _map(name: str, start: float) -> layers.Conv2D:
    return layers.Conv2D(
        1,
        1,
        kernel_initializer=keras.initializers.RandomNormal(0.0, _SMALL),
        bias_initializer=keras.initializers.Constant(start),
        name=name,
    )
