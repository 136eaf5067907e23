"""What converters raise, as one error of ours: they raise anything, and write pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge_runtime.errors import EdgeError, ModelError
from edge_runtime.terminal_text import one_line

_LONGEST_REASON = 300  # letters


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
        raise ModelError(f"{says}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The line that tells what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    telling = next((line for line in lines if "error:" in line), lines[0])
    return one_line(telling.rpartition("error:")[2])[:_LONGEST_REASON]
