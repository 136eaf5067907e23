"""Transfer learning needs an entry in the table that says where the frozen part ends."""

import numpy as np
import pytest

from edge_runtime.errors import DataError
from train.fit.backend import prepare_backend

prepare_backend(0)

from tests.train.fit.test_epochs import transfer_weights  # noqa: E402
from train.data.split_data import load_split_data  # noqa: E402
from train.engine import make_spec, train_and_evaluate  # noqa: E402
from train.fit import transfer  # noqa: E402
from train.fit.frozen_features import create_features  # noqa: E402
from train.fit.task import Task  # noqa: E402
from train.fit.teaching import taught_part  # noqa: E402
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


def test_batches_hold_no_row_that_is_not_in_use(mobilenetv2, phantoms, tmp_path, small_config):
    config = small_config("mobilenetv2", head="map", weights="imagenet", image_size=64, epochs=3)
    data = load_split_data(phantoms, config, lambda labels: make_spec(config, labels, "phantom"), lambda *_: None)
    task, seam = Task(config, data, tmp_path), "block_6_project_BN"
    total = 3 * 48 + 24
    in_use = transfer._rows_in_use(task, total)
    assert in_use[0][-24:].all() and in_use[1].sum() < in_use[0].sum() < total
    shape = mobilenetv2.get_layer(seam).output.shape[1:]
    exact, rounded = (
        np.where(rows[:, None, None, None], np.float16(1), np.full((total, *shape), np.nan)) for rows in in_use
    )
    features = {seam: exact, f"rounded_{seam}": rounded, "cells": np.zeros((total, *task.cells_shape), np.float16)}
    _freeze_below(mobilenetv2, seam)
    phase = transfer._phase(taught_part(mobilenetv2, seam), features, seam, task)
    batches = [batch for epoch in range(3) for batch, *_ in phase.batches(epoch).as_numpy_iterator()]
    assert len(batches) == 6 and all(np.isfinite(batch).all() for batch in batches)


@pytest.mark.slow  # its quick twin: the batches alone, above
@pytest.mark.parametrize("head", ["map", "pooled"])
def test_features_that_are_not_calculated_are_never_read(
    head, phantoms, tmp_path, small_config, weights_of, monkeypatch
):
    def with_nothing_in_them(folder, shapes, count):
        features = create_features(folder, shapes, count)
        for array in features.values():
            array[:] = np.nan
        return features

    calculated = []
    monkeypatch.setattr(transfer, "create_features", with_nothing_in_them)
    in_use = transfer._rows_in_use
    monkeypatch.setattr(transfer, "_rows_in_use", lambda *given: calculated.append(in_use(*given)) or calculated[0])
    train_and_evaluate(
        small_config("mobilenetv2", weights=transfer_weights(tmp_path), head=head), phantoms, tmp_path / "run"
    )
    ((exact, rounded),) = calculated
    assert rounded.sum() < exact.sum() < 0.9 * exact.size  # so there are some that are not
    assert all(np.isfinite(weights).all() for weights in weights_of(tmp_path / "run"))
