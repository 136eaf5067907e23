"""Bundles and model files with random damage, and crafted by their structure: nothing but a ModelError may come out.

    python -m tests.edge_runtime.fuzzing.models --count 1000 --seed 0

Fields of the manifest and of the spec, tables of `.tflite` and messages of `.onnx` are set to what means trouble. Half
of the altered model files get all their hashes made anew, as whoever alters one would do: a hash stops every other.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime import Predictor
from edge_runtime.embedded_spec import _tail, read_embedded_spec
from edge_runtime.errors import EdgeError
from tests.edge_runtime.fuzzing import workers

MOST_BYTES = 400_000_000
BUNDLE = Path(__file__).parents[1] / "golden" / "tiny_bundle"
TROUBLE: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    7,
    8,
    33,
    64,
    4096,
    2**31 - 1,
    2**31,
    2**32,
    10**9,
    1e300,
    -0.5,
    float("nan"),
]
TROUBLE += [float("inf"), "", "x", "../x", "/etc/passwd", "a\nb", [], [1], ["a", "a"], {}, {"a": 1}, "é" * 300]
_NUMBERS = (-1, 0, 1, 2, 3, 7, 31, 33, 255, 4096, 65_536, 2**24, 2**30, 2**31 - 1, -(2**31))


def prepare() -> dict[str, bytes]:
    """The files of the bundle by name."""
    return {path.relative_to(BUNDLE).as_posix(): path.read_bytes() for path in BUNDLE.rglob("*") if path.is_file()}


def try_case(shared: object, random_: random.Random) -> str:
    """Opens one altered bundle or file and judges an image with it, as edge-infer does."""
    files: dict[str, bytes] = shared  # type: ignore[assignment]
    kind = random_.random()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "bundle")
        if kind < 0.25:
            source = _write(place, _with_manifest(files, random_))
        elif kind < 0.4:
            source = _alone(place, files, random_, _altered_record)
        elif kind < 0.7:
            source = _alone(place, files, random_, _altered_model)
        else:
            source = _write(place, _with_model(files, random_))
        engine = random_.choice(["auto", "litert", "onnxruntime"]) if source.is_dir() else "auto"
        try:
            probability = Predictor(source, engine, 1).probability(np.full((32, 32), 90, np.uint8))
        except EdgeError as error:
            if error.exit_code not in (1, 3) or "\n" in str(error) or not str(error):
                raise AssertionError(f"exit code {error.exit_code}: {error!r}") from error
            return "refused after a crash of the probe" if "crashes on it" in str(error) else "refused"
        if not 0 <= probability <= 1:
            raise AssertionError(f"probability {probability}")
        return "loaded"


def _write(place: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def _with_manifest(files: dict[str, bytes], random_: random.Random) -> dict[str, bytes]:
    text = files["manifest.json"]
    if random_.random() < 0.3:
        return files | {"manifest.json": _damaged(text, random_)}
    manifest = json.loads(text)
    for _ in range(random_.choice([1, 1, 2])):
        _alter_json(manifest, random_)
    text = json.dumps(manifest).encode()
    if random_.random() < 0.1:
        text = text.replace(b"{", b'{"format": 1, "format": 1, ', 1)
    return files | {"manifest.json": text}


def _alter_json(value: Any, random_: random.Random) -> None:
    """Sets, removes or renames one entry somewhere inside, mostly near the top."""
    while isinstance(value, dict | list) and value:
        key = random_.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if isinstance(value[key], dict | list) and value[key] and random_.random() < 0.7:
            value = value[key]
            continue
        what = random_.random()
        if what < 0.7:
            value[key] = copy.deepcopy(random_.choice(TROUBLE))
        elif what < 0.85 and isinstance(value, dict):
            value[random_.choice(["../x", "/x", "x", "model_int8.onnx"])] = value.pop(key)
        else:
            del value[key]
        return


def _alone(place: Path, files: dict[str, bytes], random_: random.Random, alter: Callable[..., bytes]) -> Path:
    name = random_.choice([name for name in files if name.startswith("model_")])
    place.mkdir()
    (place / name).write_bytes(alter(name, files[name], random_))
    return place / name


def _with_model(files: dict[str, bytes], random_: random.Random) -> dict[str, bytes]:
    name = random_.choice([name for name in files if name.startswith("model_")])
    content = _altered_model(name, files[name], random_)
    changed = files | {name: content}
    if random_.random() < 0.7:
        manifest = json.loads(files["manifest.json"])
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        changed["manifest.json"] = json.dumps(manifest).encode()
    return changed


def _altered_record(name: str, content: bytes, random_: random.Random) -> bytes:
    """A file whose embedded record says something else of the same model."""
    embedded = read_embedded_spec(BUNDLE / name)
    record = {
        "spec": embedded.spec.to_dict(),
        "model_sha256": embedded.model_sha256,
        "model_bytes": embedded.model_bytes,
    }
    _alter_json(record, random_)
    text, suffix = json.dumps(record).encode(), Path(name).suffix
    return content[: embedded.model_bytes] + _tail(text, embedded.model_bytes, suffix)


def _altered_model(name: str, content: bytes, random_: random.Random) -> bytes:
    """A file whose model was altered, its hash made anew in half of the cases."""
    embedded, suffix = read_embedded_spec(BUNDLE / name), Path(name).suffix
    model = content[: embedded.model_bytes]
    if random_.random() < 0.4:
        model = _damaged(model, random_)
    else:
        model = _crafted_tflite(model, random_) if suffix == ".tflite" else _crafted_onnx(model, random_)
    if random_.random() < 0.5 or not model:
        return model + content[embedded.model_bytes :]
    record = {
        "spec": embedded.spec.to_dict(),
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "model_bytes": len(model),
    }
    return model + _tail(json.dumps(record).encode(), len(model), suffix)


def _damaged(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random_.choice([1, 1, 4, 30])):
        at = random_.randrange(len(changed))
        if random_.random() < 0.5:
            changed[at] ^= 1 << random_.randrange(8)
        else:
            at -= at % 4
            changed[at : at + 4] = random_.choice(_NUMBERS).to_bytes(4, "little", signed=True)
    if random_.random() < 0.1:
        del changed[random_.randrange(len(changed)) :]
    return bytes(changed)


def _crafted_tflite(model: bytes, random_: random.Random) -> bytes:
    """Tables unpacked by the schema, one to three fields altered, and packed again."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = tree.subgraphs[0]
    for _ in range(random_.choice([1, 1, 2, 3])):
        table = random_.choice([*graph.tensors, *graph.operators, *tree.operatorCodes, *tree.buffers, graph])
        names = [key for key, value in vars(table).items() if isinstance(value, int | float) or _is_numbers(value)]
        options = getattr(table, "builtinOptions", None)
        if options is not None and random_.random() < 0.5 and vars(options):
            table, names = options, list(vars(options))
        quantization = getattr(table, "quantization", None)
        if quantization is not None and random_.random() < 0.3:
            table, names = quantization, ["scale", "zeroPoint", "quantizedDimension"]
        if names:
            _alter_field(table, random_.choice(names), random_)
    builder = flatbuffers.Builder(len(model) + 1024)
    try:
        builder.Finish(tree.Pack(builder), b"TFL3")
    except Exception:  # what cannot be packed is no file
        return _damaged(model, random_)
    return bytes(builder.Output())


def _is_numbers(value: object) -> bool:
    return isinstance(value, np.ndarray | list) and len(value) > 0


def _alter_field(table: Any, name: str, random_: random.Random) -> None:
    value = getattr(table, name)
    if _is_numbers(value):
        changed = list(value)
        what = random_.random()
        if what < 0.6:
            limit = np.iinfo(value.dtype) if isinstance(value, np.ndarray) and value.dtype.kind in "iu" else None
            number = random_.choice(_NUMBERS)
            changed[random_.randrange(len(changed))] = (
                number if limit is None else max(limit.min, min(limit.max, number))
            )
        elif what < 0.8:
            changed = changed[: random_.randrange(len(changed))]
        else:
            changed = changed + changed
        setattr(table, name, np.array(changed, value.dtype) if isinstance(value, np.ndarray) else changed)
    elif isinstance(value, bool):
        setattr(table, name, not value)
    elif isinstance(value, int | float):
        setattr(table, name, random_.choice([number for number in _NUMBERS if abs(number) < 2**30]) % 128)


def _crafted_onnx(model: bytes, random_: random.Random) -> bytes:
    """Messages parsed, one to three fields altered, and written again."""
    import onnx

    tree = onnx.load_from_string(model)
    graph = tree.graph
    for _ in range(random_.choice([1, 1, 2, 3])):
        what = random_.random()
        if what < 0.3 and graph.initializer:
            _alter_tensor(random_.choice(graph.initializer), random_)
        elif what < 0.6:
            _alter_node(random_.choice(graph.node), graph, random_)
        elif what < 0.75:
            dims = random_.choice([*graph.input, *graph.output]).type.tensor_type.shape.dim
            if dims:
                random_.choice(dims).dim_value = random_.choice(_NUMBERS)
        elif what < 0.85:
            graph.node.insert(random_.randrange(len(graph.node)), copy.deepcopy(random_.choice(graph.node)))
        elif what < 0.95 and len(graph.node) > 1:
            del graph.node[random_.randrange(len(graph.node))]
        elif tree.opset_import:
            tree.opset_import[0].version = random_.choice(_NUMBERS)
    return bytes(tree.SerializeToString())


def _alter_tensor(tensor: Any, random_: random.Random) -> None:
    what = random_.random()
    if what < 0.4 and tensor.dims:
        tensor.dims[random_.randrange(len(tensor.dims))] = random_.choice(_NUMBERS)
    elif what < 0.6:
        tensor.data_type = random_.randrange(24)
    elif what < 0.8:
        tensor.raw_data = tensor.raw_data[: random_.randrange(len(tensor.raw_data) + 1)]
    else:
        tensor.data_location = 1
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", random_.choice(["../x", "/etc/passwd", "weights.bin"])


def _alter_node(node: Any, graph: Any, random_: random.Random) -> None:
    what = random_.random()
    if what < 0.3:
        node.op_type = random_.choice(["Loop", "If", "Resize", "Tile", "Expand", "Conv", "Gemm", "Nothing", ""])
    elif what < 0.5 and node.input:
        node.input[random_.randrange(len(node.input))] = random_.choice(["", "x", random_.choice(graph.node).output[0]])
    elif node.attribute:
        attribute = random_.choice(node.attribute)
        if attribute.ints:
            attribute.ints[random_.randrange(len(attribute.ints))] = random_.choice(_NUMBERS)
        else:
            attribute.i = random_.choice(_NUMBERS)
            attribute.type = random_.choice([1, 2, 3, 7])


if __name__ == "__main__":
    workers.main("tests.edge_runtime.fuzzing.models", __doc__)
