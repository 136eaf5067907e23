"""A network is one entry in a table: choices, building, fitting and the demonstration read it."""

import json

import pytest

from edge_runtime.errors import DataError
from train.cli import main
from train.config import TrainConfig
from train.fit.backend import prepare_backend
from train.models import NETWORKS, Network, load

prepare_backend(0)

from train.engine import train_and_evaluate  # noqa: E402
from train.networks import HEATMAP_NAME, OUTPUT_NAME  # noqa: E402

ADDED = """
import keras

def build(size, alpha):
    image = keras.Input((size, size, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(round(4 * alpha), 5, strides=4)(image))
    return keras.Model(image, keras.layers.Dense(1, "sigmoid", name="probability")(pooled))
"""


def build(network, **settings):
    values = {"alpha": 0.35, "weights": "none", "head": "map"} | settings
    return load(network.builder)(96, **{name: values[name] for name in network.options})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_the_same_input_and_names_its_output(name):
    model = build(NETWORKS[name])
    assert model.input_shape == (None, 96, 96, 3) and model.inputs[0].name == "image"
    assert model.outputs[0].shape == (None, 1)
    assert model.output_names == [OUTPUT_NAME, HEATMAP_NAME][: len(model.outputs)]


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].cut])
def test_the_cut_is_a_layer_below_the_head(name):
    order = [layer.name for layer in build(NETWORKS[name]).layers]
    assert order.index(NETWORKS[name].cut) < order.index(OUTPUT_NAME)


@pytest.mark.parametrize("name", NETWORKS)
def test_settings_of_the_table_are_options_of_the_command(name):
    options = {parameter.name for parameter in main.params}
    assert set(NETWORKS[name].demo) | set(NETWORKS[name].defaults) <= options
    assert callable(load(NETWORKS[name].fitting))


def test_the_choices_of_the_command_are_the_table():
    (choice,) = [parameter.type.choices for parameter in main.params if parameter.name == "model"]
    assert list(choice) == list(NETWORKS)


def test_an_unknown_network_is_refused():
    with pytest.raises(DataError, match="--model resnet: no such network; there are cnn, mobilenetv2"):
        TrainConfig("resnet")


def test_a_network_added_by_one_entry_trains(phantoms, tmp_path, monkeypatch):
    (tmp_path / "added_network.py").write_text(ADDED)
    monkeypatch.syspath_prepend(tmp_path)
    entry = Network(
        title="Added", builder="added_network:build", fitting="train.fit.whole:fit_on_grid", options=("alpha",)
    )
    monkeypatch.setitem(NETWORKS, "added", entry)
    config = TrainConfig("added", split="folders", epochs=1, image_size=32, calibration_images=4)
    train_and_evaluate(config, phantoms, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["model"] == "added"
