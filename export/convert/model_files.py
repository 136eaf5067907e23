"""The model files of a bundle, of either precision, in each format, each with its spec inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.bundle import INT8, MIXED, file_name
from edge_runtime.embedded_spec import embed
from edge_runtime.engines.tensors import check_input_contract
from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec
from export.convert.formats import FORMATS

if TYPE_CHECKING:
    import keras


def convert_to_float(model: keras.Model, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    """The float32 file of each format, by suffix, without a spec.

    Raises:
        ModelError: the network cannot be converted.
    """
    return {suffix: one.convert(model) for suffix, one in FORMATS.items() if suffix in suffixes}


def write_files(folder: Path, precision: str, contents: Mapping[str, bytes], spec: ModelSpec) -> dict[Path, ModelSpec]:
    """Writes files of one precision, each with its spec inside; the answer is that spec by the path of the file.

    An int8 file in which operators stay float is named mixed.

    Args:
        folder: that receives them, under their names in a bundle.
        precision: of their input.
        contents: of the files as they were made, by suffix.
        spec: of the network, without tensors.

    Raises:
        ModelError: a file has another precision, or its input is not that of the contract.
    """
    specs = {}
    for suffix, content in contents.items():
        held = MIXED if precision == INT8 and FORMATS[suffix].float_operators(content) else precision
        path, inside = folder / file_name(held, suffix), spec.with_tensors(FORMATS[suffix].read(content))
        check_input_contract(inside, path.name)
        if inside.input.dtype != precision:
            raise ModelError(f"{path.name}: its input is {inside.input.dtype}: the network was not made {precision}")
        path.write_bytes(embed(content, inside, suffix))
        specs[path] = inside
    return specs
