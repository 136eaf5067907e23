"""Pictures of where the network looked, each under a name of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import DataError
from edge_runtime.heatmap import draw_overlay, from_dict
from edge_runtime.images import read_image
from edge_runtime.whole_files import whole_file

if TYPE_CHECKING:
    from edge_runtime.predictor import Prediction, Predictor


class HeatmapFiles:
    """Where pictures go.

    Raises:
        DataError: the target is a folder for one image, or a file for several.

    Args:
        target: a file for one image, a folder for several.
        count: of images.
        predictor: whose limits hold for reading the image at its own size.
        frame: of DICOM files.
    """

    def __init__(self, target: Path, count: int, predictor: Predictor, frame: int | None) -> None:
        self._target, self._many = target, count > 1
        self._predictor, self._frame, self._taken = predictor, frame, Counter[str]()
        if self._many:
            if target.is_file():
                raise DataError(f"--heatmap {target}: a folder was expected, for there are {count} images")
            target.mkdir(parents=True, exist_ok=True)
        elif target.suffix.lower() != ".png" or target.is_dir():
            raise DataError(f"--heatmap {target}: the name of a .png file was expected")

    def write(self, source: Path | bytes, prediction: Prediction) -> None:
        """Writes the picture of one image."""
        if prediction.heatmap is None:
            return
        limits = self._predictor.limits
        grey_u8 = read_image(source, limits.side, self._frame, False, limits).grey_u8  # at its own size
        picture = draw_overlay(grey_u8, from_dict(prediction.heatmap))
        with whole_file(self._place(source)) as draft:
            picture.save(draft, "png")

    def _place(self, source: Path | bytes) -> Path:
        if not self._many:
            return self._target
        stem = "image" if isinstance(source, bytes) else source.name
        self._taken[stem] += 1  # files of one name lie in different folders
        number = "" if self._taken[stem] == 1 else f".{self._taken[stem]}"
        return self._target / f"{stem}{number}.heatmap.png"
