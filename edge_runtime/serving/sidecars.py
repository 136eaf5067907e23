"""Answer and heatmap beside an image: `x.result.json` and `x.heatmap.png` for `x.png`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_runtime.errors import DependencyError, ImageError, StorageError
from edge_runtime.heatmap import draw_overlay, from_dict
from edge_runtime.images import is_visible_image, read_image
from edge_runtime.json_lines import encode_line
from edge_runtime.limits import Limits
from edge_runtime.serving.judging import answer_in
from edge_runtime.watching.arrivals import line_of
from edge_runtime.watching.folder import Sighting
from edge_runtime.whole_files import whole_file

_RESULT, _HEATMAP = ".result.json", ".heatmap.png"
SIDECARS = (_RESULT, _HEATMAP)  # ends of names that no watcher judges


def write_sidecars(file: Sighting, record: dict[str, Any], limits: Limits) -> None:
    """Writes what was answered, and where the network looked, if it told, beside an image.

    Of two images `x.png` and `x.jpg` the second to be judged gets `x.jpg.result.json`.

    Args:
        file: the image.
        record: its answer, with `heatmap` where there is one.
        limits: for reading the image at its own size.

    Raises:
        OSError: they cannot be written.
    """
    image = Path(file.path)
    base = _base(image)
    heatmap = record.get("heatmap")
    if heatmap is not None:
        try:
            grey_u8 = read_image(image, limits.side, None, False, limits).grey_u8  # at its own size
        except (ImageError, DependencyError, StorageError):  # removed meanwhile
            return
        with _beside(image, base + _HEATMAP) as draft:
            draw_overlay(grey_u8, from_dict(heatmap)).save(draft, "png")
    told = {name: value for name, value in answer_in(record).items() if name != "heatmap"}
    with _beside(image, base + _RESULT) as draft:
        draft.write_bytes(encode_line(line_of(file, told)))


@contextmanager
def _beside(image: Path, name: str) -> Iterator[Path]:
    # Not waited for: what a power cut takes away can be had again from the results.
    with whole_file(image.with_name(name), durable=False) as draft:
        yield draft
        draft.chmod(image.stat().st_mode & 0o666 | 0o600)  # whoever may read the image may read what it shows


def _base(image: Path) -> str:
    """The image's name without its suffix, unless another image has put its answer there."""
    if not is_visible_image(image.name):  # DICOM files often are called 1.2.840
        return image.name
    try:
        owner = Path(json.loads(image.with_name(image.stem + _RESULT).read_bytes())["path"]).name
    except (OSError, ValueError, LookupError, TypeError):
        owner = image.name
    return image.stem if owner == image.name else image.name
