"""How fast this machine judges: the figures of `edge-infer --bench`, measured through the same path as any answer."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.bundle import model_path
from edge_runtime.errors import ModelError
from edge_runtime.images import find_images
from edge_runtime.predictor import Predictor
from edge_runtime.process_facts import peak_memory_bytes, seconds_since_start, temperature_celsius, throttling
from edge_runtime.self_test import GOLDEN

PERCENTILES = (50, 90, 99)
PARTS = ("decode", "preprocess", "inference")
_NOT_TOLD = "not told by this system"


@dataclass(frozen=True)
class BenchResult:
    """What was measured. None stands for what the kernel does not tell."""

    model: str  # name of the network and file
    engine: str  # name and version
    machine: str  # processor architecture
    images: int  # different ones
    repetitions: int  # of each image
    milliseconds: dict[str, dict[str, float]]  # part or `total` -> `median`, `percentile_90`, `percentile_99`
    first_answer_s: float | None  # seconds from the start of the process until the first image was judged
    peak_memory_mb: float | None  # most memory resident so far, 10^6 bytes
    temperature_before: float | None  # of the processor, degrees Celsius
    temperature_after: float | None  # the same
    throttling: list[str] | None  # what slows a Raspberry Pi down; empty: nothing

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)

    def to_table(self) -> str:
        """Lines of text for people."""
        lines = [
            f"{self.model}, {self.engine}, {self.machine}; {self.images} images, {self.repetitions} times each",
            f"{'milliseconds':<14}{'median':>10}{'90 %':>10}{'99 %':>10}",
            *(
                f"{part:<14}" + "".join(f"{value:>10.2f}" for value in spread.values())
                for part, spread in self.milliseconds.items()
            ),
            f"first answer  {_told(self.first_answer_s, '.2f', ' s after the start of the process')}",
            f"peak memory   {_told(self.peak_memory_mb, '.1f', ' MB')}",
            f"temperature   {_told(self.temperature_before, '.1f', ' °C before')}"
            + (f", {self.temperature_after:.1f} °C after" if self.temperature_after is not None else ""),
            f"throttling    {_NOT_TOLD if self.throttling is None else ', '.join(self.throttling) or 'none'}",
        ]
        return "\n".join(lines)


def bench_images(model: Path | str | None, paths: list[Path]) -> list[Path]:
    """The images to measure with: those given, else the golden images of the bundle.

    Raises:
        ModelError: neither are there.
    """
    if paths:
        return find_images(paths)
    golden = model_path(model) / GOLDEN
    if not golden.is_dir():
        raise ModelError(f"{golden}: no golden images there; give images to measure with")
    return find_images([golden])


def run_bench(
    predictor: Predictor, images: list[Path], repetitions: int, tick: Callable[[], None] = lambda: None
) -> BenchResult:
    """Judges every image so many times.

    Args:
        predictor: freshly made, so that the first answer is the first.
        images: at least one.
        repetitions: of each; at least 1.
        tick: called after each image.

    Raises:
        ImageError: an image cannot be judged.
        StorageError: it cannot be read.
    """
    before = temperature_celsius()
    prediction = predictor.predict(images[0])  # slower than all others, so it is told by itself
    first_answer_s = seconds_since_start()
    measured = []
    for _ in range(repetitions):
        for image in images:
            milliseconds = predictor.predict(image).milliseconds
            measured.append([milliseconds[part] for part in PARTS])
            tick()
    peak = peak_memory_bytes()
    return BenchResult(
        model=prediction.model,
        engine=prediction.engine,
        machine=platform.machine(),
        images=len(images),
        repetitions=repetitions,
        milliseconds=_spreads(measured),
        first_answer_s=None if first_answer_s is None else round(first_answer_s, 3),
        peak_memory_mb=None if peak is None else round(peak / 1e6, 1),
        temperature_before=before,
        temperature_after=temperature_celsius(),
        throttling=throttling(),
    )


def _spreads(measured: list[list[float]]) -> dict[str, dict[str, float]]:
    """The percentiles of each part, and of their sum, over all images."""
    parts = np.array(measured)
    columns = {**dict(zip(PARTS, parts.T, strict=True)), "total": parts.sum(axis=1)}
    names = ("median", *(f"percentile_{percentile}" for percentile in PERCENTILES[1:]))
    return {
        part: {
            name: round(float(value), 3) for name, value in zip(names, np.percentile(column, PERCENTILES), strict=True)
        }
        for part, column in columns.items()
    }


def _told(value: float | None, form: str, unit: str) -> str:
    return _NOT_TOLD if value is None else f"{value:{form}}{unit}"
