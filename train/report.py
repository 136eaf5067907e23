"""`report.html` of a run: one self-contained page, readable offline."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from train.metrics import Figures

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left }
th { background: #f3f3f3 } img { max-width: 100% } .leaked { color: #a3301c; font-weight: 600 }
"""


@dataclass(frozen=True)
class Row:
    """Figures of one set of images."""

    title: str  # what was measured: `test, per radiograph`
    figures: Figures  # on it
    leaked: bool  # whether the set shares radiographs with train


def figures_table(rows: Sequence[Row]) -> str:
    """An HTML table of figures; the mark `leaked` stands in every row that earned it."""
    head = "<tr><th></th><th>n</th><th>AUC (95 %)</th><th>accuracy</th><th>sensitivity</th><th>specificity</th></tr>"
    return f"<table>{head}{''.join(_table_row(row) for row in rows)}</table>"


def _table_row(row: Row) -> str:
    figures, mark = row.figures, ' <span class="leaked">leaked</span>' if row.leaked else ""
    estimates = (figures.auc, figures.accuracy, figures.sensitivity, figures.specificity)
    cells = "".join(f"<td>{estimate}{mark}</td>" for estimate in estimates)
    return f"<tr><td>{escape(row.title)}</td><td>{figures.count} ({figures.positives} fractured)</td>{cells}</tr>"


def facts_table(facts: dict[str, str]) -> str:
    """An HTML table of names and values."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table>{rows}</table>"


def picture(path: Path, caption: str) -> str:
    """A PNG, inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    caption = escape(caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def page(title: str, parts: Sequence[str]) -> str:
    """A whole HTML page."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    body = f"<h1>{escape(title)}</h1>{''.join(parts)}"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{body}</body></html>\n"
