"""Whatever a classifier ends with, as one probability: that of the positive class.

Logits get their sigmoid. Of two softmax units the probability is exactly the sigmoid of their difference, of more it is
the unit's own. What is calculated of probabilities and cannot leave 0 to 1 is taken as one. A unit that ends in
anything else is no probability, and is refused.
"""

from __future__ import annotations

import logging
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from edge_runtime.errors import ModelError
from export.inputs.foreign.bounds import is_share
from train.int8.keras_graph import layers_above, writer

log = logging.getLogger(__name__)

PROBABILITY = "probability"
SHARES = "probabilities"  # what was calculated of them after the last activation, such as a mean of several networks

_SIGMOID, _SOFTMAX, _LINEAR = "sigmoid", "softmax", "linear"


def choose_output(model: keras.Model) -> tuple[keras.Model, int]:
    """The network with one output, and its place: the only one, the one named `probability`, or the only row of scores.

    Raises:
        ModelError: it cannot be told which output is meant.
    """
    if len(model.outputs) == 1:
        return model, 0
    names = [writer(tensor).name for tensor in model.outputs]
    rows = [index for index, tensor in enumerate(model.outputs) if len(tensor.shape) == 2]
    named = [index for index, name in enumerate(names) if name == PROBABILITY] or rows
    if len(named) != 1:
        raise ModelError(f"{len(names)} outputs ({', '.join(names)}); name the one that is meant `{PROBABILITY}`")
    (chosen,) = named
    dropped = ", ".join(name for index, name in enumerate(names) if index != chosen)
    log.warning(f"of {len(names)} outputs {names[chosen]} is taken, and {dropped} left out")
    return keras.Model(model.inputs, model.outputs[chosen], name=model.name), chosen


def require_classes(model: keras.Model, named: int | None) -> None:
    """Refuses a network that gives no row of class scores, or has another number of classes than its user named.

    Args:
        model: flat, with one output (N, units); a single unit decides between two classes.
        named: how many labels were given; None is any number.

    Raises:
        ModelError: it has.
    """
    shape = model.outputs[0].shape
    if len(shape) != 2 or shape[-1] is None:
        raise ModelError(f"output of shape {tuple(shape[1:])}; a row of class scores was expected")
    units = shape[-1]
    classes = 2 if units == 1 else units
    if named is not None and classes != named:
        advice = "--labels A,B,C --positive B names all of them" if classes > 2 else "--labels NEGATIVE,POSITIVE"
        raise ModelError(f"ends in {units} unit(s), so {classes} classes, and {named} labels were given; {advice}")


def with_probability(model: keras.Model, positive: int | None) -> tuple[keras.Model, str]:
    """The flat network with output `probability`, (N, 1), and what its end was.

    Args:
        model: flat, with one output (N, classes).
        positive: which unit is the positive class; of a single unit, 0 means that it speaks for the other class.
            None is the last one, where there are no more than two.

    Raises:
        ModelError: it ends in no class scores, or which class is meant is unknown.
    """
    (scores,) = model.outputs
    classes = scores.shape[-1]
    if positive is None and classes > 2:
        raise ModelError(f"{classes} classes; say which is the positive one: --labels A,B,C --positive B")
    scores, activation = _below_activation(scores)
    if activation == _SOFTMAX and classes == 1:
        raise ModelError("softmax over one unit, which always answers 1; train it with a sigmoid")
    if activation == _LINEAR and classes > 1:
        activation = _SOFTMAX
    weights = _combination(activation, classes, positive)
    if activation == SHARES:
        of_the_other = classes == 1 and positive == 0
        output = _dense(scores, [weights, np.ones(1)] if of_the_other else [weights], PROBABILITY, None)
    elif activation == _SOFTMAX and classes > 2:
        shares = layers.Softmax(name="shares")(_logits(scores, np.eye(classes), "scores", None))
        output = _logits(shares, weights, PROBABILITY, None)
    else:
        output = _logits(scores, weights, PROBABILITY, _SIGMOID)
    return keras.Model(model.inputs, output, name=model.name), f"{classes} unit(s), {activation}"


def probability_of(scores: NDArray[np.floating], activation: str, positive: int | None) -> NDArray[np.floating]:
    """(N,), the probability that the original network's own answer (N, classes) stands for.

    Args:
        scores: of the original.
        activation: that the original ends with.
        positive: as in `with_probability`.
    """
    classes = scores.shape[-1]
    if classes == 1:
        one = scores[:, 0] if activation in (_SIGMOID, SHARES) else 1.0 / (1.0 + np.exp(-scores[:, 0]))
        return 1.0 - one if positive == 0 else one
    if activation == _LINEAR:
        shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores = shifted / shifted.sum(axis=-1, keepdims=True)
    return scores[:, classes - 1 if positive is None else positive]


def ending(model: keras.Model) -> str:
    """The activation that a flat network ends with.

    Raises:
        ModelError: it is none that a probability can be made of.
    """
    return _below_activation(model.outputs[0])[1]


def _combination(activation: str, classes: int, positive: int | None) -> NDArray[np.float64]:
    """(classes, 1): what of the scores makes the positive class's."""
    if classes == 1:
        return np.array([[-1.0 if positive == 0 else 1.0]])
    chosen = np.eye(classes)[:, [classes - 1 if positive is None else positive]]
    return 2 * chosen - 1 if activation == _SOFTMAX and classes == 2 else chosen


def _below_activation(scores: Any) -> tuple[Any, str]:
    """(tensor, or layer that writes it, before the last activation; name of that activation)."""
    layer = writer(scores)
    if isinstance(layer, layers.Softmax):
        return layer.input, _SOFTMAX
    name = keras.activations.serialize(layer.activation) if hasattr(layer, "activation") else _LINEAR
    if name not in (_SIGMOID, _SOFTMAX) and is_share(scores):
        return scores, SHARES
    if name not in (_SIGMOID, _SOFTMAX, _LINEAR):
        raise ModelError(f"ends in {name!r}; sigmoid, softmax or no activation (logits) was expected")
    if isinstance(layer, layers.Activation):
        return (layer.input, name) if name != _LINEAR else _below_activation(layer.input)
    if name != _LINEAR and not isinstance(layer, layers.Dense):
        raise ModelError(f"layer {layer.name} ends with {name} and is no Dense; put the activation behind it")
    return scores, name


def _logits(scores: Any, weights: NDArray[np.float64], name: str, activation: str | None) -> Any:
    """A Dense layer that combines scores; it takes the place of a Dense below that nothing else reads."""
    below = writer(scores)
    alone = isinstance(below, layers.Dense) and len(layers_above(below)) <= 1
    if isinstance(below, layers.Dense) and (alone or below.activation is not keras.activations.linear):
        kernel, *bias = (np.asarray(values, np.float64) for values in below.get_weights())
        combined = [kernel @ weights, *(values @ weights for values in bias)]
        return _dense(below.input, combined, name, activation)
    return _dense(scores, [weights], name, activation)


def _dense(tensor: Any, weights: list[NDArray[np.float64]], name: str, activation: str | None) -> Any:
    """A Dense layer of these weights, its kernel first."""
    new = layers.Dense(weights[0].shape[1], activation=activation, use_bias=len(weights) > 1, name=name)
    output = new(tensor)
    new.set_weights(weights)
    return output
