"""What is done to images to see on what an answer rests.

They are turned, moved, compressed, made coarser, left with their border alone, or their marks are hidden. Changes are
made to the decoded image, before the network's own way of resizing it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Grey = NDArray[np.uint8]  # (H, W)

ROTATION, SHIFT, JPEG, RESOLUTION, BORDER, MARKERS = (
    *("rotation", "shift", "JPEG quality", "resolution"),
    *("border alone", "marks hidden"),
)
ANGLES = (-90, -45, -30, -20, -10, -5, 5, 10, 20, 30, 45, 90, 180)  # degrees, counter-clockwise
SHIFTS = (0.05, 0.10, 0.20)  # of both sides, to the right and down
QUALITIES = (75, 40, 15)
FACTORS = (2, 4, 8)  # by which both sides shrink
FRAME = 0.10  # of each side, that border alone keeps
_BRIGHT = 0.92  # of the image's 99.9th percentile: as bright as letters and metal
_MARK_SIDE, _MARK_AREA = 0.15, 0.015  # a mark is no longer, and no larger, as shares of the image
_MARK_LEAST = 2e-5  # share of the image: smaller spots are noise
_DARKER = 0.75  # of a mark's grey, that its surroundings stay below
_ROOM = 2  # pixels round a mark that are hidden too


@dataclass(frozen=True)
class Change:
    """One way to change an image."""

    test: str  # what it looks at, one of the names above
    setting: str  # how much: `15°`
    apply: Callable[[Grey], Grey]


def rotations() -> list[Change]:
    """Turned by each angle, the corners black, nothing cut off."""
    return [Change(ROTATION, f"{angle}°", partial(_turned, angle=angle)) for angle in ANGLES]


def shortcut_changes() -> list[Change]:
    """What should change no answer but where a network leans on what it should not."""
    return [
        *(Change(SHIFT, f"{share:.0%}", partial(_moved, share=share)) for share in SHIFTS),
        *(Change(JPEG, str(quality), partial(_compressed, quality=quality)) for quality in QUALITIES),
        *(Change(RESOLUTION, f"1/{factor}", partial(_coarser, factor=factor)) for factor in FACTORS),
        Change(MARKERS, "bright spots painted over", _without_marks),
        Change(BORDER, f"outer {FRAME:.0%} of each side", _border_alone),
    ]


def _turned(grey_u8: Grey, angle: float) -> Grey:
    turned = Image.fromarray(grey_u8).rotate(angle, Image.Resampling.BILINEAR, expand=True, fillcolor=0)
    return np.asarray(turned)


def _moved(grey_u8: Grey, share: float) -> Grey:
    height, width = grey_u8.shape
    down, right = round(share * height), round(share * width)
    moved = np.zeros_like(grey_u8)
    moved[down:, right:] = grey_u8[: height - down, : width - right]
    return moved


def _compressed(grey_u8: Grey, quality: int) -> Grey:
    from edge_runtime.images import read_grey

    stream = io.BytesIO()
    Image.fromarray(grey_u8).save(stream, "JPEG", quality=quality)
    return read_grey(stream.getvalue())


def _coarser(grey_u8: Grey, factor: int) -> Grey:
    """Means over squares of pixels."""
    return np.asarray(Image.fromarray(grey_u8).reduce(factor))


def _border_alone(grey_u8: Grey) -> Grey:
    height, width = grey_u8.shape
    down, right = max(1, round(FRAME * height)), max(1, round(FRAME * width))
    alone = grey_u8.copy()
    alone[down : height - down, right : width - right] = 0
    return alone


def _without_marks(grey_u8: Grey) -> Grey:
    """Bright, small spots with a sharp rim painted over with the median of what lies round them: letters, metal too."""
    bright = grey_u8 >= max(1.0, _BRIGHT * float(np.percentile(grey_u8, 99.9)))
    # Letters of one mark lie close to each other, and are one spot for that.
    spots, _ = ndimage.label(ndimage.binary_dilation(bright, iterations=_ROOM))
    hidden = grey_u8.copy()
    height, width = grey_u8.shape
    for number, (rows, columns) in enumerate(ndimage.find_objects(spots), 1):
        inside = spots[rows, columns] == number
        share = float((inside & bright[rows, columns]).sum()) / grey_u8.size
        is_long = rows.stop - rows.start > _MARK_SIDE * height or columns.stop - columns.start > _MARK_SIDE * width
        if is_long or not _MARK_LEAST <= share <= _MARK_AREA:
            continue
        around = _around(rows, height), _around(columns, width)
        of_spot = spots[around] == number
        rim = grey_u8[around][ndimage.binary_dilation(of_spot, iterations=_ROOM) & ~of_spot]
        spot = float(np.median(grey_u8[around][of_spot & bright[around]]))
        if rim.size and float(np.percentile(rim, 75)) < _DARKER * spot:  # a bone's brightest place fades out
            hidden[rows, columns][inside] = np.median(grey_u8[around][~of_spot])
    return hidden


def _around(place: slice, side: int) -> slice:
    """The place with as much again on both sides, within the image."""
    more = max(2 * _ROOM, place.stop - place.start)
    return slice(max(0, place.start - more), min(side, place.stop + more))
