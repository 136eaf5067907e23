"""The described CNN: two convolutions, two poolings, one hidden dense layer."""

from __future__ import annotations

import keras
from keras import layers

from train.networks import OUTPUT_NAME


def build_cnn(size: int = 224) -> keras.Model:
    """The described network: two convolutions, two poolings, one hidden dense layer; 23.9 M parameters at 224."""
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(32, 3, activation="relu", name="conv_1")(image)
    x = layers.MaxPooling2D(2, name="pool_1")(x)
    x = layers.Conv2D(64, 3, activation="relu", name="conv_2")(x)
    x = layers.MaxPooling2D(2, name="pool_2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    probability = layers.Dense(1, activation="sigmoid", name=OUTPUT_NAME)(x)
    return keras.Model(image, probability, name="cnn")
