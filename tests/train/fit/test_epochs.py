"""Epochs can be killed and continued: the network is that of a run that was left alone."""

import numpy as np
import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

from train.engine import train_and_evaluate  # noqa: E402


@pytest.mark.parametrize("model", ["cnn", pytest.param("mobilenetv2", marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_network(
    model, phantoms, tmp_path, small_config, weights_of, interrupt_after_epochs
):
    settings = small_config(model, weights=transfer_weights(tmp_path) if model == "mobilenetv2" else "none")
    train_and_evaluate(settings, phantoms, tmp_path / "whole")
    with interrupt_after_epochs(1):
        train_and_evaluate(settings, phantoms, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    train_and_evaluate(settings, phantoms, tmp_path / "killed", resume=True)
    for first, second in zip(weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(first, second)


def transfer_weights(folder):
    """A file of backbone weights, random but fixed: transfer learning needs no ImageNet to be exercised."""
    import keras

    path = folder / "backbone.weights.h5"
    keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None).save_weights(path)
    return str(path)
