"""What is no radiograph gets no decision, and its probability all the same; phantoms are never asked about."""

from __future__ import annotations

import dataclasses
import io
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edge_runtime import Predictor
from edge_runtime.radiograph_gate import colour_spread, look

MOST_MS = 5.0  # on a desktop; the smallest of several, for other programs run beside a test
RNG = np.random.default_rng(5)


def page_of_text() -> NDArray[np.uint8]:
    page = Image.new("L", (420, 560), 245)
    draw = ImageDraw.Draw(page)
    for row in range(20, 540, 16):
        draw.text((20, row), "the quick brown fox jumps over the lazy dog again and again", fill=20)
    return np.asarray(page)


NO_RADIOGRAPHS = {
    "constant": np.full((300, 200), 90, np.uint8),
    "nearly constant": np.clip(RNG.normal(120, 1, (300, 200)), 0, 255).astype(np.uint8),
    "noise": RNG.integers(0, 256, (300, 200), dtype=np.uint8),
    "text": page_of_text(),
    "checkers": (np.indices((256, 256)).sum(0) // 16 % 2 * 255).astype(np.uint8),
}


@pytest.mark.parametrize("kind", NO_RADIOGRAPHS)
def test_what_is_drawn_or_noise_is_no_radiograph(kind: str) -> None:
    verdict = look(NO_RADIOGRAPHS[kind])
    assert not verdict.is_radiograph
    assert verdict.reason.startswith("not a radiograph")


def test_phantoms_look_like_radiographs(golden_images: list[Path]) -> None:
    from train.phantom.scene import draw

    seen = [look(draw(0, index).image_u8) for index in range(40)]
    assert np.mean([verdict.is_radiograph for verdict in seen]) >= 0.95


def test_a_tint_is_no_colour_and_a_photograph_has_colours() -> None:
    sepia = np.broadcast_to(np.array([110, 150], np.uint8), (48, 48, 2))
    assert colour_spread(sepia) == 0.0
    assert colour_spread(RNG.integers(60, 200, (48, 48, 2), dtype=np.uint8)) > 20


def test_it_takes_no_time_that_anybody_waits_for() -> None:
    image = RNG.integers(0, 256, (2140, 1760), dtype=np.uint8)
    look(image)
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        look(image, np.zeros((48, 48, 2), np.uint8))
        taken.append((time.perf_counter() - start) * 1e3)
    assert min(taken) < MOST_MS


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3, 2), (2000, 1)])
def test_odd_shapes_are_no_radiographs(shape: tuple[int, int]) -> None:
    verdict = look(RNG.integers(0, 256, shape, dtype=np.uint8))
    assert not verdict.is_radiograph
    assert f"{shape[1]} x {shape[0]} pixels" in verdict.reason


def test_a_strip_of_a_radiograph_is_none() -> None:
    strip = np.tile(np.arange(40, dtype=np.uint8) * 5, (500, 1))
    assert "strip" in look(strip).reason
    assert "strip" not in look(strip[:400]).reason


@pytest.fixture
def of_radiographs(tiny_bundle: Path) -> Predictor:
    """The tiny network as if it had been trained on radiographs."""
    predictor = Predictor(tiny_bundle)
    spec = dataclasses.replace(predictor.model.spec, domain="radiograph")
    return Predictor(dataclasses.replace(predictor.model, spec=spec))


def as_png(image_u8: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image_u8).save(stream, "PNG")
    return stream.getvalue()


def test_only_the_decision_is_withheld(of_radiographs: Predictor, tiny_bundle: Path) -> None:
    page = as_png(NO_RADIOGRAPHS["text"])
    withheld, plain = of_radiographs.predict(page), Predictor(tiny_bundle).predict(page)
    assert (withheld.decision, withheld.probability, withheld.label) == ("abstain", plain.probability, plain.label)
    assert withheld.reason.startswith("not a radiograph")
    assert plain.decision != "abstain"  # a network of phantoms has no gate


def test_the_gate_can_be_left_open(of_radiographs: Predictor) -> None:
    open_gate = Predictor(of_radiographs.model, radiograph_gate=False)
    assert open_gate.predict(as_png(NO_RADIOGRAPHS["noise"])).decision != "abstain"


def test_colours_alone_withhold_a_decision(of_radiographs: Predictor, golden_images: list[Path]) -> None:
    grey = Image.open(golden_images[0]).convert("L").resize((96, 96))
    hues = Image.fromarray(RNG.integers(0, 256, (6, 6, 2), dtype=np.uint8)[..., 0]).resize((96, 96))
    image = Image.merge("YCbCr", (grey, hues, hues.rotate(90))).convert("RGB")
    assert of_radiographs.predict(as_png(np.asarray(image))).decision == "abstain"
