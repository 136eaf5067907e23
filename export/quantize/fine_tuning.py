"""Trains a network's weights through the rounding of int8 until it answers as before: no label is read.

The student calculates with its kernels on the int8 grid and with every tensor rounded as int8 will; gradients pass
straight through (Jacob et al. 2018, arXiv:1712.05877). It learns every tensor of the network as it was, not the
probability alone: that lies near 0 or 1 for images of the training split and tells little there (Romero et al. 2015,
arXiv:1412.6550).
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from export.convert.grey_network import as_input
from train.checkpoint import restore_variables, store_variables
from train.int8.fake_quant import FakeInt8, Logit, OnGrid, put_on_grid
from train.int8.keras_graph import answer_layer, call, run_layers
from train.int8.layer_kinds import WEIGHTED
from train.int8.layer_ranges import IMAGES, layer_ranges

EPOCHS = 2  # over the images, where the budget allows: four came no closer
LEARNING_RATE = 3e-5  # of Adam at the start, falling as a cosine to nothing; at 1e-4 int8 came no closer at all

_BATCH = 32  # images of one step
_PIXELS_AT_ONCE = 8 * 448 * 448  # of them; gradients of larger steps are added up, for all tensors are in memory twice
_TIMED_STEPS = 4  # for the estimate; the first of them also builds the graph and does not count
_STEPS_BETWEEN_STATES = 20
_SEED = 0
_TINY = 1e-9  # in place of the mean square of a tensor that is zero throughout

log = logging.getLogger(__name__)


def fine_tune(
    network: keras.Model,
    teacher: keras.Model,
    images_u8: NDArray[np.uint8],
    budget_minutes: float | None = None,
    state: Path | None = None,
) -> None:
    """Moves the weights of a network to the int8 grid so that, rounded, it answers as its teacher does; in place.

    Args:
        network: folded by train.int8, with input (N, S, S, 1), 0 to 1; its last layer is dense with a sigmoid.
        teacher: the same layers with the weights of the trained network.
        images_u8: (n, S, S), what is learnt from.
        budget_minutes: of wall time; fewer steps are made where EPOCHS would take longer. None: no limit.
        state: folder that keeps the state; where it has one of this network and these images, training goes on from it.
    """
    training = _Training(network, teacher, images_u8)
    place = None if state is None else state / f"{_key(teacher, images_u8)}.npz"
    if place is not None and place.is_file():
        restore_variables(place, training.state)
    else:
        training.plan(budget_minutes)
    start, first = time.perf_counter(), training.done
    while training.done < training.steps:
        training.step()
        left = (time.perf_counter() - start) / (training.done - first) * (training.steps - training.done)
        log.info("fine-tuning: step %d of %d, %.1f minutes left", training.done, training.steps, left / 60)
        if place is not None and training.done % _STEPS_BETWEEN_STATES == 0:
            place.parent.mkdir(parents=True, exist_ok=True)
            store_variables(place, training.state)
    put_on_grid(network)


class _Training:
    """A student, its optimiser, and how far they have come."""

    def __init__(self, network: keras.Model, teacher: keras.Model, images_u8: NDArray[np.uint8]) -> None:
        self._images_u8 = images_u8
        for layer in network.layers:
            if isinstance(layer, WEIGHTED):
                layer.trainable = True  # transfer learning leaves most of a network frozen, and int8 moves that most
        self._student = _student(network, teacher, layer_ranges(teacher, as_input(images_u8[:IMAGES])))
        self._parts = _parts(images_u8.shape[1])
        accumulated = self._parts if self._parts > 1 else None  # Keras wants None for one
        self._optimizer = keras.optimizers.Adam(LEARNING_RATE, gradient_accumulation_steps=accumulated)
        self._student.compile(optimizer=self._optimizer)
        self._optimizer.build(self._student.trainable_variables)
        self._steps = keras.Variable(EPOCHS * math.ceil(len(images_u8) / _BATCH), dtype="int32", trainable=False)
        self.state = [self._steps, *self._student.variables, *self._optimizer.variables]

    @property
    def steps(self) -> int:
        """In all."""
        return int(self._steps)

    @property
    def done(self) -> int:
        """Steps so far."""
        return int(self._optimizer.iterations)

    def plan(self, budget_minutes: float | None) -> None:
        """Sets the number of steps by the time that a few of them take; these are undone."""
        before = [np.asarray(variable) for variable in self.state]
        self.step()
        start = time.perf_counter()
        for _ in range(_TIMED_STEPS - 1):
            self.step()
        seconds = (time.perf_counter() - start) / (_TIMED_STEPS - 1)
        for variable, value in zip(self.state, before, strict=True):
            variable.assign(value)
        if budget_minutes is not None:
            self._steps.assign(max(1, min(self.steps, int(budget_minutes * 60 / seconds))))
        minutes = self.steps * seconds / 60
        log.info("fine-tuning: %d steps of %d images, about %.0f minutes", self.steps, _BATCH, minutes)

    def step(self) -> None:
        """Learns from the next batch."""
        done = self.done
        self._optimizer.learning_rate = LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * done / self.steps))
        for rows in np.split(_rows(len(self._images_u8), done), self._parts):
            self._student.train_on_batch(as_input(self._images_u8[rows]))


def _parts(side: int) -> int:
    """Into how many parts a step is cut, each of so many images of this side as are taken at once; a power of two."""
    return min(_BATCH, 2 ** max(0, math.ceil(math.log2(_BATCH * side * side / _PIXELS_AT_ONCE))))


def _rows(count: int, step: int) -> NDArray[np.int64]:
    """The images of a step, the same in every run: each once an epoch, but for those that fill its last step."""
    epoch, place = divmod(step, math.ceil(count / _BATCH))
    order = np.random.default_rng([_SEED, epoch]).permutation(count)
    return order[np.arange(place * _BATCH, (place + 1) * _BATCH) % count]


class _Distance(layers.Layer):
    """Adds the mean square of what rounding changed, as a share of the tensor's own, to the loss."""

    def call(self, rounded: Any, exact: Any) -> Any:
        """The rounded tensor."""
        self.add_loss(ops.mean(ops.square(rounded - exact)) / (ops.mean(ops.square(exact)) + _TINY))
        return rounded


def _student(network: keras.Model, teacher: keras.Model, ranges: dict[str, tuple[float, float]]) -> keras.Model:
    """The network as int8 calculates it, held to the tensors of its teacher; its variables are the network's.

    The teacher has the same layers under the same names.
    """
    entry = network.inputs[0]
    *tensors, exact_logit = _tensors_and_logit(teacher, list(ranges))(entry)
    exact = dict(zip(ranges, tensors, strict=True))

    def make(layer: layers.Layer, inputs: list[Any]) -> Any:
        if layer is answer_layer(network):
            return ops.sigmoid(_Distance()(Logit(layer)(inputs[0]), exact_logit))
        output = call(OnGrid(layer) if isinstance(layer, WEIGHTED) else layer, inputs)
        if layer.name not in ranges:
            return output
        return _Distance()(FakeInt8(ranges[layer.name])(output), exact[layer.name])

    return keras.Model(entry, run_layers(network, entry, entry, make), name=f"{network.name}_int8")


def _tensors_and_logit(teacher: keras.Model, names: list[str]) -> keras.Model:
    """A network that gives the outputs of layers, then what the last sigmoid reads; nothing of it is trained."""
    last = answer_layer(teacher)
    logit = ops.matmul(last.input, ops.convert_to_tensor(last.kernel)) + ops.convert_to_tensor(last.bias)
    observed = keras.Model(teacher.inputs[0], [*(teacher.get_layer(name).output for name in names), logit])
    observed.trainable = False
    return observed


def _key(teacher: keras.Model, images_u8: NDArray[np.uint8]) -> str:
    """Tells a state of other weights or images from one that may be gone on from."""
    digest = hashlib.sha256(images_u8.tobytes())
    for weights in teacher.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()[:16]
