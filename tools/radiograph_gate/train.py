"""Trains the network of the gate: once on draws of everything, once more on what it finds hard; writes int8 weights.

About an hour on two cores. Nothing of the sources and groups that judge is read, unless `--with-judges` adds a last
round with them: no figure can be measured on these after that, and the network that ships has seen all there is.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.errors import ImageError
from edge_runtime.images import read_grey
from edge_runtime.radiograph_gate import SIDE, WEIGHTS
from tools.radiograph_gate import augment
from tools.radiograph_gate.corpus import FRACATLAS, JUDGE, TRAIN, find_others, find_radiographs
from tools.radiograph_gate.drawn import DRAWN, boneless
from train.phantom.scene import draw as draw_phantom

if TYPE_CHECKING:
    import keras

_KEPT_SIDE = 224  # pixels that are kept of each image, to be drawn from
_FILTERS = (12, 24, 48, 64, 64)  # of each convolution, 3 x 3 with stride 2
_HIDDEN = 32
_DRAWS = {"radiograph": 10, "photograph": 12, "graphic": 6, "drawn": 500, "phantom": 2}
_PHANTOMS = 800
_EASY = (2.5, -4.5)  # logits beyond which a radiograph, and anything else, is easy
_KEPT_EASY = 0.35  # share of the easy ones that stay, and count for all
_GRAPHIC = frozenset({"icon", "plot", "drawing", "screenshot"})

Draw = Callable[[Generator], NDArray[np.uint8]]
Sample = tuple[Draw, int, float]  # how to draw it, 1 for a radiograph, weight


def main() -> None:
    """Writes the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path, help="one folder a source of sources.csv")
    parser.add_argument("data", type=Path, help="folder with multiregion and fracatlas")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="of the network")
    parser.add_argument("--with-judges", action="store_true", help="a last round with the images that judge, too")
    arguments = parser.parse_args()
    samples = collect(arguments.photographs, arguments.data, TRAIN)
    network = make_network()
    images_u8, labels, weights = render(samples, seed=0)
    fit(network, images_u8, labels, weights, rate=3e-3, epochs=7)
    go_on(network, samples, seed=1, rate=1.5e-3, epochs=4)
    if arguments.with_judges:
        samples += collect(arguments.photographs, arguments.data, JUDGE)
        go_on(network, samples, seed=2, rate=1.2e-3, epochs=3)
    save(network, arguments.out)


def go_on(network: keras.Model, samples: list[Sample], seed: int, rate: float, epochs: int) -> None:
    """One more round, on new draws that the network finds hard."""
    images_u8, labels, weights = render(samples, seed)
    kept, weights = hard_ones(network, images_u8, labels, weights)
    fit(network, images_u8[kept], labels[kept], weights[kept], rate, epochs)


def collect(photographs: Path, data: Path, role: str) -> list[Sample]:
    """Every draw of one round."""
    samples: list[Sample] = []
    radiographs = find_radiographs(data, role)
    sizes = Counter(image.group for image in radiographs)
    fracatlas = []
    for image in radiographs:
        kept = _kept(image.path)
        of_fracatlas = image.kind == FRACATLAS
        fracatlas += [kept] if of_fracatlas else []
        weight = 1.0 if of_fracatlas else 3.0 / sizes[image.group] ** 0.8  # files of one radiograph share its weight
        samples += [(_drawing(augment.radiograph, kept), 1, weight)] * _DRAWS["radiograph"]
    for image in find_others(photographs, role):
        try:
            kept = _kept(image.path)
        except ImageError:
            continue
        is_graphic = image.kind in _GRAPHIC
        count, weight = (_DRAWS["graphic"], 0.6) if is_graphic else (_DRAWS["photograph"], 1.0)
        samples += [(_drawing(augment.other, kept), 0, weight)] * count
    if role == TRAIN:
        samples += _drawn(fracatlas)
    return samples


def _drawn(radiographs: list[NDArray[np.uint8]]) -> list[Sample]:
    """What comes in no package, and phantoms."""
    samples: list[Sample] = []
    for draw in DRAWN.values():
        samples += [(lambda rng, draw=draw: augment.other(draw(rng, TRAIN), rng), 0, 0.6)] * (4 * _DRAWS["drawn"])
    samples += [(lambda rng: augment.other(_crop(radiographs, rng), rng), 0, 0.6)] * (4 * _DRAWS["drawn"])
    for index in range(_PHANTOMS):
        phantom = draw_phantom(0, index).image_u8
        samples += [(_drawing(augment.radiograph, phantom), 1, 0.5)] * _DRAWS["phantom"]
    return samples


def _kept(path: Path) -> NDArray[np.uint8]:
    small = Image.fromarray(read_grey(path, 2 * _KEPT_SIDE))
    return np.asarray(small.resize((_KEPT_SIDE, _KEPT_SIDE), Image.Resampling.BILINEAR))


def _drawing(change: Callable[[NDArray[np.uint8], Generator], NDArray[np.uint8]], kept: NDArray[np.uint8]) -> Draw:
    return lambda rng: change(kept, rng)


def _crop(radiographs: list[NDArray[np.uint8]], rng: Generator) -> NDArray[np.uint8]:
    while True:
        crop = boneless(rng, radiographs[rng.integers(len(radiographs))])
        if crop is not None:
            return crop


def render(samples: list[Sample], seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float32]]:
    """((n, SIDE, SIDE), (n,), (n,)): pixels, labels, weights."""
    images_u8 = np.empty((len(samples), SIDE, SIDE), np.uint8)
    for number, (draw, _, _) in enumerate(samples):
        images_u8[number] = draw(np.random.default_rng([seed, number]))
    labels = np.array([label for _, label, _ in samples], np.int64)
    return images_u8, labels, np.array([weight for _, _, weight in samples], np.float32)


def make_network() -> keras.Model:
    """Five convolutions, mean and maximum over the image, one hidden layer, one logit."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIDE, SIDE, 1))
    values = layers.Rescaling(1 / 127.5, -1)(inputs)
    for filters in _FILTERS:
        values = layers.Conv2D(filters, 3, strides=2, use_bias=False)(values)
        values = layers.ReLU()(layers.BatchNormalization()(values))
    pooled = layers.Concatenate()([layers.GlobalAveragePooling2D()(values), layers.GlobalMaxPooling2D()(values)])
    hidden = layers.Dense(_HIDDEN, activation="relu")(layers.Dropout(0.2)(pooled))
    return keras.Model(inputs, layers.Dense(1)(hidden))


def fit(
    network: keras.Model,
    images_u8: NDArray[np.uint8],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    rate: float,
    epochs: int,
) -> None:
    """Trains; radiographs as a whole weigh a third more, since a decision withheld wrongly is the worse mistake."""
    import keras

    of_class = [weights[labels == label].mean() for label in (0, 1)]
    balanced = np.where(labels == 1, 1.3 * weights / of_class[1], weights / of_class[0]).astype(np.float32)
    steps = len(labels) // 128 * epochs
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.02)
    network.compile(keras.optimizers.AdamW(schedule, weight_decay=1e-3), loss)
    network.fit(images_u8[..., None], labels, sample_weight=balanced, batch_size=128, epochs=epochs, verbose=2)


def hard_ones(
    network: keras.Model, images_u8: NDArray[np.uint8], labels: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which draws to go on with, and their weights: the hard ones, and some easy ones that stand for all of these."""
    logits = network.predict(images_u8[..., None], verbose=0, batch_size=512)[:, 0]
    hard = np.where(labels == 1, logits < _EASY[0], logits > _EASY[1])
    kept = hard | (np.random.default_rng(0).random(len(labels)) < _KEPT_EASY)
    return kept, np.where(hard, weights, weights / _KEPT_EASY).astype(np.float32)


def save(network: keras.Model, path: Path) -> None:
    """Writes kernels as int8 with a scale for each output, normalisation folded into them."""
    from keras import layers

    kinds = (layers.Conv2D, layers.BatchNormalization, layers.Dense)
    convolutions, normalisations, dense = (
        [layer for layer in network.layers if isinstance(layer, kind)] for kind in kinds
    )
    folded = []
    for layer, normalisation in zip(convolutions, normalisations, strict=True):
        gamma, beta, mean, variance = normalisation.get_weights()
        factor = gamma / np.sqrt(variance + normalisation.epsilon)
        folded.append((layer.get_weights()[0] * factor, beta - mean * factor))
    arrays = {}
    for number, (kernel, bias) in enumerate([*folded, *(layer.get_weights() for layer in dense)]):
        scale = np.maximum(np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))), 1e-9) / 127
        arrays[f"kernel_{number}"] = np.rint(kernel / scale).astype(np.int8)
        arrays[f"scale_{number}"] = scale.astype(np.float32)
        arrays[f"bias_{number}"] = bias.astype(np.float32)
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main()
