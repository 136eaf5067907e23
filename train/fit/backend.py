"""TensorFlow, set up before its first import: quiet, repeatable, and with freed memory kept."""

from __future__ import annotations

import os

from edge_runtime.quiet import quiet_native_stderr
from train.fit.allocator import keep_freed_memory


def prepare_backend(seed: int) -> None:
    """Imports TensorFlow and Keras so that a seed repeats a run to the bit on the same machine.

    Args:
        seed: of Python, numpy and the backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keep_freed_memory()
    with quiet_native_stderr():  # TensorFlow reports the processor's features at every import
        import keras
        import tensorflow  # noqa: F401

    keras.utils.set_random_seed(seed)
