"""The CNN is the one described."""

from train.fit.backend import prepare_backend

prepare_backend(0)

from train.networks.cnn import build_cnn  # noqa: E402


def test_cnn_has_the_described_layers_and_parameters():
    model = build_cnn()
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == [
        *("InputLayer", "Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense", "Dense")
    ]
    parameters = [layer.count_params() for layer in model.layers if layer.weights]
    assert parameters == [896, 18_496, 23_888_000, 129]
    assert [layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")] == [
        *("relu", "relu", "relu", "sigmoid")
    ]
    assert model.get_layer("dropout").rate == 0.5
