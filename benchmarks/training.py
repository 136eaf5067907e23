"""Training speed of MobileNetV2: edge-train's two phases against plain `model.fit` on a folder of images.

    python -m benchmarks.training [--images 800] [--epochs 10] [--data FOLDER --weights FILE]
    python -m benchmarks.training --pipeline [--images 800] [--data FOLDER --weights FILE]

Both train the same network (alpha 1, 224 pixels) on the same images in two phases of as many epochs: first the head
on a frozen backbone, then the blocks from 13 on. The plain way is the usual recipe of the Keras guide on transfer
learning: `image_dataset_from_directory`, augmentation layers inside the model, `fit`. Both are whole processes' work
inside one process each, decoding included; what is printed is images per second and their ratio.

`--pipeline`: what reading, augmenting and joining batches costs beside the step. Epochs of edge-train's own phase take
turns with epochs over the same number of batches that lie ready in memory; the figure is the ratio of their rates, the
median of rounds. Target: at least 0.9. Of mobilenetv2, which learns from stored features, and of the cnn, whose images
are changed anew in each epoch.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NoReturn

from train import phantom

VAL_IMAGES = 64
PIPELINE_TARGET = 0.9
PIPELINE_ROUNDS = 5
PIPELINES = ("mobilenetv2", "cnn")  # stored features, augmented images


def plain(data: Path, weights: str, epochs: int) -> float:
    """Seconds that the recipe of the Keras guide takes, after its imports."""
    import keras

    start = time.perf_counter()
    sets = {
        split: keras.utils.image_dataset_from_directory(
            data / split, label_mode="binary", image_size=(224, 224), batch_size=32, seed=0, verbose=False
        )
        for split in ("train", "val")
    }
    image = keras.Input((224, 224, 3))
    x = keras.layers.RandomFlip()(image)
    x = keras.layers.RandomRotation(20 / 360)(x)
    x = keras.layers.RandomTranslation(0.08, 0.08)(x)
    x = keras.layers.RandomZoom(0.1)(x)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    backbone = keras.applications.MobileNetV2(input_shape=(224, 224, 3), include_top=False, weights=None)
    backbone.load_weights(weights)
    backbone.trainable = False
    x = keras.layers.GlobalAveragePooling2D()(backbone(x, training=False))
    model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dropout(0.2)(x)))
    fit_both_phases(model, backbone, sets, epochs)
    return time.perf_counter() - start


def fit_both_phases(model, backbone, sets, epochs: int) -> None:
    import keras

    for rate, first_trainable in ((1e-3, None), (1e-4, "block_13_expand")):
        if first_trainable:
            backbone.trainable = True
            for layer in backbone.layers:
                if layer.name == first_trainable:
                    break
                layer.trainable = False
        model.compile(keras.optimizers.Adam(rate), loss="binary_crossentropy", metrics=["accuracy"])
        model.fit(sets["train"], validation_data=sets["val"], epochs=epochs, verbose=0)


def ours(data: Path, weights: str, epochs: int) -> float:
    """Seconds that edge-train's own code takes, after its imports."""
    from train.config import TrainConfig
    from train.engine import train_and_evaluate
    from train.fit.backend import prepare_backend

    prepare_backend(0)
    import train.fit.transfer  # noqa: F401  (imports are not what is measured)

    config = TrainConfig("mobilenetv2", split="folders", accept_leak=True, epochs=epochs, weights=weights)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train_and_evaluate(config, data, Path(folder, "run"))
        return time.perf_counter() - start


class Measured(Exception):
    """Ends a training that was begun to be measured, with its rates."""


def pipeline(data: Path, weights: str | None, model: str) -> tuple[float, float]:
    """(images a second with edge-train's own batches, with batches that lie ready) of the first phase of a network."""
    from train.config import TrainConfig
    from train.engine import train_and_evaluate
    from train.fit.backend import prepare_backend

    prepare_backend(0)
    import train.fit.transfer
    import train.fit.whole

    train.fit.transfer.fit = train.fit.whole.fit = measure_phase
    settings = {"weights": weights} if model == "mobilenetv2" else {}
    config = TrainConfig(model, split="folders", accept_leak=True, epochs=1, **settings)
    with tempfile.TemporaryDirectory() as folder:
        try:
            train_and_evaluate(config, data, Path(folder, "run"))
        except Measured as measured:
            return measured.args[0]
    raise RuntimeError("no phase was trained")


def measure_phase(phase, folder: Path) -> NoReturn:
    """In place of `train.fit.epochs.fit`."""
    phase.model.compile(optimizer=phase.plan.optimizer(), loss=phase.loss, metrics=phase.metrics)
    ready = phase.batches(0).cache()
    run_epoch(phase, ready)  # fills the cache
    run_epoch(phase, phase.batches(0))
    rates = []
    for epoch in range(1, PIPELINE_ROUNDS + 1):
        rates.append((run_epoch(phase, phase.batches(epoch)), run_epoch(phase, ready)))
        print("  {:.1f} and {:.1f} images/s".format(*rates[-1]), file=sys.stderr, flush=True)
    raise Measured(min(rates, key=lambda both: abs(both[0] / both[1] - median(a / b for a, b in rates))))


def run_epoch(phase, batches) -> float:
    """Images a second of one epoch."""
    start = time.perf_counter()
    phase.model.fit(batches, epochs=1, shuffle=False, verbose=0)
    return phase.examples / (time.perf_counter() - start)


def random_weights(folder: Path) -> str:
    """A file of untrained weights: speed does not depend on their values."""
    path = str(folder / "random.weights.h5")
    make = (
        "import sys, keras; keras.applications.MobileNetV2(include_top=False, weights=None).save_weights(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", make, path], check=True, stderr=subprocess.DEVNULL)
    return path


def run(which: str, data: Path, weights: str, epochs: int) -> list[float]:
    """What one way prints at its end, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--one", which, "--data", str(data)]
    command += ["--weights", weights, "--epochs", str(epochs)]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "TF_CPP_MIN_LOG_LEVEL": "3"}
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(word) for word in output.splitlines()[-1].split()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=800, help="phantoms to train on where no --data is given")
    parser.add_argument("--epochs", type=int, default=10, help="of each phase")
    parser.add_argument("--data", type=Path, help="folder with train, val and test")
    parser.add_argument("--weights", help="file of ImageNet weights without top; random ones where none is given")
    parser.add_argument("--pipeline", action="store_true", help="batches as edge-train makes them beside ready ones")
    parser.add_argument("--one", choices=("plain", "ours", *PIPELINES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one in PIPELINES:
        print(*pipeline(options.data, options.weights, options.one))
        return
    if options.one:
        print({"plain": plain, "ours": ours}[options.one](options.data, options.weights, options.epochs))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = options.data
        if data is None:
            counts = {"train": options.images, "val": VAL_IMAGES, "test": VAL_IMAGES}
            data = phantom.write_dataset(Path(folder, "phantoms"), counts, seed=0)
        count = sum(1 for path in (data / "train").rglob("*") if path.is_file())
        weights = options.weights or random_weights(Path(folder))
        if options.pipeline:
            for model in PIPELINES:
                own, ready = run(model, data, weights, 1)
                print(f"{model:<12} {own:8.1f} images/s, batches ready {ready:8.1f}: ratio {own / ready:.2f}", end=" ")
                print(f"(target at least {PIPELINE_TARGET})", flush=True)
            return
        seconds = {which: run(which, data, weights, options.epochs)[0] for which in ("plain", "ours")}
    for which, taken in seconds.items():
        print(f"{which:<6} {taken:8.1f} s  {2 * options.epochs * count / taken:8.1f} images/s in two phases")
    print(f"ratio  {seconds['plain'] / seconds['ours']:8.2f}")


if __name__ == "__main__":
    main()
