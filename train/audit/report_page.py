"""The findings as one page with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from edge_runtime.images import read_grey
from edge_runtime.whole_files import write_whole
from train.audit.findings import SHORTCUT_MOST, Findings, links_to_dicts, mislabelled_formats
from train.audit.report_file import COMMAND, REPORT, refuse_other_report
from train.audit.summary import count_by_split, count_copies, describe_images
from train.audit.wording import counted
from train.pages import made_today, render, table_of
from train.pages.charts import bars, bars_to_a_line, plot_of
from train.pages.pictures import picture_of

_SAMPLES, _GALLERY_GROUPS, _GALLERY_MEMBERS, _UNCERTAIN, _CONFLICTS, _LISTED = 24, 6, 12, 16, 8, 200
_SIZE_CLASSES = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, 100), (101, 10**9))  # files a radiograph
_SIDE = 144  # pixels of a picture
_CHANCE = 0.5  # AUC


def write_report(findings: Findings, folder: Path) -> Path:
    """Writes `report.html` into a folder, which is made if need be, and returns its path."""
    refuse_other_report(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT
    write_whole(path, render("train.audit", "audit.html", COMMAND, _contents(findings)))
    return path


def _contents(findings: Findings) -> dict[str, Any]:
    inventory = findings.inventory
    name = inventory.root.resolve().name
    parts = {
        "leaks": _leaks(findings),
        "conflicts": _groups_of(findings, findings.conflicts[:_CONFLICTS], "both labels"),
        "links": _links(findings),
        "largest": _largest(findings),
        "left_out": _left_out(findings),
    }
    sections = [
        *(("numbers", "Contents"), ("leaks", "Shared between splits"), ("shortcuts", "Shortcuts")),
        ("samples", "Samples"),
        ("conflicts", "Both labels"),
        ("links", "Least certain links"),
        ("largest", "Largest groups"),
        ("left_out", "Left out, misnamed, grouped"),
    ]
    return {
        "title": f"Audit of {name}",
        "mood": "good" if findings.fit else "bad",
        "facts": [
            name,
            f"{counted(len(inventory.records), 'image')} of {counted(len(findings.members), 'independent radiograph')}",
            *made_today(),
        ],
        "contents": [(part, title) for part, title in sections if parts.get(part, True)],
        "fit": findings.fit,
        "reasons": findings.reasons,
        "patients": [f"{note[0].upper()}{note[1:]}." for note in findings.notes],
        "copies": table_of("Images", [("counted", "number"), *count_copies(findings).items()], text=(0,)),
        "kinds": table_of("Kinds", [("what", "most frequent"), *describe_images(inventory).items()], text=(1,)),
        "counts": _counts(findings),
        "plots": _plots(findings),
        "shortcuts": _shortcuts(findings),
        "samples": _samples(findings),
        **parts,
    }


def _counts(findings: Findings) -> dict[str, Any]:
    return table_of(
        "Files of each class", [("split", "class", "files", "radiographs"), *count_by_split(findings)], text=(1,)
    )


def _plots(findings: Findings) -> list[dict[str, Any]]:
    counts = count_by_split(findings)
    names = [f"{split}\n{name}" for split, name, _, _ in counts]
    series = {"files": [float(row[2]) for row in counts], "radiographs": [float(row[3]) for row in counts]}
    sizes = [len(group) for group in findings.members]
    labels = [str(a) if a == b else f"{a}-{b}" if b < 10**9 else f"> {a - 1}" for a, b in _SIZE_CLASSES]
    heights = [float(sum(a <= size <= b for size in sizes)) for a, b in _SIZE_CLASSES]
    told = "; ".join(f"{split} {name}: {files} files, {groups} radiographs" for split, name, files, groups in counts)
    groups = bars(labels, {"radiographs": heights}, "radiographs")
    groups.axes[0].set_xlabel("files of one radiograph")
    return [
        plot_of(bars(names, series, "number"), "Files, and radiographs with all copies counted once", f"{told}."),
        plot_of(
            groups,
            "Radiographs by the number of their files",
            f"{int(heights[0])} of {len(sizes)} radiographs have one file, the largest group has {max(sizes)}.",
        ),
    ]


def _leaks(findings: Findings) -> list[dict[str, Any]]:
    leak = findings.leak
    if leak is None:
        return []
    tables = (("Radiographs", leak.groups), ("Files", leak.files))
    return [
        table_of(
            f"{name} of the split on the left that are shared with the split above",
            [("split", *leak.splits), *((a, *row) for a, row in zip(leak.splits, table, strict=True))],
        )
        for name, table in tables
    ]


def _shortcuts(findings: Findings) -> dict[str, Any] | None:
    found = dict(sorted(findings.shortcuts.items(), key=lambda one: -one[1]))
    if not found:
        return None
    beyond = [f"{name} {value:.2f}" for name, value in found.items() if value > SHORTCUT_MOST]
    told = f"beyond the line: {', '.join(beyond)}" if beyond else "no bar crosses the line"
    return plot_of(
        bars_to_a_line(found, "AUC; 0.5 is chance", SHORTCUT_MOST, _CHANCE),
        f"AUC of each shortcut; the dashed line, {SHORTCUT_MOST:g}, is the most that an evaluation bears",
        f"AUC of {len(found)} shortcuts, {_spoken(found)}; {told}.",
    )


def _spoken(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def _samples(findings: Findings) -> list[dict[str, str]]:
    order = _by_size(findings)
    step = max(1, len(order) // _SAMPLES)
    return _thumbnails(findings, [findings.members[group][0] for group in sorted(order)[::step][:_SAMPLES]])


def _by_size(findings: Findings) -> list[int]:
    return sorted(range(len(findings.members)), key=lambda group: -len(findings.members[group]))


def _largest(findings: Findings) -> list[dict[str, Any]]:
    chosen = [group for group in _by_size(findings)[:_GALLERY_GROUPS] if len(findings.members[group]) > 1]
    return _groups_of(findings, chosen, "one radiograph")


def _groups_of(findings: Findings, groups: Sequence[int], what: str) -> list[dict[str, Any]]:
    return [
        {
            "title": f"{len(findings.members[group])} files of {what}",
            "pictures": _thumbnails(findings, _different(findings, findings.members[group])[:_GALLERY_MEMBERS]),
        }
        for group in groups
    ]


def _links(findings: Findings) -> list[dict[str, Any]]:
    """The links that agree least, as pairs of pictures; none where nothing but equal pixels was linked."""
    uncertain = sorted(findings.links, key=lambda link: (link.accepted, link.agreement))[:_UNCERTAIN]
    pairs = links_to_dicts(tuple(uncertain), findings.inventory)
    first = {record.path: number for number, record in enumerate(findings.inventory.records)}
    return [
        {"text": _pair_text(pair), "pictures": _thumbnails(findings, [first[path] for path in pair["paths"]])}
        for pair in pairs
    ]


def _pair_text(link: dict[str, Any]) -> str:
    mirror = "mirrored, then " if link["mirrored"] else ""
    mark = "" if link["accepted"] else " (not used)"
    return f"agreement {link['agreement']:.2f}{mark}: {mirror}turned by {link['angle']}°, size × {link['scale']}"


def _different(findings: Findings, members: Sequence[int]) -> list[int]:
    """Of records with identical pixels only the first."""
    records = findings.inventory.records
    return list({records[member].pixels_sha256: member for member in reversed(members)}.values())[::-1]


def _thumbnails(findings: Findings, members: Sequence[int]) -> list[dict[str, str]]:
    inventory = findings.inventory
    return [
        picture_of(
            read_grey(inventory.root / record.path, least_side=_SIDE),
            _SIDE,
            record.path,
            f"Radiograph labelled {inventory.labels[record.label]}",
        )
        for record in (inventory.records[member] for member in members)
    ]


def _left_out(findings: Findings) -> list[dict[str, Any]]:
    """Tables of files that were left out, misnamed or grouped, each folded."""
    unreadable, wrong = findings.inventory.unreadable, mislabelled_formats(findings.inventory)
    groups = [group for group in range(len(findings.members)) if len(findings.members[group]) > 1]
    tables = []
    if unreadable:
        rows = [(item.path, item.why) for item in unreadable[:_LISTED]]
        tables.append(_folded("Files left out", ("file", "why"), rows, f"{counted(len(unreadable), 'file')} left out"))
    if wrong:
        rows = [(item["path"], item["format"]) for item in wrong[:_LISTED]]
        says = f"{counted(len(wrong), 'file')} with the wrong suffix"
        tables.append(_folded("Files with the wrong suffix", ("file", "is"), rows, says))
    if groups:
        rows = [(PurePosixPath(paths[0]).name, ", ".join(paths)) for paths in map(findings.paths, groups)]
        says = f"{counted(len(groups), 'group')} of more than one file"
        tables.append(_folded("Groups of files", ("group", "files of it"), rows, says))
    return tables


def _folded(label: str, head: tuple[str, str], rows: Sequence[tuple[str, str]], says: str) -> dict[str, Any]:
    more = f", the first {len(rows)} are listed" if len(rows) == _LISTED else ""
    return table_of(label, [head, *rows], text=(0, 1), folded=f"{says}{more}")
