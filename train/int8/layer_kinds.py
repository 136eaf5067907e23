"""What int8 makes of each kind of layer: whose weights it rounds, and whose outputs."""

from __future__ import annotations

from keras import layers

from train.int8.keras_graph import layers_above

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
WEIGHTED = (*CONVOLUTIONS, layers.Dense)
# Layers that hand on what they read, in other places: their output has the scale of their input.
MOVING = (
    layers.InputLayer,
    layers.Rescaling,
    layers.Dropout,
    layers.ZeroPadding2D,
    layers.Flatten,
    layers.MaxPooling2D,
)


def is_rounded(layer: layers.Layer) -> bool:
    """Whether int8 rounds the output of this layer: it ends what converters fuse, and does not merely move values."""
    fused = any(isinstance(above, (layers.BatchNormalization, layers.ReLU)) for above in layers_above(layer))
    return not fused and not isinstance(layer, MOVING)
