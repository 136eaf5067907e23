"""How graphs of TensorFlow name tensors: `node:output`, the first output also as `node`, order alone as `^node`."""

from __future__ import annotations

from typing import Any


def full(tensor: str) -> str:
    """The name of a tensor with its output."""
    return tensor if ":" in tensor else f"{tensor}:0"


def node_of(tensor: str) -> str:
    """The name of the node that writes a tensor."""
    return tensor.split(":")[0]


def tensors_of(node: Any) -> list[str]:
    """The tensors that a node reads, in order; not what it only waits for."""
    return [name for name in node.input if not name.startswith("^")]
