"""Several devices train the network that one trains; logical processors stand for accelerators."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import tensorflow as tf  # noqa: E402

from edge_runtime.errors import DataError  # noqa: E402
from train.data.batches import Examples, with_targets  # noqa: E402
from train.fit.consistency import ONE_IN, pairs_in  # noqa: E402
from train.fit.devices import divided_evenly, open_devices  # noqa: E402
from train.fit.teaching import paired_batches  # noqa: E402

# Sums of float32 in another order, which Adam divides by their spread: more than one rounding in an epoch.
LOSS_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 5e-3  # kernels end on the int8 grid, where a rounding may tip one to the next step

# Logical devices must be told before TensorFlow starts. Dropout draws by device, so it is off.
TRAIN = """
import json, sys
from pathlib import Path
from train.config import TrainConfig
from train.fit.backend import prepare_backend
import tensorflow as tf

given = json.loads(sys.argv[1])
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * given["devices"])
prepare_backend(0)
import keras
from train.engine import train_and_evaluate

make = keras.layers.Dropout.__init__
keras.layers.Dropout.__init__ = lambda self, rate, **more: make(self, 0.0, **more)
config = TrainConfig(**given["config"])
train_and_evaluate(config, Path(given["data"]), Path(given["out"]), devices=given["devices"])
"""


def train(data: Path, out: Path, config, devices: int, repository: Path) -> tuple[list[float], list[np.ndarray]]:
    """(loss of each epoch, weights) of a run in a process of its own."""
    settings = config.to_dict()
    del settings["augmentation"]
    given = json.dumps({"config": settings, "data": str(data), "out": str(out), "devices": devices})
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", TRAIN, given], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    import keras

    losses = [float(line.split(",")[2]) for line in (out / "history.csv").read_text().splitlines()[1:]]
    return losses, keras.models.load_model(out / "model.keras").get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn", "mobilenetv2"])
def test_two_devices_learn_what_one_learns(model, phantoms, tmp_path, small_config, repository):
    weights = transfer_weights(tmp_path) if model == "mobilenetv2" else "none"
    config = small_config(model, weights=weights, epochs=3)
    alone, of_one = train(phantoms, tmp_path / "one", config, 1, repository)
    together, of_two = train(phantoms, tmp_path / "two", config, 2, repository)
    assert len(alone) == 3 and len(set(alone)) == 3
    np.testing.assert_allclose(together, alone, rtol=LOSS_TOLERANCE)
    for one, two in zip(of_one, of_two, strict=True):
        np.testing.assert_allclose(two, one, atol=WEIGHT_TOLERANCE)


@pytest.mark.slow
def test_a_last_batch_of_one_image_trains_two_devices(phantoms, tmp_path, small_config, repository):
    losses, weights = train(phantoms, tmp_path / "run", small_config(batch_size=47), 2, repository)
    assert np.isfinite(losses).all() and all(np.isfinite(values).all() for values in weights)


def transfer_weights(folder: Path) -> str:
    """A file of backbone weights, random but fixed: transfer learning needs no ImageNet to be exercised."""
    import keras

    path = folder / "backbone.weights.h5"
    keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None).save_weights(path)
    return str(path)


def test_one_device_is_what_it_was():
    assert open_devices(1) is tf.distribute.get_strategy()
    assert open_devices(None).num_replicas_in_sync == 1


def test_more_devices_than_there_are_is_a_data_error():
    with pytest.raises(DataError, match="--devices 99: TensorFlow sees 1 CPU"):
        open_devices(99)


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("last", [1, 4, 5])
def test_shares_have_the_mean_of_the_whole_batch(devices, last):
    count = 8 + last
    rng = np.random.default_rng(1)
    losses, weights = rng.random(count).astype(np.float32), rng.random(count).astype(np.float32)
    examples = Examples(np.arange(count), np.zeros(count, np.int64), weights)
    batches = with_targets(tf.data.Dataset.from_tensor_slices(losses).batch(8), examples, 8)
    divided = list(divided_evenly(batches, devices).as_numpy_iterator())
    for (loss, _, weight), start in zip(divided, (0, 8), strict=True):
        assert len(loss) % devices == 0
        of_shares = [
            np.mean(part * w[:, 0]) for part, w in zip(np.split(loss, devices), np.split(weight, devices), strict=True)
        ]
        whole = slice(start, min(start + 8, count))
        assert np.mean(of_shares) == pytest.approx(np.mean(losses[whole] * weights[whole]), rel=1e-6)


@pytest.mark.parametrize("devices", [1, 2])
def test_each_share_has_its_own_pairs(devices):
    exact, rounded = np.arange(24, dtype=np.float32), 100 + np.arange(24, dtype=np.float32)
    targets = ({"whole": exact[:, None]}, {"whole": np.ones((24, 1), np.float32)})
    of_exact, of_rounded = (tf.data.Dataset.from_tensor_slices(values).batch(24) for values in (exact, rounded))
    ((features, labels, weights),) = paired_batches(of_exact, of_rounded, targets, 24, devices).as_numpy_iterator()
    assert len(features) == 32 and (weights["whole"] == 1).all()
    assert sorted(features) == [*range(24), *range(100, 108)]
    for share, taught in zip(np.split(features, devices), np.split(labels["whole"][:, 0], devices), strict=True):
        pairs = int(pairs_in(len(share)))
        assert pairs == len(share) // (ONE_IN + 1) == 8 // devices
        np.testing.assert_array_equal(share[-pairs:], 100 + share[:pairs])
        np.testing.assert_array_equal(taught, share % 100)


def test_what_fills_a_share_weighs_nothing():
    exact = np.arange(5, dtype=np.float32)
    targets = ({"whole": exact[:, None]}, {"whole": np.ones((5, 1), np.float32)})
    batches = tf.data.Dataset.from_tensor_slices(exact).batch(5)
    ((features, _, weights),) = paired_batches(batches, batches, targets, 5, 2).as_numpy_iterator()
    np.testing.assert_array_equal(features, [0, 2, 3, 0, 1, 4, 0, 1])
    np.testing.assert_allclose(weights["whole"][:, 0], [1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 0, 1.2], rtol=1e-6)
