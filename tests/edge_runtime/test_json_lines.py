"""Lines that any reader of JSON reads, whatever a number or a name is."""

from __future__ import annotations

import json

import pytest

from edge_runtime.json_lines import encode_line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_does_not_have_are_null(value):
    line = encode_line({"a": value, "b": {"c": [value, 1.5]}, "d": (value,)})
    assert json.loads(line, parse_constant=pytest.fail) == {"a": None, "b": {"c": [None, 1.5]}, "d": [None]}


def test_names_that_are_no_text_come_back():
    assert json.loads(encode_line({"path": "R\udcf6ntgen.jpg"}))["path"] == "R\udcf6ntgen.jpg"
