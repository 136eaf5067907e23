"""The record that travels with every network: nothing in it is guessed, nothing wrong gets in."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edge_runtime.errors import ModelError
from edge_runtime.spec import Coverage, ModelSpec, OperatingPoint, Tensor

TENSORS = (Tensor("grey", "int8", 1 / 255, -128), Tensor("probability", "int8", 1 / 256, -128))
SPEC = ModelSpec("cnn", 96, "pad", "bilinear", ("nicht gebrochen", "gebröchen"), 0.37, "radiograph")


POINTS = (
    OperatingPoint("balanced", 0.37, (0.88, 0.8, 0.93), (0.84, 0.8, 0.88)),
    OperatingPoint("sensitivity-0.90", 0.2, (0.91, 0.84, 0.95), (0.75, 0.7, 0.8)),
)
WITH_POINTS = replace(SPEC, operating_points=POINTS)


def test_an_operating_point_by_name_sets_the_threshold():
    assert WITH_POINTS.at_operating_point("sensitivity-0.90").threshold == 0.2
    with pytest.raises(ModelError, match="'fast': the network 'cnn' has balanced, sensitivity-0.90"):
        WITH_POINTS.at_operating_point("fast")
    with pytest.raises(ModelError, match="has none at all"):
        SPEC.at_operating_point("balanced")


def test_a_spec_without_operating_points_is_written_as_before():
    assert "operating_points" not in SPEC.to_dict()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threshold": 1.0}, "threshold lies between"),
        ({"threshold": "0.5"}, "threshold lies between"),
        ({"name": ""}, "has a name"),
        ({"sensitivity": [0.9, 0.95, 0.99]}, "sensitivity is a value and its interval"),
        ({"sensitivity": [0.9, 0.8]}, "sensitivity is a value and its interval"),
        ({"specificity": 0.9}, "specificity is a value and its interval"),
        ({"specificity": [0.9, True, 1.0]}, "specificity is a value and its interval"),
        ({"price": 1}, "unknown keys"),
        ({"name": "sensitivity-0.90"}, "each named once"),
    ],
)
def test_a_wrong_operating_point_is_refused(change, says):
    record = json.loads(WITH_POINTS.to_json())
    record["operating_points"][0] |= change
    with pytest.raises(ModelError, match=says):
        ModelSpec.from_dict(record)


@pytest.mark.parametrize(
    "spec", [SPEC, WITH_POINTS, SPEC.with_tensors(TENSORS), SPEC.with_tensors((Tensor("grey", "float32"),))]
)
def test_a_spec_survives_json(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert ModelSpec.from_json(spec.to_json().encode()) == spec
    assert ModelSpec.from_dict(spec.to_dict()) == spec


def test_json_keeps_names_readable():
    assert "gebröchen" in SPEC.to_json()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 7}, "field size: .* from 8 to 4096, .* such as 224"),
        ({"size": 5000}, "field size: .* from 8 to 4096, .* such as 224"),
        ({"size": 96.0}, "field size: .* from 8 to 4096, .* such as 224"),
        ({"size": "96"}, "field size: .* from 8 to 4096, .* such as 224"),
        ({"aspect": "crop"}, "field aspect: one of .* such as"),
        ({"resampling": "nearest"}, "field resampling: one of .*bilinear"),
        ({"domain": "cat"}, "field domain: one of"),
        ({"threshold": 0.0}, "field threshold: a number between 0 and 1 .* such as 0.5"),
        ({"threshold": 1}, "field threshold: a number between 0 and 1 .* such as 0.5"),
        ({"threshold": float("nan")}, "NaN is no number of JSON"),
        ({"threshold": True}, "field threshold: a number between 0 and 1 .* such as 0.5"),
        ({"threshold": "0.5"}, "field threshold: a number between 0 and 1 .* such as 0.5"),
        ({"threshold": None}, "field threshold: a number between 0 and 1 .* such as 0.5"),
        ({"labels": ["one"]}, "two different names"),
        ({"labels": ["same", "same"]}, "two different names"),
        ({"labels": ["a", "b", "c"]}, "two different names"),
        ({"labels": None}, "field labels: a list of two"),
        ({"labels": "ab"}, "field labels: a list of two"),
        ({"labels": {"a": 1, "b": 2}}, "field labels: a list of two"),
        ({"labels": ["a", "b" * 201]}, "at most 200 letters"),
        ({"labels": [1, 2]}, "two different names"),
        ({"name": 5}, "field name: a text .* such as .*, not 5"),
        ({"version": 2}, "spec version 2"),
        ({"version": True}, "spec version True"),
        ({"size": True}, "field size: .* from 8 to 4096, .* such as 224"),
        ({"size": 0}, "field size: .* from 8 to 4096, .* such as 224"),
        ({"size": 10**9}, "field size: .* from 8 to 4096, .* such as 224"),
        ({"colour": "grey"}, r"unknown keys \['colour'\]"),
        ({"tensors": [{"name": "grey", "dtype": "int4"}]}, "dtype is one of"),
        ({"tensors": [{"name": "grey", "dtype": "int8"}]}, "integers have a scale"),
        ({"tensors": [{"name": "grey", "dtype": "int8", "scale": 0.1}]}, "together or not at all"),
        ({"tensors": [{"name": "grey", "dtype": "float32", "scale": 0.1, "zero_point": 0}]}, "float32 has none"),
        ({"tensors": [{"name": "grey", "dtype": "int8", "scale": "wide", "zero_point": 0}]}, "scale is a number"),
        ({"tensors": [{"name": "grey", "dtype": "int8", "scale": -0.1, "zero_point": 0}]}, "scale is a number"),
        ({"tensors": [{"name": "grey", "dtype": "int8", "scale": 0.1, "zero_point": 0.5}]}, "zero_point is an integer"),
        ({"tensors": [{"name": "grey", "dtype": "float32", "unit": "mm"}]}, r"Tensor: unknown keys \['unit'\]"),
        ({"tensors": [5]}, "a JSON object was expected, not int"),
        ({"tensors": [{"name": "grey"}]}, "dtype"),
        ({"tensors": 5}, "tensors are a list"),
        ({"tensors": [{"name": 5, "dtype": "float32"}]}, "name is a text"),
        ({"tensors": [{"name": "grey", "dtype": "float32"}] * 2}, "each named once"),
        ({"tensors": [{"name": "grey", "dtype": "int8", "scale": True, "zero_point": 0}]}, "scale is a number"),
        (
            {"tensors": [{"name": "grey", "dtype": "int8", "scale": 0.1, "zero_point": 1000}]},
            "zero_point is an integer",
        ),
    ],
)
def test_what_does_not_fit_is_a_model_error_that_says_so(change, says):
    with pytest.raises(ModelError, match=says):
        ModelSpec.from_json(json.dumps(SPEC.to_dict() | change))


@pytest.mark.parametrize("key", ["name", "size", "aspect", "resampling", "labels", "threshold", "domain"])
def test_a_missing_key_is_named_with_an_example_that_would_do(key):
    record = SPEC.to_dict()
    del record[key]
    with pytest.raises(ModelError, match=f"field {key}: .* was expected, such as .*, and it is missing") as refused:
        ModelSpec.from_dict(record)
    example = str(refused.value).partition("such as ")[2].removesuffix(", and it is missing")
    assert ModelSpec.from_dict({**record, key: json.loads(example)})


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"spec"', b"\xff\xfe\x00", "[" * 100_000])
def test_what_is_no_json_object_is_a_model_error(text):
    with pytest.raises(ModelError):
        ModelSpec.from_json(text)


def test_a_network_before_export_has_no_input_to_ask_for():
    assert SPEC.with_tensors(TENSORS).input == TENSORS[0]
    with pytest.raises(ModelError, match="not yet exported"):
        _ = SPEC.input


@pytest.mark.parametrize("change", [{"version": "a\nb"}, {"name": "x\ny" * 200}, {"a\nb": 1}, {"size": "\x1b[31m"}])
def test_what_is_wrong_is_one_line_whatever_it_quotes(change):
    with pytest.raises(ModelError) as refused:
        ModelSpec.from_dict({**SPEC.to_dict(), **change})
    assert str(refused.value).isprintable()


def test_operating_points_are_named_in_one_line():
    point = OperatingPoint("two\nlines", 0.4, (0.9, 0.8, 0.95), (0.7, 0.6, 0.8))
    with pytest.raises(ModelError, match=r"two\\nlines"):
        replace(SPEC, operating_points=(point,)).at_operating_point("other")


COVERED = replace(SPEC, threshold=0.5, coverage=Coverage(0.95, 0.6, 0.4, (60, 75)))


def test_a_coverage_comes_back_and_a_spec_without_one_is_written_as_before():
    assert ModelSpec.from_json(COVERED.to_json()) == COVERED
    assert "coverage" not in SPEC.to_dict() and COVERED.shared == replace(SPEC, threshold=0.5)


def test_no_decision_where_more_than_the_decided_class_or_another_or_none_is_left_open():
    apart = replace(COVERED, coverage=Coverage(0.95, 0.3, 0.7, (60, 60)))
    assert [COVERED.doubt(p) for p in (0.39, 0.61)] == ["", ""]
    assert COVERED.doubt(0.4) == COVERED.doubt(0.6) == "at a coverage of 0.95 both classes are possible"
    assert apart.doubt(0.5) == "at a coverage of 0.95 neither class is possible"
    assert replace(apart, threshold=0.2).doubt(0.25) == (
        "at a coverage of 0.95 only the class that the threshold rules out is possible"
    )
    assert SPEC.doubt(0.5) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"level": 1.0}, "level lies between"),
        ({"most_negative": 1.1}, "most_negative is a probability"),
        ({"least_positive": None}, "least_positive is a probability"),
        ({"radiographs": [59, 60]}, "at least 60"),
        ({"radiographs": [60, 60.0]}, "at least 60"),
        ({"radiographs": 60}, "at least 60"),
        ({"alpha": 0.05}, "unknown keys"),
    ],
)
def test_a_wrong_coverage_is_refused(change, says):
    record = COVERED.to_dict()
    record["coverage"] |= change
    with pytest.raises(ModelError, match=says):
        ModelSpec.from_dict(record)
