"""A deployed network to float `.onnx`, through tf2onnx, with batch normalisation folded into the convolutions."""

from __future__ import annotations

import tempfile
from pathlib import Path

import keras
import onnx
import tf2onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.convert.grey_network import deployed_function, graphs_freed
from export.convert.onnx_names import settle_names
from export.convert.onnx_operators import write_erfc_by_erf, write_nearest, write_prelu
from export.library_errors import told_as_model_error

OPSET = 17  # of 2022: per-channel QDQ is in it, and ONNX Runtime reads it since 1.12


@graphs_freed()
def to_float_onnx(model: keras.Model) -> bytes:
    """A float32 `.onnx` file of a network with input `grey`, (1, S, S, 1), and its outputs by name.

    Raises:
        ModelError: an operator has no form in this format.
    """
    with told_as_model_error(f"{model.name}: tf2onnx cannot make an .onnx file of it"):
        function = deployed_function(model)
        converted, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
        write_erfc_by_erf(converted)
        write_nearest(converted)
        folded = _with_folded_normalisation(converted)
        write_prelu(folded)
        content: bytes = settle_names(folded).SerializeToString(deterministic=True)
    return content


def _with_folded_normalisation(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph after ONNX Runtime's basic, portable optimisations, with the shape of every tensor written down."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before.onnx"), Path(folder, "after.onnx")
        onnx.save(model, before)
        quant_pre_process(str(before), str(after), skip_symbolic_shape=True)
        folded = onnx.load(after)
    return without_unused_domains(folded)


def without_unused_domains(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without imports of operator sets that it does not use; the optimiser lists all that it knows."""
    used = {node.domain for node in model.graph.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model
