"""Findings as text for a terminal."""

from __future__ import annotations

from collections import Counter

import numpy as np

from edge_runtime.terminal_text import escaped
from train.audit.findings import Findings, mislabelled_formats
from train.audit.inventory import ImageRecord, Inventory
from train.audit.levels import SPLITS
from train.audit.splitting import LeakMatrix
from train.audit.wording import counted

_LISTED = 5  # of anything, before "and so many more"


def summarise(findings: Findings) -> str:
    """Several paragraphs; the last line is the verdict."""
    parts = [
        _describe_files(findings),
        _describe_groups(findings),
        _describe_counts(findings),
        _describe_leak(findings.leak),
        _describe_shortcuts(findings.shortcuts),
        verdict(findings),
    ]
    return "\n\n".join(part for part in parts if part)


def verdict(findings: Findings) -> str:
    """One line: fit for evaluation, or not, and why."""
    fit = "Fit for evaluation." if findings.fit else f"NOT fit for evaluation: {'; '.join(findings.reasons)}."
    return " ".join([fit, *(f"{note[0].upper()}{note[1:]}." for note in findings.notes)])


def _describe_files(findings: Findings) -> str:
    inventory = findings.inventory
    records, unreadable = inventory.records, inventory.unreadable
    total = counted(len(records) + len(unreadable), "file")
    lines = [f"{total}: {counted(len(records), 'image')}, {len(unreadable)} left out"]
    lines += _some([f"  {escaped(f'{item.path}: {item.why}')}" for item in unreadable])
    wrong = mislabelled_formats(inventory)
    if wrong:
        lines.append(f"{counted(len(wrong), 'image has', 'images have')} the wrong suffix")
        lines += _some([f"  {escaped(item['path'])}: is {item['format']}" for item in wrong])
    for name, values in describe_images(inventory).items():
        lines.append(f"{name}: {values}")
    return "\n".join(lines)


def describe_images(inventory: Inventory) -> dict[str, str]:
    """Sizes, modes and formats, the most frequent first."""
    records = inventory.records
    return {
        "sizes": _frequent(Counter(f"{record.width} x {record.height}" for record in records)),
        "pixels": _frequent(Counter(_pixels(record) for record in records)),
        "formats": _frequent(Counter(record.format for record in records)),
    }


def _pixels(record: ImageRecord) -> str:
    """Mode and depth; of DICOM the mode alone, for it stores 8 to 16 bits under one name."""
    if record.format == "DICOM":
        return record.mode
    return f"{record.mode} ({16 if record.mode.startswith('I') else 1 if record.mode == '1' else 8} bits)"


def _frequent(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name}: {count}" for name, count in counts.most_common(_LISTED))
    return shown + (f", and {len(counts) - _LISTED} more" if len(counts) > _LISTED else "")


def _describe_groups(findings: Findings) -> str:
    facts = count_copies(findings)
    lines = [f"{name}: {value}" for name, value in facts.items()]
    for group in findings.conflicts[:_LISTED]:
        lines.append("  both labels: " + ", ".join(map(escaped, findings.paths(group)[:_LISTED])))
    return "\n".join(lines)


def count_copies(findings: Findings) -> dict[str, int]:
    """How many images remain as one after another kind of copy is taken for one."""
    records, together = findings.inventory.records, len(np.unique(findings.together))
    return {
        "images": len(records),
        "different files, by their bytes": len({record.sha256 for record in records}),
        "different pictures, by their pixels": len({record.pixels_sha256 for record in records}),
        "independent radiographs (copies at any rotation, mirrored, cropped, re-encoded, ... counted once)": len(
            findings.members
        ),
        **(
            {"groups that stay together (patients, as far as told)": together}
            if together < len(findings.members)
            else {}
        ),
        "radiographs with both labels": len(findings.conflicts),
        "links not used, because they alone would have joined two groups": sum(not k.accepted for k in findings.links),
    }


def count_by_split(findings: Findings) -> list[tuple[str, str, int, int]]:
    """(split, class, files, radiographs) of each split and class."""
    records, rows = findings.inventory.records, []
    for split in [name for name in (*SPLITS, None) if any(record.split == name for record in records)]:
        for label, name in enumerate(findings.inventory.labels):
            inside = np.array([record.split == split and record.label == label for record in records])
            rows.append((split or "all", name, int(inside.sum()), len(np.unique(findings.groups[inside]))))
    return rows


def _describe_counts(findings: Findings) -> str:
    lines = [f"{'':8}{'':24}{'files':>8}{'radiographs':>13}"]
    lines += [
        f"{s:8}{escaped(name)[:23]:24}{files:8}{groups:13}" for s, name, files, groups in count_by_split(findings)
    ]
    return "\n".join(lines)


def _describe_leak(leak: LeakMatrix | None) -> str:
    if leak is None:
        return "no split folders: edge-train splits by radiograph; --write writes a copy that is split so"
    lines = []
    for title, table in (("radiographs", leak.groups), ("files", leak.files)):
        lines.append(f"{title} of the split on the left that are shared with the split above")
        lines.append(f"{'':8}" + "".join(f"{name:>8}" for name in leak.splits))
        lines += [f"{n:8}" + "".join(f"{c:8}" for c in row) for n, row in zip(leak.splits, table, strict=True)]
    return "\n".join(lines)


def _describe_shortcuts(shortcuts: dict[str, float]) -> str:
    if not shortcuts:
        return ""
    lines = ["how well the label can be predicted without looking at the bone (AUC per radiograph; 0.5 is chance)"]
    return "\n".join(lines + [f"  {name:16}{auc:6.3f}" for name, auc in shortcuts.items()])


def _some(lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return lines[:_LISTED] + more
