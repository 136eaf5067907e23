"""What a model file says of its own inputs and outputs, read from its tables before any engine sees it."""

from __future__ import annotations

from edge_runtime.errors import ModelError
from edge_runtime.model_formats import format_of
from edge_runtime.model_formats.model_format import DAMAGE, Shape
from edge_runtime.spec import ModelSpec, Tensor


def check_tables(model: memoryview, suffix: str, spec: ModelSpec, where: str) -> None:
    """Refuses a file that does not have the input and the outputs that its spec names.

    Args:
        model: the file without its embedded spec.
        suffix: `.tflite` or `.onnx`.
        spec: with the tensors of this file.
        where: the file, for messages.

    Raises:
        ModelError: they differ, there is no probability, weights lie in another file, or the tables are damaged.
    """
    if all(tensor.name != "probability" for tensor in spec.tensors[1:]):
        raise ModelError(f"{where}: its spec names no output `probability`; export it again")
    try:
        tables = format_of(suffix).tables(model)
    except DAMAGE as error:
        raise ModelError(f"{where}: not a {suffix} model: its tables are damaged ({error})") from error
    side = spec.size
    _check(tables.inputs, spec.input, (1, side, side, 1), where)
    for tensor in spec.tensors[1:]:
        _check(tables.outputs, tensor, (1,) if tensor.name == "probability" else None, where)


def _check(found: dict[str, tuple[str, Shape]], tensor: Tensor, shape: Shape | None, where: str) -> None:
    if tensor.name not in found:
        raise ModelError(f"{where}: has no tensor {tensor.name!r}, only {sorted(found)}; export it again")
    dtype, there = found[tensor.name]
    if dtype != tensor.dtype:
        raise ModelError(f"{where}: tensor {tensor.name!r} is {dtype}, its spec says {tensor.dtype}; export it again")
    if shape == (1,):
        there = tuple(size for size in there if size != 1) or (1,)  # one value, in however many brackets
    if shape is not None and (
        len(shape) != len(there) or any(b not in (None, a) for a, b in zip(shape, there, strict=True))
    ):
        raise ModelError(
            f"{where}: tensor {tensor.name!r} has the shape {list(there)}, its spec asks for {list(shape)}; "
            "export it again"
        )
