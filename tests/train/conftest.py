"""A small data set of phantoms, a network, and a cache that is not the user's."""

import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from train import phantom
from train.config import TrainConfig
from train.fit.backend import prepare_backend


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Folder of train, val and test phantoms."""
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return phantom.write_dataset(folder, {"train": 48, "val": 24, "test": 24}, seed=5, workers=1)


@pytest.fixture
def leaking(phantoms, tmp_path):
    """A training image stands in test too, under another name."""
    folder = tmp_path / "leaking"
    shutil.copytree(phantoms, folder)
    shutil.copy(sorted((folder / "train" / "fractured").iterdir())[0], folder / "test" / "fractured" / "copy.png")
    return folder


@pytest.fixture(scope="session")
def small_config():
    """Settings under which a network trains within seconds, with changes."""
    small = {"image_size": 32, "alpha": 0.35, "epochs": 2, "split": "folders", "draws": 2, "calibration_images": 12}
    return lambda model="cnn", **changes: TrainConfig(
        model, **{**small, **({} if "weights" in changes else {"weights": "none", "head": "pooled"}), **changes}
    )


@pytest.fixture(scope="session")
def weights_of():
    """The weights in a run folder."""
    import keras

    return lambda run: keras.models.load_model(run / "model.keras").get_weights()


@pytest.fixture
def interrupt_after_epochs():
    """Ends the process' work as Ctrl-C would, in the epoch after so many whole ones, as long as a block runs."""
    from train.fit import epochs

    @contextmanager
    def interrupting(whole):
        run_epoch, done = epochs._run_epoch, []

        def run_or_stop(phase, epoch, mean):
            if len(done) == whole:
                raise KeyboardInterrupt
            done.append(epoch)
            return run_epoch(phase, epoch, mean)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(epochs, "_run_epoch", run_or_stop)
            yield

    return interrupting


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def mobilenetv2():
    """Narrow, with channels of unlike size, as training leaves them."""
    prepare_backend(0)
    import keras

    from train.networks.mobilenetv2 import build_mobilenetv2

    keras.utils.set_random_seed(3)
    model = build_mobilenetv2(64, 0.35, "none")
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            channels = rng.uniform(0.2, 3.0, (2, gamma.size))
            layer.set_weights(
                [gamma * channels[0], beta + rng.normal(0, 0.5, gamma.size), mean, variance * channels[1]]
            )
    return model


@pytest.fixture
def images():
    """(6, 64, 64, 3), 0 to 1."""
    grey = np.random.default_rng(4).random((6, 64, 64, 1), np.float32)
    return np.repeat(grey, 3, axis=-1)
