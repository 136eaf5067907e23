"""The spec inside a model file: it is found again, and every altered byte is noticed."""

from __future__ import annotations

import hashlib
import random
import shutil

import pytest

from edge_runtime.embedded_spec import embed, read_embedded_spec
from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec, Tensor

FLIPS = 200  # positions tried of the model's bytes

MODEL_FILES = ["model_float32.tflite", "model_int8.tflite", "model_float32.onnx", "model_int8.onnx"]


@pytest.fixture(params=MODEL_FILES)
def model_file(request, bundle_copy):
    """Each real model file in turn, free to be altered."""
    return bundle_copy / request.param


def model_alone(path) -> bytes:
    return path.read_bytes()[: read_embedded_spec(path).model_bytes]


def test_a_model_file_tells_its_spec_and_the_digest_of_the_model_without_it(model_file):
    embedded = read_embedded_spec(model_file)
    assert embedded.spec.size == 32
    assert [tensor.name for tensor in embedded.spec.tensors] == ["grey", "probability"]
    assert embedded.model_sha256 == hashlib.sha256(model_alone(model_file)).hexdigest()


def test_embedding_again_gives_the_same_bytes(model_file):
    spec = read_embedded_spec(model_file).spec
    assert embed(model_alone(model_file), spec, model_file.suffix) == model_file.read_bytes()


@pytest.mark.parametrize("length", [1, 127, 128, 20_000])
@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_any_length_of_model_and_any_script_survive(tmp_path, suffix, length):
    tensors = (Tensor("grey", "int8", 1 / 255, -128), Tensor("probability", "float32"))
    spec = ModelSpec("сеть", 96, "stretch", "box", ("正常", "骨折" * 100), 0.123456789, "radiograph", tensors)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(embed(random.Random(length).randbytes(length), spec, suffix))
    assert read_embedded_spec(path).spec == spec
    assert read_embedded_spec(path).model_bytes == length


@pytest.mark.parametrize("name", ["model_float32.onnx", "model_int8.onnx"])
def test_onnx_still_reads_the_file_and_sees_the_spec_as_metadata(tiny_bundle, name):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny_bundle / name)
    onnx.checker.check_model(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    embedded = read_embedded_spec(tiny_bundle / name)
    assert embedded.model_sha256 in metadata["edge.json"]
    alone = onnx.load_from_string(model_alone(tiny_bundle / name))
    assert model.graph == alone.graph
    assert set(metadata) - {entry.key for entry in alone.metadata_props} == {
        "edge.json",
        "edge.json_sha256",
        "edge.model_bytes",
    }


def test_a_flipped_bit_of_the_model_is_noticed(model_file):
    whole, random_ = model_file.read_bytes(), random.Random(1)
    for position in random_.sample(range(read_embedded_spec(model_file).model_bytes), FLIPS):
        model_file.write_bytes(flipped(whole, position, random_.randrange(8)))
        with pytest.raises(ModelError, match=r"SHA-256|readable spec"):
            read_embedded_spec(model_file)


def test_a_flipped_bit_behind_the_model_is_noticed_or_changes_nothing(model_file):
    whole, embedded = model_file.read_bytes(), read_embedded_spec(model_file)
    noticed = 0
    for position in range(embedded.model_bytes, len(whole)):
        model_file.write_bytes(flipped(whole, position, position % 8))
        try:
            # A ZIP has fields without meaning here, such as the date.
            assert read_embedded_spec(model_file) == embedded
        except ModelError:
            noticed += 1
    fields_without_meaning = 0.2 if model_file.suffix == ".tflite" else 0.0
    assert noticed >= (1 - fields_without_meaning) * (len(whole) - embedded.model_bytes)


def test_many_altered_bytes_behind_the_model_never_raise_anything_else(model_file):
    whole, embedded, random_ = model_file.read_bytes(), read_embedded_spec(model_file), random.Random(2)
    for _ in range(FLIPS):
        altered = bytearray(whole)
        for _ in range(random_.choice([2, 8, 32])):
            altered[random_.randrange(embedded.model_bytes, len(whole))] = random_.randrange(256)
        model_file.write_bytes(altered)
        try:
            assert read_embedded_spec(model_file) == embedded
        except ModelError:
            continue


def test_a_truncated_copy_is_noticed(model_file):
    whole = model_file.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 100), len(whole) - 1]:
        model_file.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="copied whole"):
            read_embedded_spec(model_file)


def test_a_file_that_is_verified_otherwise_is_not_hashed_again(model_file):
    whole = model_file.read_bytes()
    expected = read_embedded_spec(model_file)
    model_file.write_bytes(flipped(whole, 0, 0))
    assert read_embedded_spec(model_file, verify=False) == expected


def test_a_model_of_another_converter_carries_no_spec(model_file):
    model_file.write_bytes(model_alone(model_file))
    with pytest.raises(ModelError, match="written by edge-export"):
        read_embedded_spec(model_file)


def test_a_spec_of_another_model_is_noticed(bundle_copy):
    one, other = bundle_copy / "model_float32.onnx", bundle_copy / "model_int8.onnx"
    tail = one.read_bytes()[read_embedded_spec(one).model_bytes :]
    shutil.copy(other, one)
    one.write_bytes(model_alone(other) + tail)
    with pytest.raises(ModelError):
        read_embedded_spec(one)


def flipped(content: bytes, position: int, bit: int) -> bytes:
    altered = bytearray(content)
    altered[position] ^= 1 << bit
    return bytes(altered)
