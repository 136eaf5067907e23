"""Changes of images are what they are called, and what they give away is told where it is more than chance."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.metrics import roc_auc_score

from export.evaluation.changes import ANGLES, FRAME, MARKERS, rotations, shortcut_changes
from export.evaluation.cli import main
from export.evaluation.judging import Answer
from export.evaluation.stress import some_of, stress
from export.evaluation.subjects import Subject, Subjects
from train.phantom.dataset import write_images

CHANGES = {f"{change.test} {change.setting}": change.apply for change in [*rotations(), *shortcut_changes()]}


def named(start: str):
    return next(apply for name, apply in CHANGES.items() if name.startswith(start))


@pytest.fixture(scope="module")
def bones_u8() -> np.ndarray:
    """(200, 160): a soft grey bone across the image."""
    y, x = np.mgrid[0:200, 0:160]
    return (30 + 120 * np.exp(-(((x - 80) / 20) ** 2)) + 20 * np.sin(y / 15)).astype(np.uint8)


def test_no_change_writes_into_the_image_that_it_is_given(bones_u8):
    before = bones_u8.copy()
    for apply in CHANGES.values():
        changed = apply(bones_u8)
        assert changed.dtype == np.uint8 and changed.ndim == 2
    np.testing.assert_array_equal(bones_u8, before)


def test_a_quarter_turn_is_exact_and_any_turn_cuts_nothing_off(bones_u8):
    np.testing.assert_array_equal(named("rotation 90")(bones_u8), np.rot90(bones_u8))
    turned = named("rotation 45")(bones_u8)
    assert min(turned.shape) > 200 and turned[0, 0] == 0
    assert turned.sum() == pytest.approx(bones_u8.sum(), rel=0.02)


def test_a_shift_moves_and_fills_with_black(bones_u8):
    moved = named("shift 10%")(bones_u8)
    np.testing.assert_array_equal(moved[20:, 16:], bones_u8[:-20, :-16])
    assert not moved[:20].any() and not moved[:, :16].any()


def test_coarser_images_are_means(bones_u8):
    coarse = named("resolution 1/4")(bones_u8)
    assert coarse.shape == (50, 40)
    means = bones_u8.reshape(50, 4, 40, 4).mean(axis=(1, 3))
    assert np.abs(coarse - means).max() <= 1


def test_the_border_alone_has_no_bone(bones_u8):
    alone = named("border alone")(bones_u8)
    down, right = round(FRAME * 200), round(FRAME * 160)
    assert not alone[down:-down, right:-right].any()
    np.testing.assert_array_equal(alone[:down], bones_u8[:down])
    np.testing.assert_array_equal(alone[:, -right:], bones_u8[:, -right:])


def test_a_mark_is_hidden_and_the_bone_stays(bones_u8):
    marked = bones_u8.copy()
    marked[10:22, 8:10] = marked[20:22, 8:16] = 255  # an L
    hidden = named(MARKERS)(marked)
    assert hidden[8:24, 6:18].max() < 80
    outside = np.ones(marked.shape, bool)
    outside[6:26, 4:20] = False
    np.testing.assert_array_equal(hidden[outside], bones_u8[outside])


def test_a_bright_bone_is_no_mark(bones_u8):
    np.testing.assert_array_equal(named(MARKERS)(bones_u8), bones_u8)


class OfBorder:
    """A network that looks at the border alone, and so cheats."""

    class spec:  # noqa: N801, stands for the spec of a network
        threshold = 0.5

    sha256 = "0" * 64

    def answer(self, source):
        import io

        grey_u8 = np.asarray(Image.open(io.BytesIO(source) if isinstance(source, bytes) else source))
        return float(grey_u8[0].mean()) / 255, False, ""


def test_a_network_that_reads_the_border_is_found_out(tmp_path, bones_u8):
    rng = np.random.default_rng(0)
    subjects, judge = [], OfBorder()
    for number in range(40):
        image_u8 = bones_u8.copy()
        image_u8[:3] = 200 if number % 2 else 40
        image_u8 = np.clip(image_u8.astype(int) + rng.integers(-9, 9, image_u8.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image_u8).save(tmp_path / f"{number}.png")
        subjects.append(Subject(f"{number}.png", f"{number:064x}", number, number % 2, ""))
    images = Subjects(tmp_path, tuple(subjects), (), "folder", "")
    answers = [Answer(one.path, {"m": judge.answer(tmp_path / one.path)[0]}, False, "") for one in subjects]
    rows = stress(images, answers, judge, shortcut_changes(), lambda *_: None, tmp_path / "kept")
    by_test = {row.test: row for row in rows}
    assert by_test["border alone"].remark == "tells fractures without the bone"
    assert by_test["border alone"].auc.value == 1.0 and by_test["border alone"].decisions_changed.value == 0.0
    assert all(row.p is not None for row in rows)
    assert by_test["shift"].decisions_changed.value == 0.5 and "worse" in by_test["shift"].remark


def test_what_few_radiographs_show_is_not_told_and_all_looks_are_counted(tmp_path, bones_u8):
    from export.evaluation.stress import StressRow, _remarked
    from train.metrics import Estimate

    worse = Estimate(-0.1, -0.2, -0.01)
    rows = [
        StressRow("shift", f"{number}%", 40, 40, worse, worse, worse, 0.0, p)
        for number, p in enumerate([0.001, 0.04, 0.04, None])
    ]
    told = _remarked(rows)
    assert [row.p for row in told] == [0.003, 0.08, 0.08, None]
    assert [row.remark for row in told] == ["worse than unchanged", "", "", ""]


def test_changed_images_are_chosen_evenly_and_one_a_radiograph(tmp_path):
    images = [Subject(f"{n}.png", f"{n:064x}", n // 2, int(n // 2 < 10), "") for n in range(200)]
    answers = [Answer(one.path, {"m": 0.5} if one.path != "0.png" else {}, False, "") for one in images]
    chosen, given = some_of(Subjects(tmp_path, tuple(images), (), "folder", ""), answers, 40)
    assert len(chosen.images) == len(given) == len({image.group for image in chosen.images}) == 40
    assert sum(image.label for image in chosen.images) == 10
    assert [answer.path for answer in given] == [image.path for image in chosen.images]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_images(folder, {"test": 12}, 3, 1)
    return folder / "test"


@pytest.mark.slow
def test_the_figures_of_turned_images_are_those_of_images_that_were_turned_before(phantoms, tiny_bundle, tmp_path):
    turned = tmp_path / "turned"
    for path in phantoms.rglob("*.png"):
        target = turned / path.relative_to(phantoms)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).rotate(90, expand=True).save(target)
    arguments = [str(tiny_bundle), str(phantoms), "--out", str(tmp_path / "out"), "--rotation", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["changed_images"]
    assert [row["setting"] for row in rows] == [f"{angle}°" for angle in ANGLES]
    row = next(row for row in rows if row["setting"] == "90°")
    again = CliRunner().invoke(main, [str(tiny_bundle), str(turned), "--out", str(tmp_path / "again")])
    assert again.exit_code == 0, again.output
    with (tmp_path / "again" / "predictions.csv").open(newline="") as stream:
        answers = list(csv.DictReader(stream))
    labels, probabilities = ([float(one[name]) for one in answers] for name in ("label", "probability"))
    assert row["auc"]["value"] == pytest.approx(roc_auc_score(labels, probabilities)) and row["images"] == 12
