"""Whose radiographs these are, as far as anybody tells: PatientID of DICOM files, or a table that the user gives.

Radiographs of one patient on two sides of a split are a leak as copies are, and no pixel shows it.
"""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

from edge_runtime.errors import DataError, StorageError
from train.audit.inventory import ImageRecord, Inventory

UNKNOWN = "patients unknown: radiographs of one patient may stand on both sides of a split (--groups)"
PATH_COLUMN, GROUP_COLUMN = "path", "group"


def with_groups(inventory: Inventory, table: Path | None) -> Inventory:
    """The inventory with the groups of a table as patients; without one it stays as its files have it.

    Args:
        inventory: of the data set.
        table: CSV with a header and the columns `path`, relative to the data set, and `group`: one row a file.

    Raises:
        DataError: the table is no such file, or names none of the images.
        StorageError: it cannot be read.
    """
    if table is None:
        return inventory
    groups = _read_table(table)
    records = tuple(_with_patient(record, groups.get(record.path)) for record in inventory.records)
    if not any(record.path in groups for record in inventory.records):
        first = next(iter(groups), None)
        named = f"it names {first!r}, for example" if first else "it has no rows"
        raise DataError(f"{table}: no row is about an image of {inventory.root}: {named}; paths are relative to it")
    return replace(inventory, records=records)


def _with_patient(record: ImageRecord, group: str | None) -> ImageRecord:
    # Marked, so that a group of the table is never by chance the hash of another file's patient.
    return record if group is None else replace(record, patient=f"group {group}")


def _read_table(table: Path) -> dict[str, str]:
    try:
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            rows = csv.DictReader(stream)
            missing = {PATH_COLUMN, GROUP_COLUMN} - set(rows.fieldnames or ())
            if missing:
                raise DataError(f"{table}: a first line with the columns path and group was expected")
            return {_plain(row[PATH_COLUMN]): row[GROUP_COLUMN].strip() for row in rows if _is_told(row)}
    except FileNotFoundError as error:
        raise DataError(f"{table}: no such file") from error
    except csv.Error as error:
        raise DataError(f"{table}: not a CSV file: {error}") from error
    except OSError as error:
        raise StorageError(f"{table}: cannot be read: {error.strerror}") from error


def _is_told(row: dict[str, str | None]) -> bool:
    return bool((row[PATH_COLUMN] or "").strip() and (row[GROUP_COLUMN] or "").strip())


def _plain(path: str) -> str:
    return os.path.normpath(path.strip().replace("\\", "/"))


def told(inventory: Inventory) -> int:
    """Of how many images the patient is told."""
    return sum(record.patient is not None for record in inventory.records)


def unknown(inventory: Inventory) -> str:
    """What the verdict has to say of patients; empty where all are known."""
    known, count = told(inventory), len(inventory.records)
    if known == count:
        return ""
    return UNKNOWN if not known else f"patients unknown for {count - known} of {count} images"
