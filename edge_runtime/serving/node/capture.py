"""An answer as Secondary Capture (PS3.3, A.8.1): the radiograph with the heatmap over it and the answer above it.

For archives and viewers that show no structured report. It is a picture to look at, and no radiograph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge_runtime.heatmap import draw_overlay, from_dict
from edge_runtime.images import read_image
from edge_runtime.limits import Limits
from edge_runtime.serving.node.belonging import MORE_OF_IMAGE, Kind, new_document, read_header, written

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
SIDE = 1280  # pixels of the longer side at the most: uncompressed it takes 5 MB at that size
_KIND = Kind(SECONDARY_CAPTURE, "OT", 9002, ("capture", "captures"))
_NOTE = "Research use only: not a medical device."
_TEXT = 0.03  # height of the words above the picture, as a share of the longer side
_LEAST_TEXT = 12  # pixels


def make_capture(content: bytes, record: dict[str, Any], limits: Limits) -> bytes:
    """The picture of an answer, as a DICOM file.

    Args:
        content: the image's file.
        record: its answer, as edge-infer prints it, with a decision; with `heatmap` where the network gives one.
        limits: for reading the image.

    Raises:
        ImageError: the image names no study, so no picture can belong to it, or it cannot be read.
        DependencyError: what decodes it is not installed.
    """
    source = read_header(content)
    pixels_u8 = np.asarray(_picture(content, record, limits), np.uint8)
    capture = new_document(_KIND, source, record)
    instance = _reference(source)
    given: dict[str, Any] = {
        **{"ConversionType": "WSD", "ImageType": ["DERIVED", "SECONDARY"], "PatientOrientation": ""},
        **{"SourceImageSequence": [instance], "DerivationDescription": f"Where a network looked. {_NOTE}"},
        **{"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
        **{"Rows": pixels_u8.shape[0], "Columns": pixels_u8.shape[1]},
        **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0},
        "PixelData": pixels_u8.tobytes() + bytes(pixels_u8.size % 2),
    }
    for name, value in given.items():
        setattr(capture, name, value)
    for name in MORE_OF_IMAGE:
        if name in source:
            setattr(capture, name, source.get(name))
    return written(capture)


def _reference(source: Any) -> Any:
    from pydicom.dataset import Dataset

    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return instance


def _picture(content: bytes, record: dict[str, Any], limits: Limits) -> Image.Image:
    """RGB: the answer in words, below it the radiograph, and the heatmap over it."""
    grey = Image.fromarray(read_image(content, limits.side, None, False, limits).grey_u8)
    grey.thumbnail((SIDE, SIDE))
    heatmap = record.get("heatmap")
    shown = grey.convert("RGB") if heatmap is None else draw_overlay(np.asarray(grey), from_dict(heatmap))
    height = max(_LEAST_TEXT, round(_TEXT * max(grey.size)))
    page = Image.new("RGB", (shown.width, shown.height + 3 * height))
    page.paste(shown, (0, 3 * height))
    words = f"{record['decision']}: {record['probability']:.1%} (threshold {record['threshold']:.1%})"
    phantom = " The network learnt from drawn phantoms." if record.get("domain") == "phantom" else ""
    pen = ImageDraw.Draw(page)
    for row, text in enumerate((words, _NOTE + phantom)):
        pen.text((2, (0.1 + 1.4 * row) * height), text, font=_fitting(pen, text, height, page.width), fill="white")
    return page


def _fitting(pen: ImageDraw.ImageDraw, text: str, height: int, width: int) -> Any:
    """The largest font up to a height in which a text is no wider than that."""
    for size in range(height, 5, -1):
        font = ImageFont.load_default(size)
        if pen.textlength(text, font=font) <= width - 4:
            break
    return font
