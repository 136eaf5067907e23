"""How the weights move: optimiser, learning rate over time, and which weights a phase ends with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import ops

# Of pretrained networks: chosen in docs/experiments.md.
WEIGHT_DECAY = 1e-4
WARM_UP = 0.06  # of all steps: the rate rises from 0, so that a new head does not tear at weights that know something
AVERAGED_STEPS = 67.0  # the weights that count are a running mean over about so many steps, a tenth of all at most

_YOUNG = 9.0  # steps
_NOT_DECAYED = ["bias", "beta", "gamma"]


@dataclass(frozen=True)
class Plan:
    """One way for weights to move."""

    optimizer: Callable[[], keras.optimizers.Optimizer]
    rate: Callable[[int], float] | None  # of an epoch, from 0; None: the optimiser changes its rate with every step
    averaged_steps: float  # over about so many the weights are averaged for validation and in the end; 0: they are not
    keeps_last: bool  # whether the last epoch's weights are kept, and not those of the best by validation AUC


def falling_by_root(rate: float, epochs: int) -> Plan:
    """Adam, its rate falling with the root of what is left; the best epoch is kept.

    High for long, then quickly down: small networks from random values leave chance only at a high rate.
    """
    return Plan(
        optimizer=lambda: keras.optimizers.Adam(rate),
        rate=lambda epoch: rate * math.sqrt(1.0 - epoch / epochs),
        averaged_steps=0.0,
        keeps_last=False,
    )


def averaged_cosine(rate: float, steps: int) -> Plan:
    """AdamW with warm-up, then down by a cosine (arXiv:1608.03983, 1711.05101); a running mean of the weights is kept.

    The mean of the last steps is worth more than any one epoch, so validation images choose none: what they say of the
    network, and the threshold that they choose, is not flattered by a choice.

    Args:
        rate: the highest.
        steps: batches in all.
    """
    warm_up = max(1, round(WARM_UP * steps))

    def optimizer() -> keras.optimizers.Optimizer:
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warm_up), warmup_target=rate, warmup_steps=warm_up
        )
        made = keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY)
        made.exclude_from_weight_decay(var_names=_NOT_DECAYED)
        return made

    return Plan(optimizer=optimizer, rate=None, averaged_steps=min(AVERAGED_STEPS, steps / 10), keeps_last=True)


class RunningMean(keras.callbacks.Callback):
    """The running mean of the variables that train, brought up to date after every batch.

    Keras' optimisers keep one too, but put it in place of the weights at the end of every call of `fit`.

    Args:
        variables: that train.
        steps: over about so many the mean reaches back; 0 keeps none.
    """

    def __init__(self, variables: Sequence[keras.Variable], steps: float) -> None:
        super().__init__()
        self._trained = list(variables) if steps else []
        self._kept = 1.0 - 1.0 / max(steps, 1.0)
        self.means = [keras.Variable(variable, trainable=False) for variable in self._trained]
        self.count = keras.Variable(0, dtype="int64", trainable=False)
        self._update = tf.function(self._move)

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that a continued training needs of it."""
        return [*self.means, self.count]

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Moves every mean a little towards its variable."""
        if self.means:
            self._update()

    def _move(self) -> None:
        self.count.assign_add(1)
        steps = ops.cast(self.count, "float32")
        # The first batches would count for too much: a mean of few reaches back over few.
        kept = ops.minimum(self._kept, steps / (steps + _YOUNG))
        for mean, variable in zip(self.means, self._trained, strict=True):
            mean.assign(kept * mean + (1.0 - kept) * variable)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Gives the variables their means as long as a block runs."""
        trained = [variable.numpy() for variable in self._trained]
        for variable, mean in zip(self._trained, self.means, strict=True):
            variable.assign(mean)
        try:
            yield
        finally:
            for variable, value in zip(self._trained, trained, strict=True):
                variable.assign(value)
