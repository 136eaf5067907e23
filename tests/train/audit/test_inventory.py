"""The inventory reads everything, leaves out what is no image, and says clearly why there is nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError, StorageError
from train.audit import group_images, take_inventory
from train.audit.classes import resolve_labels

from .conftest import draw_image, save


def test_records_are_sorted_and_labelled_by_folder(data: Path) -> None:
    inventory = take_inventory(data)
    paths = [record.path for record in inventory.records]
    assert paths == sorted(paths)
    assert inventory.labels == ("not fractured", "fractured")
    assert {record.label for record in inventory.records if record.path.startswith("fractured/")} == {1}
    assert {record.split for record in inventory.records} == {None}
    first = inventory.records[0]
    assert (first.width, first.height, first.mode, first.format) == (96, 120, "L", "PNG")


def test_splits_come_from_the_top_folders(tmp_path: Path) -> None:
    for seed, folder in enumerate(["train/pos", "train/neg", "Validation/pos", "valid/neg", "test/pos"]):
        save(draw_image(seed), tmp_path / folder / "a.png")
    save(draw_image(9), tmp_path / "extra" / "a.png")
    inventory = take_inventory(tmp_path)
    assert [record.split for record in inventory.records] == ["val", "test", "train", "train", "val"]
    assert [item.path for item in inventory.unreadable] == ["extra/a.png"]


def test_what_is_no_image_is_listed_with_its_reason(data: Path) -> None:
    (data / "index.csv").write_text("a,b\n")
    (data / "fractured" / "desktop.ini").write_text("[x]\n")
    (data / "fractured" / "empty.png").touch()
    save(np.full((50, 50), 90, np.uint8), data / "fractured" / "blank.png")
    whole = save(draw_image(77), data / "fractured" / "cut.jpg")
    whole.write_bytes(whole.read_bytes()[:-900])
    (data / "fractured" / "gone.png").symlink_to(data / "nowhere.png")
    os.mkfifo(data / "fractured" / "pipe.png")
    inventory = take_inventory(data)
    why = {item.path: item.why for item in inventory.unreadable}
    assert len(inventory.records) == 12
    assert "index.csv" not in why  # it is about the images, and none of them
    assert "known format" in why["fractured/desktop.ini"]
    assert "empty" in why["fractured/empty.png"]
    assert "blank" in why["fractured/blank.png"]
    assert "truncated" in why["fractured/cut.jpg"]
    assert "link" in why["fractured/gone.png"]
    assert "neither" in why["fractured/pipe.png"]


def test_circles_of_links_end(data: Path) -> None:
    (data / "fractured" / "loop").symlink_to(data)
    (data / "fractured" / "up").symlink_to(data.parent)
    inventory = take_inventory(data)
    assert len(inventory.records) == 12
    assert {item.path for item in inventory.unreadable} == {"fractured/loop", "fractured/up"}


def test_a_link_out_of_the_data_set_is_followed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(data / "fractured", elsewhere / "fractured")
    (data / "fractured").symlink_to(elsewhere / "fractured")
    assert len(take_inventory(data).records) == 12


def test_names_in_any_script(tmp_path: Path) -> None:
    for seed, folder in enumerate(["骨折", "正常"]):
        save(draw_image(seed), tmp_path / folder / "снимок 💀.png")
    with pytest.raises(DataError, match="--positive"):
        take_inventory(tmp_path)
    assert take_inventory(tmp_path, positive="骨折").labels == ("正常", "骨折")


@pytest.mark.parametrize("content", ["missing", "file", "empty", "one class", "corrupt"])
def test_nothing_to_work_with_is_a_data_error(tmp_path: Path, content: str) -> None:
    root = tmp_path / "data"
    if content == "file":
        root.write_text("x")
    elif content != "missing":
        root.mkdir()
    if content == "one class":
        save(draw_image(0), root / "fractured" / "a.png")
    if content == "corrupt":
        (root / "fractured").mkdir()
        (root / "fractured" / "a.png").write_text("no image")
    with pytest.raises(DataError):
        take_inventory(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_a_storage_error(data: Path) -> None:
    (data / "fractured").chmod(0)
    try:
        with pytest.raises(StorageError, match="cannot be listed"):
            take_inventory(data)
    finally:
        (data / "fractured").chmod(0o755)


def test_a_file_without_permission_is_left_out(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.open

    def guarded(self: Path, *args: str, **options: str) -> object:
        if self.name == "1.png":
            raise PermissionError(13, "Permission denied")
        return whole(self, *args, **options)

    monkeypatch.setattr(Path, "open", guarded)
    inventory = take_inventory(data)
    assert [(item.path, item.why) for item in inventory.unreadable] == [
        ("fractured/1.png", "no permission to read the file")
    ]


def test_sizes_and_depths_of_any_kind_are_read(data: Path) -> None:
    save(draw_image(60, (7, 90)), data / "fractured" / "strip.png")
    save(draw_image(61, (9, 8)), data / "fractured" / "tiny.png")
    save(draw_image(62).astype(np.uint16) * 16, data / "fractured" / "twelve bits.png")
    inventory = take_inventory(data)
    assert len(inventory.records) == 15
    assert len(set(group_images(inventory).tolist())) == 15


@pytest.mark.parametrize(
    "names",
    [("Not_Fractured", "Fractured"), ("non-frac", "frac"), ("normal", "broken"), ("healthy", "fracture"), ("0", "1")],
)
def test_class_names_are_recognised(names: tuple[str, str]) -> None:
    assert resolve_labels(sorted(names), None) == names


@pytest.mark.parametrize("names", [["fracture", "broken"], ["a", "b"], ["a", "b", "fractured"]])
def test_ambiguous_class_names_are_refused(names: list[str]) -> None:
    with pytest.raises(DataError):
        resolve_labels(names, None)


def test_exif_orientation_counts_in_size(data: Path) -> None:
    image = Image.fromarray(draw_image(5))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(data / "fractured" / "turned.jpg", exif=exif)
    record = next(record for record in take_inventory(data).records if record.path.endswith("turned.jpg"))
    assert (record.width, record.height) == (120, 96)
