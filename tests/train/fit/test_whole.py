"""A deep network from random values learns in float first, and ends on the int8 grid."""

import csv
from collections import Counter

import pytest

from train.fit.backend import prepare_backend

prepare_backend(0)

import keras  # noqa: E402

from train.engine import train_and_evaluate  # noqa: E402
from train.int8.fake_quant import lies_on_grid  # noqa: E402


# Its quick twins: test_grid and test_fake_quant.
@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "phases"), [(2, {"float": 2}), (4, {"float": 3, "on the grid": 1})])
def test_a_mobilenetv2_from_random_values_ends_on_the_int8_grid(phantoms, tmp_path, small_config, epochs, phases):
    train_and_evaluate(small_config("mobilenetv2", epochs=epochs), phantoms, tmp_path / "run")
    with (tmp_path / "run" / "history.csv").open() as stream:
        assert Counter(row["phase"] for row in csv.DictReader(stream)) == phases
    assert lies_on_grid(keras.models.load_model(tmp_path / "run" / "model.keras")) == (len(phases) == 2)
