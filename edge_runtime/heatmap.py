"""Where a network looked: its map over the radiograph, the strongest region, and a picture of both.

Networks with an output `heatmap` give a value from 0 to 1 for each cell of the square that they see. It shows what the
answer rests on; it is no outline of a fracture, and no diagnosis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edge_runtime.preprocess import placed_in_square
from edge_runtime.spec import ModelSpec

OUTPUT = "heatmap"  # name of the network's output
WORDS = "attention, not a diagnosis"

_SHARE_OF_MOST = 0.5  # a cell belongs to the strongest region from this share of the largest value on
_LEAST = 0.05  # a map whose largest value is smaller shows no region
_OPACITY = 0.65  # of the colour where the value is 1
# Purple over red to yellow, steadily lighter: told apart with any colour vision, and the strongest stands out of a dark
# radiograph (the upper half of the map `inferno` of matplotlib).
_COLOURS = np.array([(120, 28, 109), (188, 55, 84), (237, 105, 37), (251, 182, 26), (252, 255, 164)], np.float32)
_BAR, _TEXT = 0.035, 0.035  # height of the scale and of the words, as shares of the longer side
_LEAST_TEXT = 11  # pixels


@dataclass(frozen=True)
class Heatmap:
    """A network's map, and where it lies on the image."""

    values: NDArray[np.float32]  # (rows, columns), 0 to 1
    region: tuple[float, float, float, float]  # left, top, right, bottom of the map; the image spans 0 to 1

    def strongest(self) -> tuple[float, float, float, float] | None:
        """(left, top, right, bottom) of the region around the largest value, within 0 to 1; None where there is none.

        The cells of at least half the largest value that hang together with it, by their sides.
        """
        most = float(self.values.max())
        if most < _LEAST:
            return None
        rows, columns = self._hanging_together(self.values >= _SHARE_OF_MOST * most)
        left, top, right, bottom = self.region
        height, width = self.values.shape
        across, down = (right - left) / width, (bottom - top) / height
        box = (
            left + columns.min() * across,
            top + rows.min() * down,
            left + (columns.max() + 1) * across,
            top + (rows.max() + 1) * down,
        )
        clipped = [float(min(max(edge, 0.0), 1.0)) for edge in box]
        return clipped[0], clipped[1], clipped[2], clipped[3]

    def point(self) -> tuple[float, float] | None:
        """(x, y) where it looked most, within 0 to 1; None where there is no strongest region.

        The centre of mass of the strongest cell and those around it: cells are about as large as fractures, so that the
        middle of one lies beside many.
        """
        if float(self.values.max()) < _LEAST:
            return None
        height, width = self.values.shape
        row, column = divmod(int(self.values.argmax()), width)
        rows, columns = np.mgrid[max(0, row - 1) : min(height, row + 2), max(0, column - 1) : min(width, column + 2)]
        weights = self.values[rows, columns] / self.values[rows, columns].sum()
        left, top, right, bottom = self.region
        x = left + float((weights * (columns + 0.5)).sum()) * (right - left) / width
        y = top + float((weights * (rows + 0.5)).sum()) * (bottom - top) / height
        return min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)

    def _hanging_together(self, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        start = divmod(int(self.values.argmax()), self.values.shape[1])
        found, border = {start}, [start]
        while border:
            row, column = border.pop()
            for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= near[0] < chosen.shape[0] and 0 <= near[1] < chosen.shape[1]
                if inside and near not in found and chosen[near]:
                    found.add(near)
                    border.append(near)
        rows, columns = zip(*found, strict=True)
        return np.array(rows), np.array(columns)

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types: the strongest region and point, all values row by row, and where they lie."""
        rows, columns = self.values.shape
        values = [round(float(value), 4) for value in self.values.ravel()]
        box, point = self.strongest(), self.point()
        return {
            "box": None if box is None else list(box),
            "point": None if point is None else list(point),
            **{"rows": rows, "columns": columns, "values": values, "region": list(self.region)},
        }


def from_dict(record: Mapping[str, Any]) -> Heatmap:
    """The map that `Heatmap.to_dict` told."""
    values = np.array(record["values"], np.float32).reshape(record["rows"], record["columns"])
    left, top, right, bottom = record["region"]
    return Heatmap(values, (left, top, right, bottom))


def heatmap_of(outputs: Mapping[str, NDArray[np.float32]], shape: tuple[int, int], spec: ModelSpec) -> Heatmap | None:
    """The map that a network gave; None where it has none.

    Args:
        outputs: of the engine, by name.
        shape: (height, width) of the image, pixels.
        spec: of the network.
    """
    if OUTPUT not in outputs:
        return None
    values = np.clip(np.asarray(outputs[OUTPUT], np.float32).squeeze(), 0.0, 1.0)
    values = np.atleast_2d(np.nan_to_num(values))
    left, top, width, height = placed_in_square(shape[1], shape[0], spec.size, spec.aspect)
    side = spec.size
    return Heatmap(values, (-left / width, -top / height, (side - left) / width, (side - top) / height))


def draw_overlay(grey_u8: NDArray[np.uint8], heatmap: Heatmap) -> Image.Image:
    """The radiograph at its own size, RGB, with the map over it, a scale, and what it is in words below.

    Args:
        grey_u8: (H, W).
        heatmap: of that image.
    """
    height, width = grey_u8.shape
    spread = _spread(heatmap, width, height)
    grey = np.repeat(grey_u8[..., np.newaxis], 3, axis=-1).astype(np.float32)
    weight = (_OPACITY * spread)[..., np.newaxis]
    blended = Image.fromarray(np.clip(grey * (1 - weight) + _coloured(spread) * weight, 0, 255).astype(np.uint8))
    text_height = max(_LEAST_TEXT, round(_TEXT * max(width, height)))
    bar_height = max(_LEAST_TEXT // 2, round(_BAR * max(width, height)))
    page = Image.new("RGB", (width, height + bar_height + 2 * text_height))
    page.paste(blended, (0, 0))
    scale = np.repeat(np.linspace(0, 1, width, dtype=np.float32)[np.newaxis], bar_height, axis=0)
    page.paste(Image.fromarray(_coloured(scale).astype(np.uint8)), (0, height))
    _write_words(page, height + bar_height, text_height)
    return page


def _spread(heatmap: Heatmap, width: int, height: int) -> NDArray[np.float32]:
    """The values as they lie on an image of that size, smooth between the cells."""
    left, top, right, bottom = heatmap.region
    rows, columns = heatmap.values.shape
    whole = Image.fromarray(heatmap.values)
    # The part of the map that the image covers, in cells.
    across, down = columns / (right - left), rows / (bottom - top)
    box = (-left * across, -top * down, (1 - left) * across, (1 - top) * down)
    fitted = np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR, box=box), np.float32)
    return np.asarray(np.clip(fitted, 0.0, 1.0))


def _coloured(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 3) colours of values from 0 to 1."""
    places = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(values, places, _COLOURS[:, channel]) for channel in range(3)]
    return np.asarray(np.stack(channels, axis=-1), np.float32)


def _write_words(page: Image.Image, top: int, height: int) -> None:
    pen = ImageDraw.Draw(page)
    for size in range(height, 5, -1):  # the largest that fits a narrow image
        font = ImageFont.load_default(size)
        if pen.textlength(f"0   {WORDS}   1", font=font) <= page.width or size == 6:
            break
    pen.text((2, top), "0", font=font, fill="white")
    pen.text((page.width / 2, top), WORDS, font=font, fill="white", anchor="ma")
    pen.text((page.width - 2, top), "1", font=font, fill="white", anchor="ra")
