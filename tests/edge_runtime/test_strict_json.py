"""JSON as the tools write it: what Python's reader lets through is refused."""

from __future__ import annotations

import pytest

from edge_runtime.strict_json import is_count, is_sha256, loads_strict


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
        (b"\xff\xfe\x00", "decode"),
        ("1" * 5000, "digits"),
    ],
)
def test_what_is_no_plain_json_is_a_value_error(text, says):
    with pytest.raises(ValueError, match=says):
        loads_strict(text)


def test_the_rest_is_read():
    assert loads_strict('{"a": [1, 2.5, null, true, "\\u00f6"]}') == {"a": [1, 2.5, None, True, "ö"]}


def test_counts_and_digests():
    assert [is_count(value) for value in (0, 7, -1, True, 1.0, "1")] == [True, True, False, False, False, False]
    digest = "0123456789abcdef" * 4
    assert [is_sha256(value) for value in (digest, digest.upper(), digest[1:], 5)] == [True, False, False, False]
