"""What a network with a heatmap does beyond its AUC: does it point at fractures, and what does turning change.

    python -m benchmarks.network BUNDLE --run RUN [--data DIR] [--angles 24] [--turned 200]

The test split of RUN judges, whose data set tells boxes in index.csv. *Pointing game*: how often the strongest cell
lies inside a box of a fractured radiograph, beside a place chosen at random. *Turned*: each image by so many angles of
a full circle, black where nothing is; decisions that differ from those at 0 degrees.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.heatmap import Heatmap, from_dict
from edge_runtime.images import read_grey
from edge_runtime.preprocess import preprocess
from export.evaluation.subjects import Subject, subjects_of_run
from train.metrics import auc, wilson

BOXES = "boxes_cxcywh"
TURNS = (1, 4)  # of --tta


def boxes_of(image: Subject) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) as shares of the image."""
    numbers = [
        [float(word) for word in text.split()] for text in image.columns.get(BOXES, "").split("|") if text.strip()
    ]
    return [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in numbers]


def strongest_cell(heatmap: Heatmap) -> tuple[float, float]:
    """(x, y) of the middle of the strongest cell, as shares of the image."""
    row, column = divmod(int(heatmap.values.argmax()), heatmap.values.shape[1])
    left, top, right, bottom = heatmap.region
    rows, columns = heatmap.values.shape
    return left + (column + 0.5) * (right - left) / columns, top + (row + 0.5) * (bottom - top) / rows


def points(bundle: Path, root: Path, images: list[Subject]) -> None:
    """Prints the pointing game, and how alike the maps of int8 and float are."""
    int8, exact = Predictor(bundle / "model_int8.tflite"), Predictor(bundle / "model_float32.tflite")
    hits, chance, likeness = 0, 0.0, []
    fractured = [image for image in images if image.label == 1 and boxes_of(image)]
    for image in fractured:
        heatmap = from_dict(int8.predict(root / image.path, heatmap=True).heatmap or {})
        other = from_dict(exact.predict(root / image.path, heatmap=True).heatmap or {})
        likeness.append(float(np.corrcoef(heatmap.values.ravel(), other.values.ravel())[0, 1]))
        x, y = strongest_cell(heatmap)
        boxes = boxes_of(image)
        hits += any(left <= x <= right and top <= y <= bottom for left, top, right, bottom in boxes)
        chance += min(1.0, sum((right - left) * (bottom - top) for left, top, right, bottom in boxes))
    print(
        f"pointing game: {hits} of {len(fractured)}, {wilson(hits, len(fractured))}; "
        f"a random place of the image: {chance / len(fractured):.3f}"
    )
    print(
        f"maps of int8 and float: correlation {np.median(likeness):.4f} in the median, "
        f"{np.quantile(likeness, 0.05):.4f} at the 5th percentile"
    )


def turned(bundle: Path, root: Path, images: list[Subject], angles: int) -> None:
    """Prints, for each number of turns of --tta, what rotation changes."""
    predictor = Predictor(bundle, threads=2)
    spec = predictor.model.spec
    labels = np.array([image.label for image in images])
    greys = [Image.fromarray(read_grey(root / image.path, spec.size)) for image in images]
    degrees = [360 * number / angles for number in range(angles)]
    found: dict[int, list[NDArray[np.float64]]] = {turns: [] for turns in TURNS}
    for angle in degrees:
        squares = [
            preprocess(np.asarray(grey.rotate(angle, Image.Resampling.BILINEAR, expand=True)), spec) for grey in greys
        ]
        quarters = np.array(
            [[predictor.probability(np.ascontiguousarray(np.rot90(one, k))) for k in range(4)] for one in squares]
        )
        for turns in TURNS:
            found[turns].append(quarters[:, :: 4 // turns].mean(axis=1))
    for turns, probabilities in found.items():
        decided = np.array(probabilities) >= spec.threshold
        changed = (decided != decided[0]).mean(axis=1)
        sensitivity = decided[:, labels == 1].mean(axis=1)
        areas = [auc(labels, one) or float("nan") for one in probabilities]
        print(f"\n--tta {turns}: {len(images)} radiographs, {int(labels.sum())} fractured, {angles} angles")
        print(
            f"decisions that differ from 0 degrees: {changed[1:].mean():.3f} (most {changed.max():.3f}); sensitivity "
            f"{sensitivity[0]:.3f} at 0, {sensitivity.mean():.3f} over all; "
            f"AUC {areas[0]:.3f} at 0, {np.mean(areas):.3f} over all"
        )
        print("angle  changed  sensitivity  AUC")
        for angle, one, part, area in zip(degrees, changed, sensitivity, areas, strict=True):
            print(f"{angle:5.0f}  {one:7.3f}  {part:11.3f}  {area:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--angles", type=int, default=24)
    parser.add_argument("--turned", type=int, default=200, help="radiographs, half of them fractured where there are")
    given = parser.parse_args()
    subjects = subjects_of_run(given.run, given.data)
    images = list(subjects.images)
    start = time.perf_counter()
    points(given.bundle, subjects.root, images)
    half = given.turned // 2
    positive = [image for image in images if image.label == 1][:half]
    negative = [image for image in images if image.label == 0]
    step = max(1, len(negative) // (given.turned - len(positive)))
    turned(given.bundle, subjects.root, positive + negative[::step][: given.turned - len(positive)], given.angles)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
