"""Grey of images with 16 bits in each of several channels, exactly: Pillow keeps the high byte of each alone.

It is asked twice, for the high bytes and, by the name of the other byte order, for the low ones. Its decoders see bytes
and no samples, so nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from edge_runtime.formats.header import FormatError

_PIECE = 1 << 18  # pixels
_WEIGHTS = (19_595, 38_470, 7_471)  # of red, green and blue in 65,536: ITU-R 601-2, as Pillow has them
# Of sixteen bits, which byte comes first: little, big, and as this machine has it.
_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if np.little_endian else "L"}


def read_deep_colours(
    opened: Callable[[], ImageFile.ImageFile], transparent: tuple[int, ...] | None
) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None, ImageFile.ImageFile]:
    """uint16 (H, W), luma; uint8 (H, W), how opaque, None where all is; and the image, for what else it tells.

    Of grey with transparency the image is of mode `LA`, and of no further use.

    Args:
        opened: opens the image anew, nothing of it decoded.
        transparent: samples of the one colour that is transparent, which becomes black; None: none is.

    Raises:
        FormatError: an order of samples that is not known.
    """
    high = opened()
    form = _raw_mode(high)
    if form.startswith("LA"):
        return _from_grey_and_alpha(high)
    low = opened()
    # Multiplied by how opaque it is already, a colour lies on black as it is.
    straight = form.replace("RGBa", "RGBA")
    _decode_as(high, straight)
    _decode_as(low, straight[:-1] + _OTHER_ORDER[form[-1]])
    luma = np.empty((high.height, high.width), np.uint16)
    for top, bottom in _bands(high):
        box = (0, top, high.width, bottom)
        samples = _samples(high, box)[..., :3] << 8 | _samples(low, box)[..., :3]
        luma[top:bottom] = _luma(samples)
        if transparent is not None:
            luma[top:bottom][(samples == np.array(transparent, np.uint32)).all(-1)] = 0
    is_transparent = high.mode == "RGBA" and form == straight
    return luma, np.asarray(high.getchannel("A")) if is_transparent else None, high


def luma_of(samples: NDArray[Any]) -> NDArray[np.uint16]:
    """uint16 (H, W), luma of (H, W, 3) samples, in their scale."""
    luma = np.empty(samples.shape[:2], np.uint16)
    rows = max(1, _PIECE // samples.shape[1])
    for top in range(0, len(samples), rows):
        luma[top : top + rows] = _luma(samples[top : top + rows].astype(np.uint32))
    return luma


def _raw_mode(image: ImageFile.ImageFile) -> str:
    arguments = {tile.args[0] if isinstance(tile.args, tuple) else tile.args for tile in image.tile}
    form = str(arguments.pop()) if len(arguments) == 1 else ""
    if ";16" not in form or form[-1] not in _OTHER_ORDER or not form.startswith(("RGB", "LA;")):
        raise FormatError("16 bits in channels that are not red, green and blue; save it as grey", "unsupported")
    return form


def _decode_as(image: ImageFile.ImageFile, form: str) -> None:
    image.tile = [
        tile._replace(args=(form, *tile.args[1:]) if isinstance(tile.args, tuple) else form) for tile in image.tile
    ]
    image.load()


def _from_grey_and_alpha(
    image: ImageFile.ImageFile,
) -> tuple[NDArray[np.uint16], NDArray[np.uint8], ImageFile.ImageFile]:
    # Two channels of two bytes are to a decoder as four of one.
    _decode_as(image, "RGBA")
    grey = np.empty((image.height, image.width), np.uint16)
    for top, bottom in _bands(image):
        four = _samples(image, (0, top, image.width, bottom))
        grey[top:bottom] = four[..., 0] << 8 | four[..., 1]
    return grey, np.asarray(image.getchannel("B")), image


def _bands(image: Image.Image) -> list[tuple[int, int]]:
    rows = max(1, _PIECE // image.width)
    return [(top, min(image.height, top + rows)) for top in range(0, image.height, rows)]


def _samples(image: Image.Image, box: tuple[int, int, int, int]) -> NDArray[np.uint32]:
    return np.asarray(image.crop(box)).astype(np.uint32)


def _luma(samples: NDArray[Any]) -> NDArray[np.uint32]:
    """Of (h, w, 3) samples of 16 bits."""
    red, green, blue = (samples[..., channel] * np.uint32(weight) for channel, weight in enumerate(_WEIGHTS))
    # At most 65,535 x 65,536 + 32,768: it fits.
    luma: NDArray[np.uint32] = red + green + blue + np.uint32(0x8000)
    return luma >> np.uint32(16)


def lay_on_black(grey_u8: NDArray[np.uint8], opaque_u8: NDArray[np.uint8]) -> None:
    """Darkens each pixel as it is transparent, in place."""
    rows = max(1, _PIECE // grey_u8.shape[1])
    for top in range(0, len(grey_u8), rows):
        product = grey_u8[top : top + rows].astype(np.uint16) * opaque_u8[top : top + rows] + 127
        grey_u8[top : top + rows] = product // 255
