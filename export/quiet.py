"""Keep converters quiet: TensorFlow and its libraries write to standard error past Python, from C++.

What they wrote is shown after all when an export ends with an error that nobody foresaw.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import TextIO

from edge_runtime.errors import EdgeError

_STANDARD_ERROR = 2  # file descriptor
_CHATTY_LOGGERS = ("tensorflow", "tf2onnx", "absl", "root")


@contextlib.contextmanager
def quiet_converters() -> Iterator[TextIO]:
    """The real standard error, while everything else that writes there is kept back."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stderr.flush()
    with tempfile.TemporaryFile() as noise, os.fdopen(os.dup(_STANDARD_ERROR), "w") as terminal:
        os.dup2(noise.fileno(), _STANDARD_ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield terminal
        except (EdgeError, KeyboardInterrupt):
            raise
        except BaseException:
            noise.seek(0)
            terminal.write(noise.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            terminal.flush()
            os.dup2(terminal.fileno(), _STANDARD_ERROR)
