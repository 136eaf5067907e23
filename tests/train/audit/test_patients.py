"""Radiographs of one patient stay together, whoever tells whose they are; and nothing says who that is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_runtime.errors import DataError
from tests.edge_runtime.dicom.dicom_files import CANARY, make_dataset, plant_canaries, to_bytes
from train.audit import cache as audit_cache
from train.audit import group_images, split_by_group, take_inventory
from train.audit.cli import main as edge_audit
from train.audit.findings import audit
from train.audit.grouping import keep_together
from train.audit.patients import unknown, with_groups
from train.audit.summary import summarise

from .conftest import draw_image, save


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """DICOM files of eight patients, three different radiographs each, with both labels, in split folders."""
    for seed in range(24):
        patient, split = seed % 8, ("train", "val", "test")[seed % 3]
        ds = make_dataset(draw_image(seed).astype(np.uint16) * 16, 12)
        plant_canaries(ds)
        ds.PatientID = f"{CANARY}-{patient}"
        path = tmp_path / "clinic" / split / ("fractured", "not_fractured")[seed // 12] / f"IM{seed:04}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_bytes(ds))
    return tmp_path / "clinic"


def write_table(path: Path, rows: dict[str, str]) -> Path:
    path.write_text("path,label,group\n" + "".join(f"{name},?,{group}\n" for name, group in rows.items()))
    return path


def test_dicom_files_of_one_patient_are_never_split(clinic: Path) -> None:
    inventory = take_inventory(clinic)
    radiographs = group_images(inventory)
    together = keep_together(inventory, radiographs)
    assert len(set(radiographs.tolist())) == 24
    assert len(set(together.tolist())) == 8
    splits = split_by_group(inventory, together, seed=0)
    for group in set(together.tolist()):
        assert len({split for split, own in zip(splits, together.tolist(), strict=True) if own == group}) == 1


def test_patients_in_two_splits_are_a_leak_and_both_labels_of_one_are_no_conflict(clinic: Path) -> None:
    findings = audit(clinic, shortcuts=False)
    assert not findings.fit
    assert any("8 patients in test are shared with train" in reason for reason in findings.reasons)
    assert findings.conflicts == ()
    assert findings.notes == ()
    assert len(findings.to_dict()["groups"]) == 8


def test_no_depth_is_told_of_files_that_store_several(clinic: Path) -> None:
    assert "\npixels: MONOCHROME2: 24\n" in summarise(audit(clinic, shortcuts=False))


def test_nothing_that_the_audit_leaves_names_a_patient(clinic: Path, tmp_path: Path) -> None:
    (clinic / "train" / "fractured" / "IM9999").write_bytes((clinic / "test/fractured/IM0002").read_bytes()[:-900])
    result = CliRunner().invoke(edge_audit, [str(clinic), "--json", "--out", str(tmp_path / "report")])
    assert json.loads(result.stdout)["patients"] == {"told": 24, "files": 24}
    assert CANARY not in result.output
    cache = audit_cache.cache_folder()
    left = [path for folder in (tmp_path / "report", cache) for path in folder.rglob("*") if path.is_file()]
    assert len(left) >= 3
    for path in left:
        assert CANARY.encode() not in path.read_bytes()
    assert (cache / "salt").stat().st_mode & 0o077 == 0


def test_a_table_tells_whose_images_are_and_joins_them(data: Path, tmp_path: Path) -> None:
    inventory = take_inventory(data)
    table = write_table(tmp_path / "groups.csv", {r.path: str(n // 4) for n, r in enumerate(inventory.records)})
    told = with_groups(inventory, table)
    assert len(set(keep_together(told, group_images(told)).tolist())) == 3
    assert unknown(told) == ""


def test_a_table_beside_the_data_is_about_it_and_not_left_out(data: Path) -> None:
    names = [record.path for record in take_inventory(data).records]
    table = write_table(data / "index.csv", dict.fromkeys(names[:3], "one"))
    findings = audit(data, shortcuts=False, table=table)
    assert findings.inventory.unreadable == ()
    assert findings.notes == ("patients unknown for 9 of 12 images",)
    assert len(findings.to_dict()["groups"]) == 10


def test_where_nobody_tells_patients_the_verdict_says_so(data: Path) -> None:
    result = CliRunner().invoke(edge_audit, [str(data)])
    assert "Patients unknown" in result.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "says"),
    [("a,b\n1,2\n", "columns path and group"), ("path,group\nelsewhere.png,1\n", "elsewhere.png"), ("", "columns")],
)
def test_a_table_about_something_else_is_refused(data: Path, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "groups.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        with_groups(take_inventory(data), tmp_path / "groups.csv")
    with pytest.raises(DataError, match="no such file"):
        with_groups(take_inventory(data), tmp_path / "absent.csv")


def test_a_copy_of_anothers_radiograph_joins_two_patients(data: Path, tmp_path: Path) -> None:
    save(draw_image(0), data / "fractured" / "copy.png")
    inventory = take_inventory(data)
    table = write_table(tmp_path / "groups.csv", {record.path: record.path for record in inventory.records})
    told = with_groups(inventory, table)
    assert len(set(keep_together(told, group_images(told)).tolist())) == 12
