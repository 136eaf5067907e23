"""What a format cannot hold in int8 is said by name, and stays float only where that is allowed."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import ModelError
from export.quiet import quiet_converters

with quiet_converters():
    import keras
    from keras import layers

    from export.convert.formats import FORMATS
    from export.inputs.calibration import CalibrationSet
    from export.inputs.foreign.float_layers import in_scope_of, require_int8
    from export.quantize.activation_ranges import measure_ranges
    from export.quantize.int8_files import quantise_network

SIDE = 16


def network(*middle):
    keras.utils.set_random_seed(2)
    x = start = keras.Input((SIDE, SIDE, 1), name="grey")
    x = layers.Conv2D(6, 3, 2, name="before")(x)
    for layer in middle:
        x = layer(x)
    x = layers.Conv2D(6, 3, name="after")(x)
    output = layers.Dense(1, activation="sigmoid", name="probability")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(start, output)


def quantised(model, suffix, tmp_path):
    grey = np.random.default_rng(1).integers(0, 256, (12, SIDE, SIDE), dtype=np.uint8)
    names = tuple(map(str, range(12)))
    images = CalibrationSet(tmp_path, grey, (None,) * 12, names, names, phantoms=False)
    return quantise_network(model, (suffix,), images, measure_ranges)[suffix]


def test_names_of_layers_are_told_by_format():
    model = network(layers.LayerNormalization(name="norm"), layers.Activation("gelu", name="bend"))
    with pytest.raises(ModelError) as refused:
        require_int8(model, FORMATS)
    says = str(refused.value)
    assert "int8 .tflite cannot hold LayerNormalization ('norm');" in says
    assert "int8 .onnx cannot hold LayerNormalization ('norm'), GELU ('bend');" in says and "--allow-mixed" in says
    require_int8(network(layers.Activation("gelu")), [".tflite"])
    require_int8(network(layers.ELU(), layers.Activation("selu")), [".onnx"])
    with pytest.raises(ModelError, match="int8 .tflite cannot hold ELU .*, SELU"):
        require_int8(network(layers.ELU(), layers.Activation("selu")), [".tflite"])


@pytest.mark.parametrize("suffix", [".tflite", pytest.param(".onnx", marks=pytest.mark.slow)])
def test_a_normalisation_stays_float_and_its_neighbours_become_int8(suffix, tmp_path):
    content = quantised(network(layers.LayerNormalization(name="norm")), suffix, tmp_path)
    in_float = FORMATS[suffix].float_operators(content)
    assert in_float and not any("CONV" in kind.upper() for kind in in_float)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    kinds = [kind for kind, _, _ in FORMATS[suffix].show(path).operators]
    assert sum("CONV" in kind.upper() for kind in kinds) == 2
    plain = quantised(network(layers.ReLU()), suffix, tmp_path)
    assert FORMATS[suffix].float_operators(plain) == ()


def test_a_layer_is_found_by_its_name_and_no_other_one():
    scope = in_scope_of(["norm", "a.b"])
    assert all(scope.search(name) for name in ("net_1/norm_1/add", "norm/mul", "x/y;net_1/norm/mul", "net/a.b/z"))
    assert not any(scope.search(name) for name in ("net_1/layer_norm/add", "normal/mul", "net/axb/z"))
    assert not in_scope_of([]).search("anything")
