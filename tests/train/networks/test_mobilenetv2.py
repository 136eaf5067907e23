"""MobileNetV2 is the published one, and weights come from where they are asked for, or it says what helps."""

import os

import numpy as np
import pytest

from edge_runtime.errors import DataError, ModelError
from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.networks.cnn import build_cnn  # noqa: E402
from train.networks.mobilenetv2 import build_mobilenetv2  # noqa: E402


def test_mobilenetv2_of_full_width_has_the_published_parameters():
    head = 1280 + 1
    assert build_mobilenetv2(224, 1.0, "none", "pooled").count_params() == 2_257_984 + head
    # Two opinions, and their mean.
    fine = 576 + 1  # channels of the layer that the map of fractures reads
    assert build_mobilenetv2(224, 1.0, "none", "map").count_params() == 2_257_984 + head + fine + 3


def test_missing_weights_are_a_data_error():
    with pytest.raises(DataError, match="no such file"):
        build_mobilenetv2(96, 1.0, "/nowhere/x.weights.h5")


def test_weights_of_another_network_are_a_model_error(tmp_path):
    path = tmp_path / "other.weights.h5"
    build_cnn(32).save_weights(path)
    with pytest.raises(ModelError, match="does not fit"):
        build_mobilenetv2(96, 1.0, str(path))


def test_imagenet_weights_without_a_network_name_the_option_that_helps(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(DataError, match="--weights PATH"):
        build_mobilenetv2(96, 0.35, "imagenet")


@pytest.mark.skipif("EDGE_WEIGHTS" not in os.environ, reason="EDGE_WEIGHTS is unset: no ImageNet weights to load")
def test_imagenet_weights_from_a_file_see_what_is_in_a_picture():
    path = os.path.join(os.environ["EDGE_WEIGHTS"], "mobilenet_v2_1.0_224_no_top.weights.h5")
    model = build_mobilenetv2(224, 1.0, path)
    features = keras.Model(model.inputs[0], model.get_layer("out_relu").output)(
        np.zeros((1, 224, 224, 3), np.float32)
    ).numpy()
    # Untrained weights give a mean near 0.1 and no sparsity; trained ones switch many features off.
    assert 0.2 < np.mean(features == 0) < 0.99
