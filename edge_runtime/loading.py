"""The shortest way to a ready Predictor: the model is compared with its SHA-256 while numpy and Pillow are imported.

Hashing 24 MB takes 20 ms on a desktop and 100 on a Raspberry Pi 4, and keeps no lock of Python's meanwhile.
"""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.bundle import ModelFile, model_path, open_model
from edge_runtime.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from edge_runtime.predictor import Predictor


def load_predictor(
    model: Path | str | None,
    engine: str,
    threads: int | None,
    radiograph_gate: bool = True,
    limits: Limits = DEFAULT_LIMITS,
    operating_point: str | None = None,
) -> Predictor:
    """As `Predictor` of the same arguments, earlier. For commands: it changes how Python collects garbage.

    Raises:
        ModelError, DependencyError: as `Predictor`.
    """
    # Imports make objects by the hundred thousand and no garbage; searching them for some delays the first answer.
    gc.disable()
    try:
        opening = _Opening(model, engine)
        from edge_runtime.predictor import Predictor

        return Predictor(opening.verified(), engine, threads, radiograph_gate, limits, operating_point)
    finally:
        gc.freeze()
        gc.enable()


class _Opening(threading.Thread):
    """A model being opened and verified."""

    def __init__(self, model: Path | str | None, engine: str) -> None:
        super().__init__(daemon=True)
        self._source, self._engine = model_path(model), engine
        self._opened: ModelFile | None = None
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._opened = open_model(self._source, self._engine)
        except Exception as error:  # raised again where it can be dealt with
            self._error = error

    def verified(self) -> ModelFile:
        """The model, once every byte of it was compared."""
        self.join()
        if self._opened is None:
            raise self._error or RuntimeError("the thread that opens the model has ended early")
        return self._opened
