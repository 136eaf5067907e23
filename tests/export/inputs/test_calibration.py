"""Calibration images are checked, never guessed."""

from __future__ import annotations

import csv
import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import DataError
from edge_runtime.spec import ModelSpec
from export.inputs.calibration import load_calibration, load_folder, rows_shared_with
from train.phantom import draw

SPEC = ModelSpec("cnn", 32, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "phantom")


@pytest.fixture
def folder(tmp_path):
    """Twelve images of noise in two class folders, without a manifest."""
    chance = np.random.default_rng(1)
    for index in range(12):
        parent = tmp_path / SPEC.labels[index % 2]
        parent.mkdir(exist_ok=True)
        Image.fromarray(chance.integers(40, 200, (48, 40), dtype=np.uint8)).save(parent / f"{index:02d}.png")
    return tmp_path


def test_a_plain_folder_is_labelled_by_its_class_folders(folder):
    calibration = load_calibration(folder, SPEC)
    assert calibration.images_u8.shape == (12, 32, 32)
    assert sorted(calibration.labels) == [0] * 6 + [1] * 6
    assert not calibration.phantoms


def test_inputs_span_exactly_zero_to_one_and_leave_the_images_alone(folder):
    calibration = load_calibration(folder, SPEC)
    before = calibration.images_u8.copy()
    inputs = np.concatenate(list(calibration.inputs()))
    assert inputs.shape == (12, 32, 32, 1) and inputs.dtype == np.float32
    assert (inputs.min(), inputs.max()) == (0.0, 1.0)
    assert np.array_equal(calibration.images_u8, before)


def test_an_altered_image_is_refused(make_run):
    folder = make_run("cnn") / "calibration"
    Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save(folder / "020.png")
    with pytest.raises(DataError, match="020.png: its SHA-256 is not the manifest's"):
        load_calibration(folder, SPEC)


def test_a_missing_image_is_refused(make_run):
    folder = make_run("cnn") / "calibration"
    (folder / "021.png").unlink()
    with pytest.raises(DataError, match="021.png: named in manifest.csv and missing"):
        load_calibration(folder, SPEC)


def test_fewer_than_ten_images_are_refused(folder):
    shutil.rmtree(folder / "fractured")
    with pytest.raises(DataError, match="6 calibration images; at least 10"):
        load_calibration(folder, SPEC)


def test_no_folder_is_an_error_that_says_what_to_give(tmp_path):
    with pytest.raises(DataError, match="--calibration DIR"):
        load_calibration(tmp_path / "nowhere", SPEC)


def test_one_class_alone_is_refused(folder):
    for path in (folder / "fractured").iterdir():
        path.rename(folder / "not fractured" / path.name)
    with pytest.raises(DataError, match="both classes"):
        load_calibration(folder, SPEC)


def test_blank_images_are_refused(folder):
    Image.new("L", (40, 40)).save(folder / "fractured" / "blank.png")
    with pytest.raises(DataError, match="1 of 13 images are blank"):
        load_calibration(folder, SPEC)


def test_photographs_are_refused(folder):
    chance = np.random.default_rng(2)
    for index in range(12):
        Image.fromarray(chance.integers(0, 255, (48, 40, 3), dtype=np.uint8)).save(folder / f"photo{index}.png")
    with pytest.raises(DataError, match="12 of 24 images are in colour"):
        load_calibration(folder, SPEC)


def test_grey_images_saved_in_colour_are_accepted(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    assert len(load_calibration(folder, SPEC)) == 12


def test_images_prepared_for_a_network_of_another_size_are_refused(make_run):
    folder = make_run("cnn") / "calibration"
    with pytest.raises(DataError, match="32 x 32 pixels, made for a network of that size; 64 x 64 were expected"):
        load_calibration(folder, dataclasses.replace(SPEC, size=64))


def test_thumbnails_are_refused(folder):
    with pytest.raises(DataError, match="40 x 48 pixels, too small for a network of 224 x 224"):
        load_calibration(folder, dataclasses.replace(SPEC, size=224))


def test_what_cannot_be_read_is_left_out_and_all_of_it_said_by_the_kind_of_image(folder, caplog):
    caplog.set_level("WARNING", "export")
    for name in ("fractured/01.png", "not fractured/04.png"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-200])
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(folder / "fractured" / "tiny.png")
    given = load_folder(folder, SPEC, fewest=1, kind="evaluation")
    assert len(given) == len(given.paths) == len(given.labels) == 10
    assert [line.partition(": ")[0] for line in caplog.messages] == ["left out, an evaluation image"] * 3
    said = "\n".join(caplog.messages)
    assert "01.png" in said and "04.png" in said and "tiny.png: 8 x 8 pixels, too small" in said
    assert len(load_calibration(folder, SPEC)) == 10


def test_too_few_that_can_be_read_are_one_line_with_the_reasons(folder):
    for number in (1, 3, 5, 7):
        (folder / "fractured" / f"{number:02d}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="8 of 12 calibration images can be used, at least 10.*01.png.*and 1 more$"):
        load_calibration(folder, SPEC)


def test_a_manifest_with_a_seed_column_means_phantoms(make_run):
    folder = make_run("cnn") / "calibration"
    with (folder / "manifest.csv").open(newline="") as stream:
        rows = [{"path": row["path"], "sha256": row["sha256"], "label": row["label"]} for row in csv.DictReader(stream)]
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("path", "sha256", "label", "seed", "index"))
        writer.writeheader()
        writer.writerows({**row, "seed": 1, "index": index} for index, row in enumerate(rows))
    calibration = load_calibration(folder, SPEC)
    assert calibration.phantoms and calibration.source_sha256 == calibration.sha256


def test_images_shared_with_the_test_split_are_found_by_file_and_by_pixels(folder):
    calibration = load_calibration(folder, SPEC)
    by_file = rows_shared_with(calibration, [calibration.source_sha256[3]], [])
    by_pixels = rows_shared_with(calibration, ["0" * 64], [calibration.images_u8[5]])
    assert (by_file, by_pixels) == ([3], [5])
    assert len(calibration.without([3, 5])) == 10


@pytest.mark.parametrize("label", ["not fractured", "not_fractured", "Not-Fractured"])
@pytest.mark.parametrize("folder", ["not fractured", "not_fractured", "NOT-fractured"])
def test_a_class_folder_is_known_however_its_words_are_joined(tmp_path, label, folder):
    for name in (folder, "fractured", "else"):
        (tmp_path / name).mkdir()
        Image.fromarray(draw(3, len(name)).image_u8).save(tmp_path / name / "image.png")
    spec = ModelSpec("cnn", 32, "pad", "bilinear", (label, "fractured"), 0.5, "phantom")
    given = load_folder(tmp_path, spec, fewest=1)
    assert dict(zip([path.parent.name for path in given.paths], given.labels, strict=True)) == {
        folder: 0,
        "fractured": 1,
        "else": None,
    }
