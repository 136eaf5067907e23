"""What a network with a heatmap does beyond its AUC: does it point at fractures, and what does turning change.

    python -m benchmarks.network BUNDLE --run RUN [--data DIR] [--angles 24] [--turned 200]

The test split of RUN judges, whose data set tells boxes in index.csv. *Pointing game* (Zhang et al. 2018, doi
10.1007/s11263-017-1059-x): how often the point where it looked most lies inside a box of a fractured radiograph, or no
farther from it than 3 % of a side, as its authors allow (15 of 500 pixels); beside a place chosen at random. *Turned*:
each image by so many angles of a full circle, black where nothing is; decisions that differ from those at 0 degrees.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.heatmap import from_dict
from edge_runtime.images import read_grey
from edge_runtime.preprocess import preprocess
from export.evaluation.subjects import Subject, subjects_of_run
from train.metrics import auc, wilson

BOXES = "boxes_cxcywh"
TURNS = (1, 4)  # of --tta
TOLERANCE = 0.03  # of the pointing game, as a share of a side


def boxes_of(image: Subject) -> list[tuple[float, float, float, float]]:
    """(left, top, right, bottom) as shares of the image."""
    numbers = [
        [float(word) for word in text.split()] for text in image.columns.get(BOXES, "").split("|") if text.strip()
    ]
    return [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in numbers]


def is_near(point: tuple[float, float], boxes: Sequence[tuple[float, float, float, float]], tolerance: float) -> bool:
    """Whether a point lies in one of the boxes, widened by a tolerance, all in shares of the image."""
    x, y = point
    return any(
        left - tolerance <= x <= right + tolerance and top - tolerance <= y <= bottom + tolerance
        for left, top, right, bottom in boxes
    )


def points(bundle: Path, root: Path, images: list[Subject]) -> None:
    """Prints the pointing game, and how alike the maps of int8 and float are."""
    int8, exact = Predictor(bundle / "model_int8.tflite"), Predictor(bundle / "model_float32.tflite")
    inside, near, overlaps, chance, likeness = 0, 0, 0, 0.0, []
    fractured = [image for image in images if image.label == 1 and boxes_of(image)]
    for image in fractured:
        heatmap = from_dict(int8.predict(root / image.path, heatmap=True).heatmap or {})
        other = from_dict(exact.predict(root / image.path, heatmap=True).heatmap or {})
        likeness.append(float(np.corrcoef(heatmap.values.ravel(), other.values.ravel())[0, 1]))
        boxes, point, region = boxes_of(image), heatmap.point(), heatmap.strongest()
        inside += point is not None and is_near(point, boxes, 0.0)
        near += point is not None and is_near(point, boxes, TOLERANCE)
        overlaps += region is not None and any(
            left < region[2] and right > region[0] and top < region[3] and bottom > region[1]
            for left, top, right, bottom in boxes
        )
        chance += min(1.0, sum((right - left) * (bottom - top) for left, top, right, bottom in boxes))
    count = len(fractured)
    print(f"pointing game, {count} fractured radiographs: inside a box {wilson(inside, count)}")
    print(
        f"  within {TOLERANCE:.0%} of a side of it {wilson(near, count)}; a random place is inside {chance / count:.3f}"
    )
    print(f"  the strongest region overlaps a box {wilson(overlaps, count)}")
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
