"""What Keras and converters raise, as one error of ours: they raise anything, and write pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from edge_runtime.errors import EdgeError, ModelError
from edge_runtime.terminal_text import one_line

_LONGEST_REASON = 300  # letters
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # Keras writes causes in bold
_WHERE = "Exception encountered when calling"  # of Keras; the cause stands below it


@contextmanager
def told_as_model_error(says: str) -> Iterator[None]:
    """Turns whatever a library raises inside into a ModelError of one line.

    Args:
        says: what could not be done.

    Raises:
        ModelError: a library raised something.
    """
    try:
        yield
    except (EdgeError, OSError, MemoryError):
        raise
    except Exception as error:  # ConverterError, RuntimeError, ValueError, KeyError, of TensorFlow, Keras, ONNX
        raise ModelError(f"{says}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """The line of an error that tells what is wrong, at most 300 letters."""
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    causes = [line for line in lines if not line.startswith(_WHERE)]
    telling = next((line for line in lines if "error:" in line), (causes or lines or [""])[0])
    reason = one_line(telling.rpartition("error:")[2])[:_LONGEST_REASON]
    return reason if " " in reason else f"{type(error).__name__} {reason}".strip()  # a key that was not found, say
