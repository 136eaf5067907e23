"""The findings as one page with pictures: self-contained, readable offline, without a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

from edge_runtime.whole_files import write_whole
from train.audit.findings import Findings, links_to_dicts, mislabelled_formats
from train.audit.pictures import bar_chart, thumbnail
from train.audit.report_file import HEAD, REPORT, refuse_other_report
from train.audit.splitting import LeakMatrix
from train.audit.summary import count_by_split, count_copies, describe_images, verdict
from train.audit.wording import counted

_SAMPLES, _GALLERY_GROUPS, _GALLERY_MEMBERS, _UNCERTAIN, _CONFLICTS, _LISTED = 24, 6, 12, 16, 8, 200
_SIZE_CLASSES = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, 10**9))  # files a radiograph

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { border: 1px solid #ccc; padding: .25rem .6rem }
td { text-align: right } th, td.text { text-align: left } th { background: #f3f3f3 }
figure { display: inline-block; margin: .3rem; vertical-align: top } figure img { max-width: 100% }
figcaption { font-size: 11px; max-width: 16rem; overflow-wrap: anywhere; color: #555 }
.grid figcaption { max-width: 8rem }
.pair { display: inline-block; border: 1px solid #ddd; margin: .3rem; padding: .3rem }
.pair p { margin: 0 .3rem; font-size: 12px } .pair figcaption { max-width: 8rem }
.verdict { padding: .8rem 1rem; border-left: 5px solid #3b8a4f; background: #eef7f0 }
.verdict.unfit { border-color: #c0392b; background: #fbeeec }
"""


def write_report(findings: Findings, folder: Path) -> Path:
    """Writes `report.html` into a folder, which is made if need be, and returns its path."""
    refuse_other_report(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT
    # Bytes of names that are no text cannot stand on a page.
    write_whole(path, make_page(findings).encode("utf-8", "backslashreplace"))
    return path


def make_page(findings: Findings) -> str:
    """The whole page as HTML."""
    title = f"Audit of {findings.inventory.root.resolve().name}"
    head = f"{HEAD}{escape(title.removeprefix('Audit of '))}</title><style>{_STYLE}</style></head>"
    state = "verdict" if findings.fit else "verdict unfit"
    sections = [
        f'<h1>{escape(title)}</h1><p class="{state}">{escape(verdict(findings))}</p>',
        *_numbers(findings),
        *_leaks(findings.leak),
        *_shortcuts(findings),
        *_pictures(findings),
        *_left_out(findings),
    ]
    return f"{head}<body>{''.join(sections)}</body></html>\n"


def _numbers(findings: Findings) -> Iterable[str]:
    yield "<h2>Contents</h2>"
    yield _table([], list(count_copies(findings).items()), text=(0,))
    yield _table([], list(describe_images(findings.inventory).items()), text=(0, 1))
    counts = count_by_split(findings)
    yield _table(["split", "class", "files", "radiographs"], counts, text=(0, 1))
    names = [f"{split}\n{name}" for split, name, _, _ in counts]
    series = {"files": [float(row[2]) for row in counts], "radiographs": [float(row[3]) for row in counts]}
    yield bar_chart("Files, and radiographs with all copies counted once", names, series)
    sizes = [len(group) for group in findings.members]
    labels = [str(a) if a == b else f"{a}-{b}" if b < 10**9 else f"> {a - 1}" for a, b in _SIZE_CLASSES]
    heights = [float(sum(a <= size <= b for size in sizes)) for a, b in _SIZE_CLASSES]
    yield bar_chart("Radiographs by the number of their files", labels, {"radiographs": heights})


def _leaks(leak: LeakMatrix | None) -> Iterable[str]:
    yield "<h2>Shared between splits</h2>"
    if leak is None:
        yield "<p>The data set has no split folders.</p>"
        return
    for name, table in (("Radiographs", leak.groups), ("Files", leak.files)):
        yield f"<p>{name} of the split on the left that are shared with the split above.</p>"
        yield _table(["", *leak.splits], [(a, *row) for a, row in zip(leak.splits, table, strict=True)], text=(0,))


def _shortcuts(findings: Findings) -> Iterable[str]:
    yield "<h2>Shortcuts</h2><p>How well the label can be predicted without looking at the bone:"
    yield " a network can cheat with these. Area under the ROC curve per radiograph, cross-validated by group;"
    yield " 0.5 is chance.</p>"
    if findings.shortcuts:
        names, values = list(findings.shortcuts), list(findings.shortcuts.values())
        yield bar_chart("AUC", names, {"AUC": values}, "{:.2f}")
    else:
        yield "<p>Not measured: too few radiographs of one class.</p>"


def _pictures(findings: Findings) -> Iterable[str]:
    order = sorted(range(len(findings.members)), key=lambda group: -len(findings.members[group]))
    step = max(1, len(order) // _SAMPLES)
    samples = [findings.members[group][0] for group in sorted(order)[::step][:_SAMPLES]]
    yield f'<h2>Samples</h2><div class="grid">{_thumbnails(findings, samples)}</div>'
    if findings.conflicts:
        yield "<h2>Radiographs with both labels</h2>"
        for group in findings.conflicts[:_CONFLICTS]:
            yield f'<div class="grid">{_thumbnails(findings, findings.members[group][:_GALLERY_MEMBERS])}</div>'
    yield "<h2>Least certain links</h2><p>Is each pair one radiograph? These agree least.</p>"
    uncertain = sorted(findings.links, key=lambda link: (link.accepted, link.agreement))[:_UNCERTAIN]
    for link in links_to_dicts(tuple(uncertain), findings.inventory):
        yield _pair(findings, link)
    yield "<h2>Largest groups</h2>"
    for group in order[:_GALLERY_GROUPS]:
        members = findings.members[group]
        if len(members) > 1:
            yield f"<h3>{len(members)} files of one radiograph</h3>"
            chosen = _different(findings, members)[:_GALLERY_MEMBERS]
            yield f'<div class="grid">{_thumbnails(findings, chosen)}</div>'


def _different(findings: Findings, members: Sequence[int]) -> list[int]:
    """Of records with identical pixels only the first."""
    records = findings.inventory.records
    return list({records[member].pixels_sha256: member for member in reversed(members)}.values())[::-1]


def _thumbnails(findings: Findings, members: Sequence[int]) -> str:
    root, records = findings.inventory.root, findings.inventory.records
    return "".join(thumbnail(root / records[member].path, records[member].path) for member in members)


def _pair(findings: Findings, link: dict[str, Any]) -> str:
    root = findings.inventory.root
    pictures = "".join(thumbnail(root / path, path) for path in link["paths"])
    mirror = "mirrored, then " if link["mirrored"] else ""
    mark = "" if link["accepted"] else " (not used)"
    text = f"agreement {link['agreement']:.2f}{mark}: {mirror}turned by {link['angle']}°, size × {link['scale']}"
    return f'<div class="pair"><p>{escape(text)}</p>{pictures}</div>'


def _left_out(findings: Findings) -> Iterable[str]:
    unreadable = findings.inventory.unreadable
    if unreadable:
        yield f"<h2>Left out: {counted(len(unreadable), 'file')}</h2>"
        yield _table(["file", "why"], [(item.path, item.why) for item in unreadable[:_LISTED]], text=(0, 1))
    wrong = mislabelled_formats(findings.inventory)
    if wrong:
        yield f"<h2>Wrong suffix: {counted(len(wrong), 'file')}</h2>"
        yield _table(["file", "is"], [(item["path"], item["format"]) for item in wrong[:_LISTED]], text=(0, 1))
    groups = [group for group in range(len(findings.members)) if len(findings.members[group]) > 1]
    yield f"<h2>{counted(len(groups), 'group')} of more than one file</h2>"
    for group in groups:
        paths = findings.paths(group)
        items = "".join(f"<li>{escape(path)}</li>" for path in paths)
        name = escape(PurePosixPath(paths[0]).name)
        yield f"<details><summary>{len(paths)} files: {name}, …</summary><ul>{items}</ul></details>"


def _table(head: list[str], rows: Sequence[Sequence[object]], text: tuple[int, ...] = ()) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(_cell(value, i in text) for i, value in enumerate(row)) + "</tr>" for row in rows)
    return f"<table>{f'<tr>{top}</tr>' if head else ''}{body}</table>"


def _cell(value: object, is_text: bool) -> str:
    return f'<td class="text">{escape(str(value))}</td>' if is_text else f"<td>{escape(str(value))}</td>"
