"""Layers that a format cannot hold in int8: said by name, and left in float only where a user allows that.

A normalisation that measures its own image divides by what it measured: in steps of 8 bits, variances of most images
round to zero. Attention does the same with sums of exponentials. ONNX has exact GELU only as a chain of six operators,
each of which would be rounded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import keras
from keras import layers

from edge_runtime.errors import ModelError
from export.inputs.foreign.operation_layer import CalledLayer
from export.inputs.foreign.saved_model.raw_operation import RawOperation
from train.int8.keras_graph import layers_in_order

_TFLITE, _ONNX = ".tflite", ".onnx"
_BOTH = (_TFLITE, _ONNX)
# What normalisation and attention come down to in a SavedModel, which tells operations alone.
_OPERATIONS = ("Rsqrt", "SquaredDifference", "BatchMatMulV2", "Einsum", "Exp", "Log", "Log1p", "Expm1", "Pow")
_KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"), _BOTH),
    **dict.fromkeys(_OPERATIONS, _BOTH),
    **dict.fromkeys(("MultiHeadAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention"), _BOTH),
}
# By the name of the function, however its layer is called. LiteRT looks GELU up in a table, and has the others as
# chains of exponentials, whose ranges leave no steps to what they are for.
_FUNCTIONS = {
    **{"gelu": ("GELU", (_ONNX,)), "mish": ("Mish", _BOTH)},
    **{"elu": ("ELU", (_TFLITE,)), "selu": ("SELU", (_TFLITE,)), "softplus": ("softplus", (_TFLITE,))},
}
FUNCTIONS = tuple(_FUNCTIONS)


def float_layers(model: keras.Model, suffix: str) -> dict[str, list[str]]:
    """The layers that stay float in files of a format: names of layers by what they are.

    Args:
        model: flat.
        suffix: of the format.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for layer in layers_in_order(model):
        kind = _kind(layer)
        if suffix in _KINDS.get(kind, ()):
            found[kind].append(layer.name)
        told, formats = _FUNCTIONS.get(_function(layer), ("", ()))
        if suffix in formats:
            found[told].append(layer.name)
    return dict(found)


def _kind(layer: layers.Layer) -> str:
    if isinstance(layer, RawOperation):
        return layer.kind
    return type(layer.layer if isinstance(layer, CalledLayer) else layer).__name__


def in_scope_of(names: Iterable[str]) -> re.Pattern[str]:
    """What finds the names that converters give to operators of these layers; nothing where there are no layers.

    Keras numbers a layer that is traced again, so that `norm` may be told from `norm_1` only by what else there is:
    one of the same name with a number counts as well.
    """
    chosen = "|".join(map(re.escape, names))
    return re.compile(rf"(?:^|[/;])(?:{chosen})(?:_\d+)?(?:/|;|$)" if chosen else r"(?!)")


def require_int8(model: keras.Model, suffixes: Iterable[str]) -> None:
    """Refuses a network with layers that stay float in files of these formats.

    Raises:
        ModelError: it has such layers; all of them are told, by format.
    """
    told = {suffix: _told(float_layers(model, suffix)) for suffix in suffixes}
    kept = {suffix: text for suffix, text in told.items() if text}
    if kept:
        raise ModelError(
            f"{'; '.join(f'int8 {suffix} cannot hold {text}' for suffix, text in kept.items())}; --allow-mixed leaves "
            "these in float and writes model_mixed files, or leave --int8 out"
        )


def _told(found: dict[str, list[str]]) -> str:
    texts = []
    for kind, names in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        texts.append(f"{kind} ({names[0]!r}{more})")
    return ", ".join(texts)


def _function(layer: layers.Layer) -> str:
    """The function of one value that a layer ends with, by its name."""
    if isinstance(layer, layers.ELU):
        return "elu"
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", "")
