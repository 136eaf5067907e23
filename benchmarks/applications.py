"""Networks of keras.applications as tutorials make them, all the way to int8: how many decisions change?

    python -m benchmarks.applications --out FOLDER [NAME ...] [--minutes 20]

Each network is trained on phantoms of 96 pixels, with a break that is more than a hairline, until its AUC on others is
0.85 or the minutes are over; saved as a `.keras` file; exported by `edge-export`'s own function with recipe `auto`, and
judged on phantoms that nobody saw. All start from random values but MobileNetV2, whose ImageNet weights are read from
$EDGE_WEIGHTS where they are there. A line of Markdown is printed for each; networks and bundles stay in FOLDER.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from export.parity.measures import FileParity, Parity
from export.quiet import quiet_converters
from export.request import AUTO, ExportRequest
from train.metrics import auc
from train.phantom import Phantom, draw

SIDE = 96  # pixels
GOOD_ENOUGH = 0.85  # AUC on phantoms that did not train
LABELS = ("normal", "fractured")
# First phantom and how many, of each part; hairline breaks are passed over.
PARTS = {"train": (0, 1_200), "val": (100_000, 300), "calibration": (200_000, 100), "test": (300_000, 400)}
HEAD = "| network | AUC | minutes | recipe | file | MB | decisions changed | p99 | worst shift | verdict |"
_SEED = 11
# Of Adam: at 1e-3 networks of random values hardly leave chance within minutes; at 3e-3 what ImageNet taught is lost
# (MobileNetV2: AUC 0.65 after 12 minutes).
_RANDOM_RATE, _PRETRAINED_RATE = 3e-3, 1e-3
_WEIGHTS = "mobilenet_v2_1.0_224_no_top.weights.h5"


@dataclass(frozen=True)
class Application:
    """One network of keras.applications."""

    backbone: str  # its name there
    preprocess: str | None  # module whose preprocess_input stands in the network; None: the backbone scales by itself
    options: tuple[tuple[str, Any], ...] = ()  # of the backbone


APPLICATIONS = {
    "MobileNet": Application("MobileNet", "mobilenet"),
    "MobileNetV2": Application("MobileNetV2", "mobilenet_v2"),
    "MobileNetV3Small": Application("MobileNetV3Small", None),
    "MobileNetV3Large": Application("MobileNetV3Large", None),
    "EfficientNetB0": Application("EfficientNetB0", None),
    "EfficientNetV2B0": Application("EfficientNetV2B0", None),
    "ResNet50V2": Application("ResNet50V2", "resnet_v2"),
    "DenseNet121": Application("DenseNet121", "densenet"),
    "NASNetMobile": Application("NASNetMobile", "nasnet"),
}


def write_images(folder: Path, parts: dict[str, tuple[int, int]] = PARTS) -> None:
    """Phantoms as PNG files in class folders, for every part; a part that is there is left alone."""
    for part, (first, count) in parts.items():
        if (folder / part).is_dir():
            continue
        for index, phantom in _chosen(first, count):
            target = folder / part / LABELS[phantom.label]
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(phantom.image_u8).save(target / f"{index}.png")


def _chosen(first: int, count: int) -> Iterator[tuple[int, Phantom]]:
    index = first
    while count:
        phantom = draw(_SEED, index)
        if phantom.fracture != "hairline":
            yield index, phantom
            count -= 1
        index += 1


def read_images(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(images (N, SIDE, SIDE), labels) of a part, as a device would see them."""
    spec = ModelSpec("any", SIDE, "stretch", "bilinear", LABELS, 0.5, "phantom")
    paths = sorted(folder.rglob("*.png"))
    images = [preprocess(np.asarray(Image.open(path)), spec) for path in paths]
    return np.stack(images), np.array([LABELS.index(path.parent.name) for path in paths])


def build(name: str) -> Any:
    """The network as a tutorial has it, compiled: preprocessing inside, the backbone as a layer, pooling, one logit."""
    import keras
    from keras import layers

    from train.fit.random_start import settle_quickly, start_shallow

    application, weights = APPLICATIONS[name], _weights(name)
    keras.utils.set_random_seed(_SEED)
    make = getattr(keras.applications, application.backbone)
    backbone = make(input_shape=(SIDE, SIDE, 3), include_top=False, weights=weights, **dict(application.options))
    settle_quickly(backbone)
    if weights is None:
        start_shallow(backbone)
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.RandomFlip()(image)
    if application.preprocess is not None:
        x = getattr(keras.applications, application.preprocess).preprocess_input(x)
    x = layers.GlobalAveragePooling2D()(backbone(x))
    model = keras.Model(image, layers.Dense(1)(layers.Dropout(0.2)(x)), name=name.lower())
    rate = _RANDOM_RATE if weights is None else _PRETRAINED_RATE
    model.compile(keras.optimizers.Adam(rate), keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def _weights(name: str) -> str | None:
    path = Path(os.environ.get("EDGE_WEIGHTS", "")) / _WEIGHTS
    return str(path) if name == "MobileNetV2" and path.is_file() else None


def train(model: Any, folder: Path, minutes: float) -> float:
    """The best AUC on other phantoms: trains until it is GOOD_ENOUGH, or the time is over."""
    images, labels = read_images(folder / "train")
    others, other_labels = read_images(folder / "val")
    as_input: Callable[[Any], Any] = lambda grey: np.repeat(grey[..., None].astype(np.float32), 3, axis=-1)  # noqa: E731
    end, best, weights = time.monotonic() + 60 * minutes, 0.0, model.get_weights()
    while time.monotonic() < end and best < GOOD_ENOUGH:
        model.fit(as_input(images), labels.astype(np.float32), batch_size=32, epochs=1, verbose=0)
        area = auc(other_labels, model.predict(as_input(others), verbose=0)[:, 0]) or 0.0
        if area > best:
            best, weights = area, model.get_weights()
        logging.getLogger("benchmarks").warning("%s: AUC %.3f", model.name, area)
    model.set_weights(weights)
    return best


def export_network(path: Path, folder: Path, out: Path, recipe: str = AUTO) -> Parity:
    """The parity of the network's bundle, on phantoms that nobody saw; written whatever the gate says."""
    from export.exporter import export

    return export(
        ExportRequest(
            path,
            out,
            int8=True,
            calibration=folder / "calibration",
            evaluate=folder / "test",
            labels=LABELS,
            force=True,
            recipe=recipe,
        )
    )


def rows(name: str, area: float, minutes: float, parity: Parity) -> list[str]:
    """Lines of Markdown below HEAD, one for each int8 file."""
    return [_row(name, area, minutes, parity.recipe, one) for one in parity.files if one.precision != "float32"]


def _row(name: str, area: float, minutes: float, recipe: str | None, one: FileParity) -> str:
    worst = max(one.shifts, key=lambda shift: shift.share)
    changed = f"{one.radiograph_decisions_changed} of {one.radiographs}"
    shown = f"{worst.shift}: {worst.decisions_changed} of {worst.radiographs}"
    cells = (name, f"{area:.3f}", f"{minutes:.1f}", str(recipe), one.file, f"{one.bytes / 1e6:.2f}")
    return f"| {' | '.join((*cells, changed, f'{one.percentile_99_difference:.3f}', shown, one.verdict))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(APPLICATIONS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    arguments = parser.parse_args()
    write_images(arguments.out)
    print(HEAD, "|---" * HEAD.count(" | ") + "|---|", sep="\n", flush=True)
    for name in arguments.names or APPLICATIONS:
        path = arguments.out / f"{name}.keras"
        with quiet_converters():
            model = build(name)
            area = train(model, arguments.out, arguments.minutes)
            model.save(path)
            start = time.monotonic()
            parity = export_network(path, arguments.out, arguments.out / name)
        print(*rows(name, area, (time.monotonic() - start) / 60, parity), sep="\n", flush=True)


if __name__ == "__main__":
    main()
