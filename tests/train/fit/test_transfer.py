"""Transfer learning needs an entry in the table that says where the frozen part ends."""

import pytest

from edge_runtime.errors import DataError
from train.fit.backend import prepare_backend

prepare_backend(0)

from train.fit.task import Task  # noqa: E402
from train.fit.transfer import _freeze_below, fit_transfer  # noqa: E402


def test_a_network_without_a_cut_is_refused(small_config, tmp_path):
    with pytest.raises(DataError, match="names no cut"):
        fit_transfer(None, Task(small_config("cnn"), None, tmp_path))


def test_only_what_lies_above_a_seam_trains_and_normalisation_never(mobilenetv2):
    _freeze_below(mobilenetv2, "out_relu")
    trained = {layer.name for layer in mobilenetv2.layers if layer.trainable and layer.weights}
    assert trained == {"activation_map", "fracture_map"}  # and not the mean of what both say
    _freeze_below(mobilenetv2, "block_12_add")
    trained = {layer.name for layer in mobilenetv2.layers if layer.trainable and layer.weights}
    assert {"block_13_expand", "Conv_1", "fracture_map"} <= trained
    assert not any("BN" in name or name.startswith("block_12") for name in trained)
