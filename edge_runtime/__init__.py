"""The device: a bone X-ray in, "fractured" or "not fractured" out, with numpy, Pillow, click and one engine.

    from edge_runtime import Predictor
    print(Predictor("bundle").predict("image.png").decision)

Research use only: not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "DependencyError",
    "EdgeError",
    "GateError",
    "ImageError",
    "ModelError",
    "ModelSpec",
    "Prediction",
    "Predictor",
    "StorageError",
    "read_grey",
]

if TYPE_CHECKING:
    from edge_runtime.errors import (
        DataError,
        DependencyError,
        EdgeError,
        GateError,
        ImageError,
        ModelError,
        StorageError,
    )
    from edge_runtime.images import read_grey
    from edge_runtime.predictor import Prediction, Predictor
    from edge_runtime.spec import ModelSpec

# No name here may be that of a module: importing the module, by whatever way, would put it in the name's place.
_HOMES = {
    "Prediction": "predictor",
    "Predictor": "predictor",
    "read_grey": "images",
    "ModelSpec": "spec",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: `edge-infer --help` must not wait for numpy.
    if name not in __all__:
        raise AttributeError(f"module 'edge_runtime' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"edge_runtime.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
