"""From stored values to grey: one table of all values that a pixel can have, sent through pydicom's own pipeline.

A table of 65,536 entries in place of an image of a hundred million keeps the steps exact and the memory small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PIECE = 1 << 20  # pixels
WINDOW, LUT, BITS_STORED = "DICOM window", "DICOM VOI LUT", "DICOM BitsStored"


@dataclass(frozen=True)
class GreyTable:
    """What each stored value looks like."""

    grey_u8: NDArray[np.uint8]  # (number of values,)
    lowest: int  # the stored value of the first entry
    source: str  # what decided the range: WINDOW, LUT or BITS_STORED

    def apply(self, stored: NDArray[np.integer]) -> NDArray[np.uint8]:
        """uint8 of the shape of the stored values."""
        # An offset in the table, not in the values, which would need as much memory again.
        rolled = np.roll(self.grey_u8, self.lowest) if self.lowest < 0 else self.grey_u8
        unsigned = stored.view(stored.dtype.str.replace("i", "u")) if self.lowest < 0 else stored
        grey_u8 = np.empty(stored.shape, np.uint8)
        rows = max(1, _PIECE // max(1, stored.shape[1]))
        for top in range(0, stored.shape[0], rows):  # numpy widens indices to 8 bytes each: by pieces, not all at once
            grey_u8[top : top + rows] = rolled[unsigned[top : top + rows]]
        return grey_u8


def make_grey_table(ds: Dataset) -> GreyTable:
    """The table of an image: modality LUT or rescale, VOI LUT or first window, inversion, padding (PS3.4, annex N).

    Args:
        ds: one with `MONOCHROME1` or `MONOCHROME2`, whose pixels have 8 or 16 bits allocated.

    Raises:
        ValueError, TypeError, LookupError: what the data elements say makes no table.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        for item in (ds.get(sequence) or ())[:1]:
            if len(item.LUTData) < (int(item.LUTDescriptor[0]) or 1 << 16):  # 0 stands for 65,536 (C.11.1.1)
                raise ValueError
    bits = int(ds.BitsAllocated)
    lowest = -(1 << (bits - 1)) if int(ds.PixelRepresentation) else 0
    stored = np.arange(lowest, lowest + (1 << bits), dtype=f"{'i' if lowest else 'u'}{bits // 8}")
    values = apply_voi_lut(apply_modality_lut(stored, ds), ds, index=0, prefer_lut=True).astype(np.float64)
    low, high, source = _output_range(ds)
    if not (np.isfinite([low, high]).all() and low != high):
        raise ValueError
    grey = np.clip((values - low) / (high - low), 0.0, 1.0)
    if is_inverted(ds):
        grey = 1.0 - grey
    grey_u8 = np.rint(grey * 255.0).astype(np.uint8)
    _blacken_padding(grey_u8, stored, ds)
    return GreyTable(grey_u8, lowest, source)


def is_inverted(ds: Dataset) -> bool:
    """Whether the lowest value is white.

    A digital X-ray says so twice, as MONOCHROME1 and as the INVERSE presentation shape (PS3.3, C.8.11.3.1.2): once.
    """
    return bool(ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE")


def _output_range(ds: Dataset) -> tuple[float, float, str]:
    """Lowest and highest value after the pipeline, and what decided them."""
    if ds.get("VOILUTSequence"):
        return 0.0, float(2 ** int(ds.VOILUTSequence[0].LUTDescriptor[2]) - 1), LUT
    source = WINDOW if "WindowWidth" in ds and "WindowCenter" in ds else BITS_STORED
    if ds.get("ModalityLUTSequence"):
        return 0.0, float(2 ** int(ds.ModalityLUTSequence[0].LUTDescriptor[2]) - 1), source
    low, high = 0.0, float(2 ** int(ds.BitsStored) - 1)
    if int(ds.PixelRepresentation):
        half = 2.0 ** (int(ds.BitsStored) - 1)
        low, high = -half, half - 1
    if ds.get("RescaleSlope") is not None and ds.get("RescaleIntercept") is not None:
        slope, intercept = float(ds.RescaleSlope), float(ds.RescaleIntercept)
        low, high = low * slope + intercept, high * slope + intercept
    return low, high, source


def _blacken_padding(grey_u8: NDArray[np.uint8], stored: NDArray[np.integer], ds: Dataset) -> None:
    """Pixels that stand for nothing are black, as everything around a radiograph is (PS3.3, C.7.5.1.1.2)."""
    padding = ds.get("PixelPaddingValue")
    if padding is None:
        return
    first, last = sorted((int(padding), int(ds.get("PixelPaddingRangeLimit", padding))))
    grey_u8[(stored >= first) & (stored <= last)] = 0
