"""A network made elsewhere from its file to what is exported: flat, one grey input, one probability, proven equal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edge_runtime.errors import GateError, ModelError
from export.inputs.foreign.archive import is_saved_model, require_known_layers
from export.inputs.foreign.flattening import flattened
from export.inputs.foreign.head import SHARES, choose_output, ending, probability_of, require_classes, with_probability
from export.inputs.foreign.input_scaling import RANGES, expected_range, from_grey
from export.inputs.foreign.precision import flat_in_float64, with_precision
from export.inputs.foreign.saved_model.exact_graph import ExactGraph
from export.inputs.foreign.saved_model.flat_graph import flat_graph
from export.inputs.foreign.saved_model.signature import read_signature
from export.inputs.foreign.saved_model.translation import require_known, translated
from export.library_errors import reason_of
from train.metrics import auc

log = logging.getLogger(__name__)

# Both are calculated in float64; what is left is that kernels with a scaling inside are rounded to float32 once.
PROOF_TOLERANCE = 1e-5
CLEARLY = 0.05  # of AUC: less may be chance, or a network that hardly minds its range

_CHANCE = 0.5  # AUC of answers that tell nothing
_DRAWS, _SEED = 400, 0  # of the bootstrap
_PROOF_IMAGES = 4
_DEFAULT = "0..1"


@dataclass(frozen=True)
class ForeignNetwork:
    """A network made elsewhere, ready for export."""

    model: keras.Model  # flat, takes `grey` (N, S, S, 1), 0 to 1, gives `probability` (N, 1)
    flat: keras.Model  # the same over its own input
    value_range: str  # of its own input, of RANGES
    gives_logit: bool = False  # it ends in one unit without activation


def prepare(
    path: Path, positive: int | None, input_range: str | None, classes: int | None = None, side: int | None = None
) -> ForeignNetwork:
    """The network of a `.keras` or `.h5` file or of a SavedModel, ready for export.

    Args:
        path: of the file, or of the folder.
        positive: see `head.with_probability`.
        input_range: of RANGES; None reads it from what the network does first.
        classes: how many its user named; None: not compared with its units.
        side: of its image, pixels; None: its input says it.

    Raises:
        ModelError: it cannot be loaded, or has a part that cannot be exported.
    """
    if not is_saved_model(path):
        require_known_layers(path)
    tf.config.set_visible_devices([], "GPU")
    try:
        original = _of_saved_model(path, side) if is_saved_model(path) else _of_file(path, side)
        return _prepared(original, positive, input_range, classes)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except Exception as error:  # Keras and TensorFlow raise whatever they do; a line of it tells which layer
        raise ModelError(f"{path}: cannot be taken apart into its layers: {reason_of(error)}") from error


def require_best_range(
    prepared: ForeignNetwork, images_u8: NDArray[np.uint8], labels: NDArray[np.int64] | None, answers: Any
) -> None:
    """Refuses a reading of the input's range where another one tells the classes apart clearly better.

    Args:
        prepared: the network.
        images_u8: (N, S, S), grey.
        labels: (N,); None where unknown, which tells nothing.
        answers: the function that gives a network's probabilities of images.

    Raises:
        GateError: another one does.
    """
    if labels is None or np.unique(labels).size < 2:
        return
    own = answers(prepared.model, images_u8)
    for name in RANGES:
        if name == prepared.value_range:
            continue
        other = answers(from_grey(prepared.flat, RANGES[name]), images_u8)
        if _shown_better(labels, own, other):
            raise GateError(
                f"input {name} gives an AUC of {auc(labels, other):.3f} on the evaluation images, and "
                f"{prepared.value_range} only {auc(labels, own):.3f}: the network learnt from other values; "
                f"give --input-range {name}"
            )


@dataclass(frozen=True)
class _Original:
    """A network as its file has it."""

    flat: keras.Model  # the same, flat
    exact: Callable[[NDArray[np.float64]], list[Any]]  # its own outputs of images (N, S, S, channels), in float64


def _of_file(path: Path, side: int | None) -> _Original:
    model = _loaded(path)
    exact = with_precision(model, "float64")

    def outputs(images: NDArray[np.float64]) -> list[Any]:
        # An input may stand in a dict or a list; a sequential network takes a tensor.
        given = (
            images if isinstance(exact, keras.Sequential) else keras.tree.map_structure(lambda _: images, exact.input)
        )
        return list(keras.tree.flatten(exact(given, training=False)))

    return _Original(flattened(model, side), outputs)


def _of_saved_model(path: Path, side: int | None) -> _Original:
    signature = read_signature(path)
    if signature.others:
        log.warning(f"output {signature.output} is taken, and {', '.join(signature.others)} left out")
    height, width, channels = (axis or side for axis in signature.shape[1:])
    if height is None or width is None or channels is None:
        raise ModelError(f"input {signature.shape[1:]}; its size is not told")
    graph, answer = flat_graph(path, signature)
    require_known(graph)
    exact = ExactGraph(graph, answer, (height, width, channels))
    return _Original(flattened(translated(exact, path.name)), lambda images: [exact(images)])


def _prepared(
    original: _Original, positive: int | None, input_range: str | None, classes: int | None
) -> ForeignNetwork:
    flat, chosen = choose_output(original.flat)
    require_classes(flat, classes)
    activation = ending(flat)
    read = expected_range(flat)
    value_range = input_range or read
    if input_range is not None and read not in (None, input_range):
        log.warning(f"its first layers are made for {read}: taken as {input_range} all the same, as --input-range says")
    if value_range is None:
        value_range = _DEFAULT
        log.warning(f"the network does not scale its input: taken as {_DEFAULT}; --input-range says otherwise")
    answering, end = with_probability(flat, positive)
    if activation == SHARES:
        log.warning("the network ends in what is calculated of probabilities: taken as one")
    if activation == "linear":
        log.warning(f"the network ends in scores without activation ({end}): taken as logits")
    model = from_grey(answering, RANGES[value_range])
    _prove(original, model, chosen, activation, positive, RANGES[value_range])
    return ForeignNetwork(model, answering, value_range, activation == "linear" and flat.outputs[0].shape[-1] == 1)


def _loaded(path: Path) -> keras.Model:
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever its readers do: zipfile's, h5py's, json's, its own
        raise ModelError(f"cannot be loaded as a Keras network: {reason_of(error)}") from error


def _prove(
    original: _Original,
    model: keras.Model,
    chosen: int,
    activation: str,
    positive: int | None,
    value_range: tuple[float, float],
) -> None:
    """Holds the prepared network to the original, both in float64, on images in the network's own range."""
    _, side, _, channels = original.flat.inputs[0].shape
    grey = np.random.default_rng(_SEED).integers(0, 256, (_PROOF_IMAGES, side, side, 1)) / 255.0
    brightness = np.linspace(0.25, 1.0, _PROOF_IMAGES).reshape(-1, 1, 1, 1)
    grey = np.rint(grey * brightness * 255.0) / 255.0  # what a device can see, dark and bright
    low, high = value_range
    images = np.repeat(low + (high - low) * grey, channels, -1)
    scores = np.asarray(original.exact(images)[chosen])
    expected = probability_of(scores, activation, positive)
    given = np.asarray(flat_in_float64(model)(grey, training=False))[:, 0]
    difference = float(np.abs(given - expected).max())
    if not difference <= PROOF_TOLERANCE:
        raise ModelError(
            f"flattened, it answers differently by {difference:.1e} (at most {PROOF_TOLERANCE:.0e} was expected): "
            "it has a part that is not understood here"
        )


def _shown_better(labels: NDArray[np.int64], own: Any, other: Any) -> bool:
    """Whether the other answers tell the classes apart, clearly better, each in 97.5 % of draws of the images."""
    rng, gains, areas = np.random.default_rng(_SEED), [], []
    for _ in range(_DRAWS):
        rows = rng.integers(0, len(labels), len(labels))
        before, after = auc(labels[rows], own[rows]), auc(labels[rows], other[rows])
        if before is not None and after is not None:
            gains.append(after - before)
            areas.append(after)
    return bool(gains) and float(np.percentile(gains, 2.5)) > CLEARLY and float(np.percentile(areas, 2.5)) > _CHANCE
