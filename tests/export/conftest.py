"""Tiny trained networks in run folders as edge-train writes them, and the bundles exported from them, made once."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.spec import ModelSpec
from export.exporter import export
from export.limits import Limits
from export.quiet import quiet_converters
from export.request import ExportRequest
from train.phantom import draw

SEED = 5
SIZES = {"cnn": 32, "mobilenetv2": 64}  # pixels
TEST_IMAGES, CALIBRATION_IMAGES, VALIDATION_IMAGES = 16, 12, 8
# 16 images cannot carry any claim, and one changed decision of theirs breaks every limit.
NO_LIMITS = Limits(auc=1.0, changed=1.0, distance=1.0, percentile_99=1.0, sensitivity=1.0, specificity=1.0)
# Standard deviation of the logits. Deep networks of random weights hardly tell images apart, so their head has to be
# steep, and a steeper one would make float32 rounding alone move probabilities by more than 1e-5.
STEEPNESS = 0.1

RunMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def phantoms() -> dict[int, np.ndarray]:
    """Phantoms by index, odd ones fractured: first those of test, then of calibration, then of validation."""
    count = TEST_IMAGES + CALIBRATION_IMAGES + VALIDATION_IMAGES
    return {index: draw(SEED, index).image_u8 for index in range(count)}


@pytest.fixture(scope="session")
def networks() -> dict[tuple[str, int], bytes]:
    """Trained networks by kind and size, as the bytes of a .keras file: filled as they are asked for."""
    return {}


@pytest.fixture(scope="session")
def make_run(phantoms, networks, tmp_path_factory) -> RunMaker:
    def make(kind: str = "cnn", size: int | None = None, alpha: float = 0.35, **facts) -> Path:
        folder = tmp_path_factory.mktemp("run")
        side = size or SIZES[kind]
        spec = ModelSpec(kind, side, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "phantom")
        (folder / "spec.json").write_text(spec.to_json())
        if (kind, side) not in networks:
            images_u8 = list(phantoms.values())[: TEST_IMAGES + CALIBRATION_IMAGES]
            networks[kind, side] = _trained(kind, side, alpha, folder / "model.keras", images_u8, spec)
        (folder / "model.keras").write_bytes(networks[kind, side])
        run = {"config": {"model": kind, "seed": SEED, "image_size": side}, "data_root": str(folder / "data")}
        (folder / "run.json").write_text(json.dumps({**run, "demo": True, "leaked": False, "versions": {}, **facts}))
        _write_images(folder, phantoms, spec)
        return folder

    return make


@pytest.fixture(scope="session")
def make_bundle(make_run, made_once) -> Callable[..., Path]:
    def make(kind: str, size: int | None = None, alpha: float = 0.35) -> Path:
        def fill(folder: Path) -> None:
            with quiet_converters():
                source = make_run(kind, size, alpha)
                export(ExportRequest(source, folder / "bundle", int8=True, recipe="minmax", limits=NO_LIMITS))

        return made_once(f"{kind}-{size}-{alpha}", fill) / "bundle"

    return make


@pytest.fixture(scope="session", params=["cnn", "mobilenetv2"])
def bundle(request, make_bundle) -> Path:
    """A bundle of either network with all four model files; not to be written to."""
    return make_bundle(request.param)


def _trained(kind: str, side: int, alpha: float, path: Path, images_u8: list, spec: ModelSpec) -> bytes:
    """A network whose probabilities spread over the images, without minutes of training."""
    with quiet_converters():
        import keras

        from edge_runtime.preprocess import preprocess
        from train.networks.cnn import build_cnn
        from train.networks.mobilenetv2 import build_mobilenetv2

        keras.utils.set_random_seed(SEED)
        model = build_cnn(side) if kind == "cnn" else build_mobilenetv2(side, alpha, weights="none")
        grey = np.stack([preprocess(image, spec) for image in images_u8]).astype(np.float32)[..., None] / 255
        rgb = np.repeat(grey, 3, axis=-1)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        model(rgb, training=True)  # one step: the statistics of batch normalisation
        head = model.get_layer("probability")
        features = keras.Model(model.inputs, head.input)(rgb, training=False).numpy()
        kernel = head.get_weights()[0]
        logits = features @ kernel
        scale = STEEPNESS / logits.std()
        head.set_weights([kernel * scale, -logits.mean(axis=0) * scale])
        model.save(path)
    return path.read_bytes()


def _write_images(folder: Path, phantoms: dict[int, np.ndarray], spec: ModelSpec) -> None:
    from edge_runtime.preprocess import preprocess

    (folder / "data").mkdir()
    (folder / "calibration").mkdir()
    split, manifest = [], []
    for index, image_u8 in phantoms.items():
        name, label, part = f"{index:03d}.png", index % 2, _part(index)
        digest = _save(folder / "data" / name, image_u8)
        split.append((name, digest, label, index, part))
        if part == "train":
            own = _save(folder / "calibration" / name, preprocess(image_u8, spec))
            manifest.append((name, own, label, index, name, digest))
    _write_csv(folder / "split.csv", ("path", "sha256", "label", "group", "split"), split)
    columns = ("path", "sha256", "label", "group", "source", "source_sha256")
    _write_csv(folder / "calibration" / "manifest.csv", columns, manifest)


def _part(index: int) -> str:
    if index < TEST_IMAGES:
        return "test"
    return "train" if index < TEST_IMAGES + CALIBRATION_IMAGES else "val"


def _save(path: Path, image_u8: np.ndarray) -> str:
    Image.fromarray(image_u8).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])
