"""Pictures inside a page: thumbnails and bar charts as data URIs, so that the page is one file."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from edge_runtime.images import read_grey

_THUMBNAIL = 128  # pixels, longer side
_QUALITY = 80  # of JPEG
_DPI = 100
COLOURS = ("#3b6ea5", "#c8553d")  # negative, positive


def thumbnail(path: Path, caption: str, side: int = _THUMBNAIL) -> str:
    """An HTML figure of one image file, at most side pixels."""
    image = Image.fromarray(read_grey(path, least_side=side))
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY)
    return _figure("image/jpeg", stream.getvalue(), caption)


def bar_chart(title: str, names: list[str], series: dict[str, list[float]], format_value: str = "{:.0f}") -> str:
    """An HTML figure of grouped bars, one colour a series."""
    figure = Figure(figsize=(max(4.0, 1.0 + 0.9 * len(names)), 2.8), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(series)
    for number, (label, values) in enumerate(series.items()):
        places = [place - 0.4 + (number + 0.5) * width for place in range(len(names))]
        bars = axes.bar(places, values, width, label=label, color=COLOURS[number % 2])
        axes.bar_label(bars, fmt=format_value.format, fontsize=7)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.margins(y=0.15)
    axes.set_title(title, fontsize=10)
    if len(series) > 1:
        axes.legend(fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI)
    return _figure("image/png", stream.getvalue(), title)


def _figure(kind: str, content: bytes, caption: str) -> str:
    data, caption = base64.b64encode(content).decode(), escape(caption)
    return f'<figure><img alt="{caption}" src="data:{kind};base64,{data}"><figcaption>{caption}</figcaption></figure>'
