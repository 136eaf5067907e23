"""Makes `tiny_bundle/` again: `python -m tests.edge_runtime.golden.make_tiny_bundle`. Needs TensorFlow; tests do not.

A network of 32 x 32 pixels and 1,409 parameters, exported by edge-export's own code and calibrated with the embedded
phantoms. It knows nothing of fractures; its head is scaled so that its answers spread over 0 to 1.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec
from export.exporter import ExportRequest, export
from export.quiet import quiet_converters
from train.phantom import draw

BUNDLE = Path(__file__).with_name("tiny_bundle")
CALIBRATION = Path(__file__).parents[3] / "calibration_data"
SPEC = ModelSpec("tiny", 32, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "phantom")
SEED, PHANTOMS = 7, 40
LOGIT_SPREAD = 2.0  # standard deviation over the phantoms: probabilities from about 0.02 to 0.98


def save_tiny_network(path: Path) -> None:
    """Writes a `.keras` file: two strided convolutions, a global average, one probability."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(SEED)
    image = keras.Input((SPEC.size, SPEC.size, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="conv_1")(image)
    x = layers.Conv2D(16, 3, strides=2, activation="relu", name="conv_2")(x)
    features = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(1, activation="sigmoid", name="probability")(features), name="tiny")
    grey = np.stack([preprocess(draw(SEED, index).image_u8, SPEC) for index in range(PHANTOMS)])[..., np.newaxis]
    learnt = keras.Model(image, features)(np.repeat(grey, 3, axis=-1).astype(np.float32) / 255).numpy()
    kernel = model.get_layer("probability").get_weights()[0]
    logits = learnt @ kernel
    scale = LOGIT_SPREAD / logits.std()
    model.get_layer("probability").set_weights([kernel * scale, -logits.mean(axis=0) * scale])
    model.save(path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, quiet_converters() as terminal:
        network, spec = Path(folder, "tiny.keras"), Path(folder, "spec.json")
        save_tiny_network(network)
        spec.write_text(SPEC.to_json())
        request = ExportRequest(network, BUNDLE, int8=True, spec=spec, calibration=CALIBRATION, recipe="minmax")
        parity = export(request)
        print(parity, file=terminal)
