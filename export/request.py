"""What a user asks of one export, in one record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DataError
from edge_runtime.model_formats import FORMATS as MODEL_FORMATS
from export.limits import Limits

FORMATS = {suffix.removeprefix("."): suffix for suffix in MODEL_FORMATS}  # name in `--formats` -> suffix of files
AUTO = "auto"  # in place of a recipe: the cheapest that does
RANGES = ("0..1", "0..255", "-1..1")  # values that a network made elsewhere may take


@dataclass(frozen=True)
class ExportRequest:
    """What a user asks of one export."""

    source: Path  # run folder, `.keras` or `.h5` file, or SavedModel
    out: Path  # bundle to write
    name: str | None = None  # of the network; None: as its spec says
    int8: bool = False  # make the int8 files too
    spec: Path | None = None  # of a `.keras` file
    calibration: Path | None = None  # folder of calibration images; None takes the run's own
    data: Path | None = None  # folder of the radiographs, where they have moved
    allow_mixed: bool = False  # leave in float what a format cannot hold in int8
    formats: tuple[str, ...] = tuple(FORMATS)  # names of FORMATS
    recipe: str = AUTO  # or one of export.quantize.recipes.NAMES
    budget_minutes: float | None = None  # of wall time for fine-tuning; None: `auto` does not try it
    evaluate: Path | None = None  # folder of images that judge; None takes the test split of a run
    limits: Limits = Limits()  # of the gate
    force: bool = False  # write a bundle that fails the gate, marked so
    calibrate_with_phantoms: bool = False  # although the network was trained on radiographs
    labels: tuple[str, ...] = ()  # class names of a network made elsewhere, in its own order
    positive: str | None = None  # which of them is the positive one; None: the last of two
    threshold: float | None = None  # of its decision; None: 0.5
    aspect: str | None = None  # of edge_runtime.spec.ASPECTS; None: `stretch`, as the loaders of Keras do
    size: int | None = None  # of its square image, pixels, where it takes any
    input_range: str | None = None  # values that it takes, `0..1`, `0..255` or `-1..1`; None: read from the network

    def refuse_ignored(self, is_run: bool) -> None:
        """Refuses options that would change nothing.

        Args:
            is_run: the source is a run folder.

        Raises:
            DataError: one of those that are set.
        """
        of_int8 = {
            "--calibration": self.calibration is not None,
            "--recipe": self.recipe != AUTO,
            "--budget-minutes": self.budget_minutes is not None,
            "--calibrate-with-phantoms": self.calibrate_with_phantoms,
            "--allow-mixed": self.allow_mixed,
        }
        of_other_networks = {
            "--labels": bool(self.labels),
            "--positive": self.positive is not None,
            "--threshold": self.threshold is not None,
            "--aspect": self.aspect is not None,
            "--size": self.size is not None,
            "--input-range": self.input_range is not None,
        }
        for options, needless, why in (
            (of_int8, not self.int8, "is for int8 files: add --int8"),
            (of_other_networks, is_run, "a run folder says that itself"),
        ):
            for name, is_set in options.items():
                if needless and is_set:
                    raise DataError(f"{name}: {why}")
