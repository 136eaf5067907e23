"""A network in another precision: the same configuration and weights, every layer told to calculate in that type.

float64 is what proofs are held in, float32 what is deployed. A network saved in mixed precision keeps float32 weights.
"""

from __future__ import annotations

from typing import Any

import keras

from train.int8.keras_graph import Inputs, call, rebuild


def with_precision(model: keras.Model, dtype: str) -> keras.Model:
    """The same network, nested ones included, calculated in `float32` or `float64`; its own graph is not changed.

    Args:
        model: functional or sequential.
        dtype: name of the type.
    """
    config = retyped(keras.saving.serialize_keras_object(model), dtype)
    again = keras.saving.deserialize_keras_object(config)
    copy_weights(model, again)
    return again


def flat_in_float64(model: keras.Model) -> keras.Model:
    """A flat network, with layers of our own in it or not, calculated in float64."""

    def make(layer: Any, inputs: Inputs) -> Any:
        exact = type(layer).from_config(retyped({**layer.get_config(), "dtype": "float64"}, "float64"))
        output = call(exact, inputs)
        copy_weights(layer, exact)
        return output

    return rebuild(model, make)


def copy_weights(source: Any, target: Any) -> None:
    """Gives a layer or network the weights of another of the same configuration."""
    target.set_weights(source.get_weights())
    for layer in getattr(target, "layers", [target]):
        if isinstance(layer, keras.Model):
            copy_weights(layer, layer)
        elif isinstance(layer, keras.layers.Normalization) and layer.built and layer.input_mean is None:
            layer.finalize_state()  # what it calculates with is derived from its weights, at this moment only


def retyped(config: Any, dtype: str) -> Any:
    """A configuration in which every floating `dtype`, of layers and casts, is the given one."""
    if isinstance(config, dict):
        return {
            key: dtype if key == "dtype" and _is_float(value) else retyped(value, dtype)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(retyped(value, dtype) for value in config)
    return config


def _is_float(value: Any) -> bool:
    """Whether a `dtype` entry names a floating type or a policy."""
    return isinstance(value, dict) or (isinstance(value, str) and "float" in value)
