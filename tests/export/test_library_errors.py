"""Whatever a library raises is one line of ours."""

from __future__ import annotations

import pytest

from edge_runtime.errors import GateError, ModelError
from export.library_errors import told_as_model_error

PAGES = (
    "<unknown>:0\n" + "loc(callsite)\n" * 50 + "x.py:3: error: 'tf.Cumsum' op is neither a custom op\n" + "more\n" * 90
)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError(PAGES), "cannot be made: 'tf.Cumsum' op is neither a custom op"),
        (KeyError("node_7"), "cannot be made: KeyError 'node_7'"),
        (ValueError("long " * 500), "cannot be made: long long"),
        (AssertionError(), "cannot be made: AssertionError"),
        (
            ValueError("Exception encountered when calling F.call().\n\n\x1b[1mNo such axis\x1b[0m\n"),
            "cannot be made: No such",
        ),
    ],
)
def test_an_error_of_a_library_is_one_short_line(error, says):
    with pytest.raises(ModelError) as refused, told_as_model_error("cannot be made"):
        raise error
    text = str(refused.value)
    assert text.startswith(says) and "\n" not in text and len(text) < 350 and refused.value.__cause__ is error


@pytest.mark.parametrize("error", [GateError("ours"), OSError(28, "full"), KeyboardInterrupt()])
def test_our_own_errors_a_full_disk_and_an_interruption_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, told_as_model_error("cannot be made"):
        raise error
    assert raised.value is error
