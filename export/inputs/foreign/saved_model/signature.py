"""What a SavedModel says of itself: its graph, and the signature that a server would call; nothing is executed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import ModelError
from export.inputs.foreign.saved_model.tensor_names import node_of

SAVED_MODEL = "saved_model.pb"  # inside the folder

_SERVING = ("serving_default", "serve")  # signatures that are meant where there are several
_FIRST_OF_TF1 = "__saved_model_init_op"
_PROBABILITY = "probability"


@dataclass(frozen=True)
class Signature:
    """One image in, one row of scores out."""

    meta_graph: Any  # of TensorFlow, with the graph, its functions and its objects
    entry: str  # node of the graph that stands for the image
    shape: tuple[int | None, ...]  # of the image, the batch first
    answer: str  # tensor of the graph that is the row of scores
    output: str  # its name in the signature
    others: tuple[str, ...]  # names of outputs that are left out


def read_signature(folder: Path) -> Signature:
    """The signature of a SavedModel that answers.

    Raises:
        ModelError: it is damaged, or it cannot be told which signature, input or output is meant.
    """
    meta_graph = _meta_graph(folder)
    named = {name: one for name, one in meta_graph.signature_def.items() if name != _FIRST_OF_TF1}
    chosen = next((name for name in _SERVING if name in named), next(iter(named)) if len(named) == 1 else None)
    if chosen is None:
        told = ", ".join(sorted(named)) or "none"
        raise ModelError(f"{folder}: signatures {told}; one named {_SERVING[0]} was expected, as model.export has it")
    signature = named[chosen]
    if len(signature.inputs) != 1:
        told = ", ".join(sorted(signature.inputs))
        raise ModelError(f"{folder}: {len(signature.inputs)} inputs ({told}); one image was expected")
    (entry,) = signature.inputs.values()
    if not _is_number(entry.dtype):
        raise ModelError(f"{folder}: its input holds no numbers (float32, uint8), which were expected of an image")
    shape = tuple(None if axis.size < 0 else int(axis.size) for axis in entry.tensor_shape.dim)
    output, others = _chosen_output(folder, signature.outputs)
    return Signature(meta_graph, node_of(entry.name), shape, signature.outputs[output].name, output, others)


def _meta_graph(folder: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        stored = saved_model_pb2.SavedModel.FromString((folder / SAVED_MODEL).read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelError(f"{folder / SAVED_MODEL}: cannot be read as a SavedModel: it is damaged") from error
    serving = [one for one in stored.meta_graphs if "serve" in one.meta_info_def.tags]
    if len(serving) != 1 or not serving[0].HasField("object_graph_def"):
        raise ModelError(
            f"{folder}: no SavedModel of TensorFlow 2 for serving; model.export(DIR) and tf.saved_model.save write one"
        )
    return serving[0]


def _chosen_output(folder: Path, outputs: Any) -> tuple[str, tuple[str, ...]]:
    """The output that is meant: the only one, the one named `probability`, or the only row of scores."""
    rows = [name for name in sorted(outputs) if len(outputs[name].tensor_shape.dim) == 2]
    named = [name for name in outputs if name == _PROBABILITY]
    found = list(outputs) if len(outputs) == 1 else named or rows
    if len(found) != 1:
        told = ", ".join(sorted(outputs))
        raise ModelError(f"{folder}: {len(outputs)} outputs ({told}); name the one that is meant `{_PROBABILITY}`")
    return found[0], tuple(name for name in sorted(outputs) if name != found[0])


def _is_number(dtype: int) -> bool:
    from tensorflow.core.framework import types_pb2 as types

    reals = (types.DT_FLOAT, types.DT_HALF, types.DT_BFLOAT16, types.DT_DOUBLE)
    return dtype in (*reals, types.DT_UINT8, types.DT_INT32)
