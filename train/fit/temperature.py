"""Probabilities that mean what they say: the frequency of fractures, then one temperature for all logits.

Training weighs both classes the same, however rare one is. So the log of their odds in the training images is added to
every logit (prior correction: King and Zeng 2001, doi 10.1093/oxfordjournals.pan.a004868). Then a temperature is chosen
on validation radiographs: a network that knows its training images by heart is far too sure of itself. Dividing its
logits by one number mends that without changing their order (Guo et al. 2017, arXiv:1706.04599), and what int8 does to
a probability shrinks with it.
"""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from train.int8.keras_graph import answer_layer

# Below 1 a network would be made surer of itself, on the word of a few dozen radiographs.
LOWEST, HIGHEST = 1.0, 5.0

_SUREST = 1e-7  # distance from 0 and 1 at which a float32 probability still tells its logit


def choose_temperature(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], groups: NDArray[np.integer]
) -> float:
    """The temperature with the least cross-entropy, every radiograph weighing the same.

    Args:
        probabilities: (n,) of validation files.
        labels: (n,) 0 or 1.
        groups: (n,) radiograph of each file.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1.0 / sizes[group_of]
    sure = np.clip(probabilities.astype(np.float64), _SUREST, 1.0 - _SUREST)
    logits = np.log(sure) - np.log1p(-sure)
    signed = np.where(labels == 1, logits, -logits)

    def cross_entropy(temperature: float) -> float:
        return float(np.sum(weights * np.logaddexp(0.0, -signed / temperature)))

    return float(minimize_scalar(cross_entropy, bounds=(LOWEST, HIGHEST), method="bounded").x)


def log_odds(labels: NDArray[np.integer]) -> float:
    """Log of the odds of a fracture among labels (n,), 0 or 1; 0 where one class is missing."""
    positives = int(np.sum(labels == 1))
    negatives = labels.size - positives
    return float(np.log(positives / negatives)) if positives and negatives else 0.0


def shift_logits(model: keras.Model, shift: float) -> None:
    """Adds a number to the network's logits, in place."""
    last = answer_layer(model)
    kernel, bias = last.get_weights()
    last.set_weights([kernel, bias + shift])


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Divides the logits of a network whose probability comes from a dense layer with a sigmoid, in place."""
    last = answer_layer(model)
    last.set_weights([weights / temperature for weights in last.get_weights()])
