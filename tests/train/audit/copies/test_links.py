"""Copies are found whatever was done to them, with what was done; different radiographs are left apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from train.audit import group_images, take_inventory
from train.audit.copies.coherence import phase_coherence
from train.audit.copies.links import Link, describe, find_links, unique_images
from train.audit.copies.matching import COHERENT_LEAST, Matcher
from train.audit.inventory import Inventory
from train.phantom import draw

from ..conftest import draw_radiograph, save

BICUBIC = Image.Resampling.BICUBIC
ANGLE_TOLERANCE = 1.5  # degrees; an affine map that fits best need not be a pure rotation
SCALE_TOLERANCE = 0.04
PHANTOM_SEED, PHANTOMS, ROTATED, CROPPED = 901, 120, 20, 20

COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned a little": lambda image: image.rotate(4, BICUBIC),
    "turned, black corners": lambda image: image.rotate(37, BICUBIC),
    "turned, white corners": lambda image: image.rotate(-120, BICUBIC, fillcolor=255),
    "turned, frame grown": lambda image: image.rotate(30, BICUBIC, expand=True),
    "upside down": lambda image: image.rotate(180),
    "mirrored": ImageOps.mirror,
    "mirrored, turned": lambda image: ImageOps.mirror(image).rotate(63, BICUBIC),
    "smaller": lambda image: image.resize((110, 122), BICUBIC),
    "squashed": lambda image: image.resize((224, 160), BICUBIC),
    "cropped": lambda image: image.crop((8, 4, 174, 192)),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
}


def plant(folder: Path) -> None:
    """One copy of each kind, each of another radiograph, and three radiographs without any."""
    for seed, copy in enumerate(COPIES.values()):
        image = Image.fromarray(draw_radiograph(seed))
        image.save(folder_of(folder, seed) / f"{seed}.png")
        copy(image).save(folder_of(folder, seed) / f"{seed}-copy.png")
    for seed in range(100, 103):
        save(draw_radiograph(seed), folder_of(folder, seed) / f"{seed}.png")


def folder_of(folder: Path, seed: int) -> Path:
    target = folder / ("fractured" if seed % 2 else "normal")
    target.mkdir(parents=True, exist_ok=True)
    return target


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inventory, tuple[Link, ...]]:
    folder = tmp_path_factory.mktemp("planted")
    plant(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("planted_cache")))
        inventory = take_inventory(folder)
        return inventory, find_links(inventory)


def link_of(planted: tuple[Inventory, tuple[Link, ...]], kind: str) -> tuple[Link, bool]:
    """The link between a source and its copy, and whether the copy is its second end."""
    inventory, links = planted
    seed = list(COPIES).index(kind)
    stems = {record.pixels_sha256: Path(record.path).stem for record in inventory.records}
    for link in links:
        if {stems[link.first], stems[link.second]} == {f"{seed}", f"{seed}-copy"}:
            return link, stems[link.second].endswith("copy")
    raise LookupError(f"no link for {kind!r}")


@pytest.mark.parametrize("kind", COPIES)
def test_copy_is_found(planted: tuple[Inventory, tuple[Link, ...]], kind: str) -> None:
    link, _ = link_of(planted, kind)
    assert link.accepted
    assert link.mirrored == ("mirrored" in kind)


def test_different_radiographs_are_not_linked(planted: tuple[Inventory, tuple[Link, ...]]) -> None:
    inventory, links = planted
    stems = {record.pixels_sha256: Path(record.path).stem for record in inventory.records}
    sources = [{stems[link.first].split("-")[0], stems[link.second].split("-")[0]} for link in links]
    assert all(len(source) == 1 for source in sources)


@pytest.mark.parametrize(
    ("kind", "angle"), [("turned a little", 4), ("turned, black corners", 37), ("turned, white corners", -120)]
)
def test_link_tells_the_angle(planted: tuple[Inventory, tuple[Link, ...]], kind: str, angle: float) -> None:
    link, forward = link_of(planted, kind)
    assert link.angle == pytest.approx(angle if forward else -angle, abs=ANGLE_TOLERANCE)
    assert link.scale == pytest.approx(1, abs=SCALE_TOLERANCE)


def test_link_tells_the_scale(planted: tuple[Inventory, tuple[Link, ...]]) -> None:
    link, forward = link_of(planted, "smaller")
    factor = 110 / 180
    assert link.scale == pytest.approx(factor if forward else 1 / factor, abs=SCALE_TOLERANCE)


def test_a_mirror_image_turned_is_described_as_both() -> None:
    angle = np.radians(30)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = describe(2 * turned @ np.diag([-1.0, 1.0]))
    assert found == {"angle": -30.0, "mirrored": True, "scale": 2.0}


def test_second_search_reads_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = take_inventory(data)
    groups = group_images(inventory)

    def refuse(*_: object) -> None:
        raise RuntimeError("images were read again")

    monkeypatch.setattr(Matcher, "__init__", refuse)
    monkeypatch.setattr("train.audit.contents._decode", refuse)
    again = take_inventory(data)
    assert again == inventory
    assert (group_images(again) == groups).all()


def test_a_changed_file_is_read_again(data: Path) -> None:
    before = take_inventory(data)
    save(draw_radiograph(50), data / "fractured" / "1.png")
    after = take_inventory(data)
    changed = {a.path for a, b in zip(after.records, before.records, strict=True) if a != b}
    assert changed == {"fractured/1.png"}


def test_identical_files_are_one_image(data: Path) -> None:
    copy = data / "fractured" / "copy.png"
    copy.write_bytes((data / "fractured" / "1.png").read_bytes())
    inventory = take_inventory(data)
    assert len(unique_images(inventory)) == 12
    assert len(set(group_images(inventory).tolist())) == 12


def crop_unevenly(image: Image.Image, seed: int) -> Image.Image:
    """Up to 8 % less at each side, so that both size and centre move."""
    left, top, right, bottom = np.random.default_rng(seed).uniform(0, 0.08, 4)
    width, height = image.size
    return image.crop((int(left * width), int(top * height), int(width * (1 - right)), int(height * (1 - bottom))))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Inventory, tuple[Link, ...]]:
    """Independent phantoms, many of one anatomy in one pose, and a rotated or a cropped copy of some."""
    folder = tmp_path_factory.mktemp("phantoms")
    for index in range(PHANTOMS):
        image = Image.fromarray(draw(PHANTOM_SEED, index).image_u8)
        image.save(folder_of(folder, index) / f"{index}.png")
        if index < ROTATED:
            image.rotate(9 + 17 * index, BICUBIC).save(folder_of(folder, index) / f"{index}-copy.png")
        elif index < ROTATED + CROPPED:
            crop_unevenly(image, index).save(folder_of(folder, index) / f"{index}-copy.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.audit.cache.cache_folder", lambda: folder.parent / "phantoms_cache")
        inventory = take_inventory(folder)
        return inventory, find_links(inventory)


def phantom_links(phantoms: tuple[Inventory, tuple[Link, ...]]) -> set[frozenset[str]]:
    inventory, links = phantoms
    stems = {record.pixels_sha256: Path(record.path).stem for record in inventory.records}
    return {frozenset((stems[link.first], stems[link.second])) for link in links if link.accepted}


def test_independent_phantoms_are_not_linked(phantoms: tuple[Inventory, tuple[Link, ...]]) -> None:
    sources = [{stem.split("-")[0] for stem in link} for link in phantom_links(phantoms)]
    assert all(len(source) == 1 for source in sources)


def test_rotated_phantoms_are_all_found(phantoms: tuple[Inventory, tuple[Link, ...]]) -> None:
    assert phantom_links(phantoms) >= {frozenset((f"{index}", f"{index}-copy")) for index in range(ROTATED)}


def test_cropped_phantoms_are_all_found(phantoms: tuple[Inventory, tuple[Link, ...]]) -> None:
    cropped = range(ROTATED, ROTATED + CROPPED)
    assert phantom_links(phantoms) >= {frozenset((f"{index}", f"{index}-copy")) for index in cropped}


def test_strong_edges_alone_are_not_coherent() -> None:
    rng = np.random.default_rng(0)
    edge = np.where(np.arange(96) < 48, -4.0, 4.0) * np.ones((96, 1))
    first, second = (edge + rng.standard_normal((96, 96)) for _ in range(2))
    pair = first[None].astype(np.float32), second[None].astype(np.float32)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9
    assert phase_coherence(*pair)[0] < COHERENT_LEAST
    assert phase_coherence(pair[0], 3 * pair[0])[0] == pytest.approx(1)
