"""Training speed of MobileNetV2: edge-train's two phases against plain `model.fit` on a folder of images.

    python -m benchmarks.training [--images 800] [--epochs 10] [--data FOLDER --weights FILE]

Both train the same network (alpha 1, 224 pixels) on the same images in two phases of as many epochs: first the head
on a frozen backbone, then the blocks from 13 on. The plain way is the usual recipe of the Keras guide on transfer
learning: `image_dataset_from_directory`, augmentation layers inside the model, `fit`. Both are whole processes' work
inside one process each, decoding included; what is printed is images per second and their ratio.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from train import phantom

VAL_IMAGES = 64


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


def random_weights(folder: Path) -> str:
    """A file of untrained weights: speed does not depend on their values."""
    path = str(folder / "random.weights.h5")
    make = (
        "import sys, keras; keras.applications.MobileNetV2(include_top=False, weights=None).save_weights(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", make, path], check=True, stderr=subprocess.DEVNULL)
    return path


def run(which: str, data: Path, weights: str, epochs: int) -> float:
    """Seconds of one way, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--one", which, "--data", str(data)]
    command += ["--weights", weights, "--epochs", str(epochs)]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "TF_CPP_MIN_LOG_LEVEL": "3"}
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(output.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=800, help="phantoms to train on where no --data is given")
    parser.add_argument("--epochs", type=int, default=10, help="of each phase")
    parser.add_argument("--data", type=Path, help="folder with train, val and test")
    parser.add_argument("--weights", help="file of ImageNet weights without top; random ones where none is given")
    parser.add_argument("--one", choices=("plain", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
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
        seconds = {which: run(which, data, weights, options.epochs) for which in ("plain", "ours")}
    for which, taken in seconds.items():
        print(f"{which:<6} {taken:8.1f} s  {2 * options.epochs * count / taken:8.1f} images/s in two phases")
    print(f"ratio  {seconds['plain'] / seconds['ours']:8.2f}")


if __name__ == "__main__":
    main()
