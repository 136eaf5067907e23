"""What the routes of the page and the DICOM node work with."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.serving.bodies import Limits
from edge_runtime.serving.drift import Drift
from edge_runtime.serving.judging import Judging
from edge_runtime.serving.kept import Kept
from edge_runtime.serving.metrics import Metrics
from edge_runtime.serving.store import Store


@dataclass(frozen=True)
class Parts:
    """The parts of one server."""

    judging: Judging
    store: Store
    metrics: Metrics
    drift: Drift
    limits: Limits
    show_identifiers: bool  # whether names and times are kept and shown
    kept: Kept | None = None  # images that were answered; None: none is kept
