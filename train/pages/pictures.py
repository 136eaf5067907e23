"""Pictures inside a page: small JPEGs as data URIs, so that the page is one file."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_QUALITY = 80  # of JPEG


def picture_of(image: Image.Image | NDArray[np.uint8], side: int, caption: str, says: str) -> dict[str, str]:
    """A picture, for the macro of that name.

    Args:
        image: shown at its own proportions; an array is grey, uint8 (H, W).
        side: pixels of the longer side, at most.
        caption: below it.
        says: what it shows, for people who do not see it.
    """
    opened = image if isinstance(image, Image.Image) else Image.fromarray(image)
    opened = opened if opened.mode == "L" else opened.convert("RGB")
    opened.thumbnail((side, side))
    stream = io.BytesIO()
    opened.save(stream, "JPEG", quality=_QUALITY)
    data = base64.b64encode(stream.getvalue()).decode()
    return {"source": f"data:image/jpeg;base64,{data}", "caption": caption, "says": says}
