"""A cleaned copy is complete and honest, or does not exist."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest
from PIL import Image

from edge_runtime.errors import DataError
from train.audit import group_images, leak_matrix, split_by_folders, take_inventory
from train.audit.cleaning import write_clean
from train.audit.findings import audit

from .conftest import draw_radiograph, save


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Eight radiographs, each with a turned copy, the two in different splits."""
    root = tmp_path / "data"
    for seed in range(8):
        folder = "fractured" if seed % 2 else "not fractured"
        image = draw_radiograph(seed)
        save(image, root / "train" / folder / f"{seed}.png")
        path = root / "test" / folder / f"{seed}-rotated1.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).rotate(25, Image.Resampling.BICUBIC).save(path)
    return root


def snapshot(root: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("keep", "count"), [(False, 8), (True, 16)])
def test_no_radiograph_is_split_in_the_cleaned_copy(copied: Path, tmp_path: Path, keep: bool, count: int) -> None:
    before = snapshot(copied)
    assert write_clean(audit(copied), tmp_path / "clean", keep, seed=0) == count
    assert snapshot(copied) == before
    inventory = take_inventory(tmp_path / "clean")
    assert len(inventory.records) == count
    assert leak_matrix(split_by_folders(inventory), group_images(inventory)).leaking_groups == 0
    assert inventory.labels == ("not_fractured", "fractured")


def test_index_links_each_file_to_its_origin(copied: Path, tmp_path: Path) -> None:
    write_clean(audit(copied), tmp_path / "clean", keep_copies=True, seed=0)
    with (tmp_path / "clean" / "index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 16
    for row in rows:
        content = (tmp_path / "clean" / row["file"]).read_bytes()
        assert content == (copied / row["origin"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert f"_g{int(row['group']):04}_{row['member']}_{row['sha256'][:8]}" in row["file"]


def test_the_representative_is_the_original(copied: Path, tmp_path: Path) -> None:
    write_clean(audit(copied), tmp_path / "clean", keep_copies=False, seed=0)
    with (tmp_path / "clean" / "index.csv").open(newline="") as stream:
        assert not [row for row in csv.DictReader(stream) if "rotated" in row["origin"]]


def test_a_failure_leaves_nothing_behind(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = audit(copied)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("train.audit.cleaning.shutil.copyfile", fail)
    with pytest.raises(OSError, match="No space"):
        write_clean(findings, tmp_path / "clean", keep_copies=False, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_existing_target_and_one_inside_the_original_are_refused(copied: Path, tmp_path: Path) -> None:
    findings = audit(copied)
    (tmp_path / "there").mkdir()
    for target in (tmp_path / "there", copied / "clean"):
        with pytest.raises(DataError):
            write_clean(findings, target, keep_copies=False, seed=0)
