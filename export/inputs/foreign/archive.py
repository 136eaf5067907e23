"""What a model file holds, read without its weights: a network that cannot be taken is refused at once.

A `.keras` file is a ZIP with the network's structure as JSON, an `.h5` file has it as an attribute. Whatever is no
layer of Keras itself would need its author's code, which is not here and would not be run if it were.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_runtime.errors import ModelError
from edge_runtime.hashing import sha256_of
from export.inputs.foreign.saved_model.signature import SAVED_MODEL, read_signature

_CONFIG = "config.json"  # inside a `.keras` file
_H5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NETWORKS = ("Functional", "Sequential", "Model")  # class names of networks that are graphs
_RECURRENT = ("RNN", "SimpleRNN", "LSTM", "GRU", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_ADVICE = "networks of Keras' own layers can be exported"


def is_saved_model(path: Path) -> bool:
    """Whether a folder is a SavedModel of TensorFlow."""
    return (path / SAVED_MODEL).is_file()


def model_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a model file; of a SavedModel that of a list of its files, as `sha256sum` prints it."""
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(one for one in path.rglob("*") if one.is_file())
    listed = "".join(f"{sha256_of(one)}  {one.relative_to(path).as_posix()}\n" for one in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def input_side(path: Path) -> int | None:
    """The side of the square image that a network takes, pixels, read from its file; None where it takes any.

    Raises:
        ModelError: as `require_known_layers`, or its input is no square image.
    """
    shape = list(read_signature(path).shape) if is_saved_model(path) else _input_shape(path)
    if not isinstance(shape, list) or len(shape) != 4 or shape[3] not in (1, 3):
        raise ModelError(f"{path}: input {shape}; an image of (side, side, 3) or (side, side, 1) was expected")
    if shape[1] != shape[2]:
        raise ModelError(f"{path}: input {shape[1:]}; a square was expected")
    return None if shape[1] is None else int(shape[1])


def _input_shape(path: Path) -> list[Any] | None:
    shapes = [
        part["config"].get("batch_shape") or part["config"].get("batch_input_shape")
        for part in _parts(require_known_layers(path).get("config"))
        if isinstance(part.get("config"), dict) and part["class_name"] == "InputLayer"
    ]
    return next((shape for shape in shapes if shape), None)


def require_known_layers(path: Path) -> dict[str, Any]:
    """The structure of a `.keras` or `.h5` file, refused where Keras does not know a part of it.

    Raises:
        ModelError: no network, a subclassed one, or one with a layer of its author's own.
    """
    if path.is_dir():
        raise ModelError(f"{path}: a folder that is no SavedModel ({SAVED_MODEL} is missing) and no run of edge-train")
    if not path.is_file():
        raise ModelError(f"{path}: no such run folder or model file")
    config = _config(path)
    kind = config.get("class_name")
    if kind not in _NETWORKS or _is_custom(config):
        raise ModelError(
            f"{path}: a subclassed network ({kind}), whose structure is Python code that the file does not hold; "
            "rebuild it as a functional model with the same layers"
        )
    for part in _parts(config.get("config")):
        name = part.get("config", {}).get("name", "") if isinstance(part.get("config"), dict) else ""
        if _is_quantised(part):
            raise ModelError(
                f"{path}: Keras has quantised it already (layer {name!r}); give the network as it was before: export "
                "quantises it, and compares both"
            )
        if part["class_name"] in _RECURRENT:
            raise ModelError(
                f"{path}: layer {name!r} ({part['class_name']}) is recurrent, and loops are not exported; "
                "a network that sees its image at once was expected"
            )
        if part["class_name"] == "Lambda":
            raise ModelError(
                f"{path}: layer {name!r} is a Lambda, Python code inside the file, which is never run; put a layer of "
                "Keras in its place (Rescaling, Normalization, Reshape, ...)"
            )
        if _is_custom(part):
            raise ModelError(
                f"{path}: {name or part['class_name']!r} is a custom layer ({part['class_name']}); {_ADVICE}: rebuild "
                "it of these"
            )
    return config


def _config(path: Path) -> dict[str, Any]:
    """The structure of the network in a file."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_H5_SIGNATURE))
        text = _h5_config(path) if start == _H5_SIGNATURE else _keras_config(path)
        config = json.loads(text)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ModelError(f"{path}: cannot be loaded as a Keras network: it is damaged, or no .keras file") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path}: cannot be loaded as a Keras network: its structure is damaged")
    return config


def _keras_config(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(_CONFIG)


def _h5_config(path: Path) -> str | bytes:
    import h5py

    try:
        with h5py.File(path, "r") as content:
            found = content.attrs.get("model_config")
    except OSError as error:
        raise ModelError(f"{path}: cannot be loaded as a Keras network: {error}") from error
    if found is None:
        raise ModelError(
            f"{path}: holds weights without the network's structure; save the whole model: model.save('NAME.keras')"
        )
    text: str | bytes = found
    return text


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Every object that is described inside a configuration: layers, nested networks, initialisers, policies."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and "config" in config:
            yield config
        for value in config.values():
            yield from _parts(value)
    elif isinstance(config, list):
        for value in config:
            yield from _parts(value)


def _is_quantised(part: dict[str, Any]) -> bool:
    """Whether Keras calculates this layer in integers, or in floats of 8 bits."""
    policy = part["config"].get("dtype") if isinstance(part["config"], dict) else None
    return isinstance(policy, dict) and str(policy.get("class_name")).startswith("Quantized")


def _is_custom(part: dict[str, Any]) -> bool:
    """Whether Keras itself does not have this class. Old `.h5` files do not say where a class comes from."""
    registered, module = part.get("registered_name"), part.get("module")
    if part["class_name"] in ("__tuple__", "__numpy__", "__tensor__", "__lambda__", "function"):
        return bool(part["class_name"] == "__lambda__")
    if registered and ">" in registered:
        return True
    if module is None:
        return "registered_name" in part
    return str(module).split(".")[0] not in ("builtins", "keras")
