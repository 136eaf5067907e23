"""Image in, decision out: the one path that the command line, the library and the tests share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.bundle import ModelFile, model_path, open_model
from edge_runtime.engines import AUTO, Engine, open_engine
from edge_runtime.engines.probe import probe_once
from edge_runtime.errors import ImageError
from edge_runtime.heatmap import OUTPUT as HEATMAP
from edge_runtime.heatmap import heatmap_of
from edge_runtime.images import STANDARD_INPUT, DecodedImage, read_image
from edge_runtime.limits import DEFAULT_LIMITS, Limits
from edge_runtime.preprocess import preprocess
from edge_runtime.spec import ModelSpec

_ROUNDING = 1e-6  # of a sigmoid in float32
# With each answer of a network that was trained on generated images.
PHANTOM_WARNING = "the network knows generated phantoms alone: its answer says nothing about a real radiograph"

# With the mean of several directions.
TURNED_WARNING = "the network's coverage was measured on images judged in one direction, and is not promised of several"

TURNS = (1, 2, 4)  # in how many directions an image may be judged

# With each answer of any other network to such an image.
OF_PHANTOM_WARNING = "the image is a generated phantom, and the network never learnt from phantoms"

FRACTURED, NOT_FRACTURED, ABSTAIN = "fractured", "not fractured", "abstain"


@dataclass(frozen=True)
class Prediction:
    """The judgement of one image."""

    path: str  # as given; `-` for standard input
    label: str  # the data set's name of the class
    probability: float  # of a fracture, 0 to 1
    threshold: float  # at or above it the decision is `fractured`
    decision: str  # `fractured`, `not fractured` or `abstain`
    reason: str  # why the decision is what it is
    model: str  # name of the network and file
    model_sha256: str  # of the model file without its embedded spec
    engine: str  # name and version
    engine_settings: dict[str, str | int]  # what was set for this session, such as ONNX Runtime's precision on x86
    milliseconds: dict[str, float]  # `decode`, `preprocess`, `inference`
    domain: str  # what the network was trained on: `radiograph` or `phantom`
    depth: int  # bits of a pixel that mean something
    depth_from: str  # what decided which value is white: a tag of the file, `values`, or `file` where it has 8 bits
    warnings: list[str] = field(default_factory=list)  # what makes the answer doubtful, for people

    heatmap: dict[str, Any] | None = None  # as `Heatmap.to_dict` has it; None unless it was asked for
    coverage: dict[str, Any] | None = None  # `level`, and the decisions that it leaves `open`; None without one
    pixels: dict[str, float] | None = None  # `mean` and `deviation` of what the network saw, 0 to 255; likewise

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types; what was not asked for, or the network does not have, is left out."""
        record = asdict(self)
        for name in ("heatmap", "coverage", "pixels"):
            if record[name] is None:
                del record[name]
        return record


class Predictor:
    """A loaded model that judges images. Threads may share one: each image gets its own answer, one after the other.

    Args:
        model: bundle folder or model file; None takes `$EDGE_MODEL`, else the bundle inside the installed package.
            Or what `open_model` returned, which has an engine.
        engine: `auto`, `litert`, `tflite-runtime` or `onnxruntime`.
        threads: how many the engine may use; None leaves it to the engine.
        radiograph_gate: whether what is no radiograph gets no decision. A network of phantoms never has the gate.
        limits: what one image may ask of this machine.
        operating_point: name of the threshold, of those that the spec holds; None takes the spec's own.

    Raises:
        ModelError: there is no model, it is altered or unfit, or it has no such operating point.
        DependencyError: no engine for it is installed.
    """

    def __init__(
        self,
        model: Path | str | ModelFile | None = None,
        engine: str = AUTO,
        threads: int | None = None,
        radiograph_gate: bool = True,
        limits: Limits = DEFAULT_LIMITS,
        operating_point: str | None = None,
    ) -> None:
        opened = model if isinstance(model, ModelFile) else open_model(model_path(model), engine)
        if operating_point is not None:
            opened = replace(opened, spec=opened.spec.at_operating_point(operating_point))
        self.model = replace(opened, content=b"")  # the engine holds what it needs of it
        self.radiograph_gate = radiograph_gate and opened.spec.domain == "radiograph"
        self.limits = limits
        if opened.content:
            probe_once(opened.content, opened.fingerprint, opened.path, opened.spec, opened.engine)
        self.engine: Engine = open_engine(opened.path, opened.spec, opened.engine, threads, opened.content or None)

    def predict(
        self,
        source: Path | str | bytes,
        frame: int | None = None,
        turns: int = 1,
        heatmap: bool = False,
        pixels: bool = False,
    ) -> Prediction:
        """The judgement of one image.

        Args:
            source: path of an image file, or the bytes of one.
            frame: which one of several in a DICOM file, from 1; None: there is but one.
            turns: 1, 2 or 4: the mean probability of the image turned so often by a full circle's share.
            heatmap: say where the network looked too; see `has_heatmap`.
            pixels: say how bright and how rich in contrast the image is too.

        Raises:
            ImageError: the image cannot be judged, or the network gives no probability for it.
            DependencyError: what decodes it is not installed.
            StorageError: it cannot be read.
        """
        name = STANDARD_INPUT if isinstance(source, bytes) else str(source)
        spec, milliseconds = self.model.spec, dict.fromkeys(("decode", "preprocess", "inference"), 0.0)
        with _timed(milliseconds, "decode"):
            path_or_bytes = Path(source) if isinstance(source, str) else source
            decoded = read_image(path_or_bytes, spec.size, frame, self.radiograph_gate, self.limits)
        with _timed(milliseconds, "preprocess"):
            image_u8 = preprocess(decoded.grey_u8, spec)
            objection = self._objection(decoded)
        with _timed(milliseconds, "inference"):
            try:
                probability, outputs = self._judged(image_u8, turns)
            except ImageError as error:
                raise ImageError(f"{name}: {error}", error.code) from error
        looked = heatmap_of(outputs, decoded.grey_u8.shape, spec) if heatmap else None
        objection = objection or spec.doubt(probability)
        is_positive = probability >= spec.threshold
        return Prediction(
            path=name,
            label=spec.labels[int(is_positive)],
            probability=probability,
            threshold=spec.threshold,
            decision=ABSTAIN if objection else FRACTURED if is_positive else NOT_FRACTURED,
            reason=objection or f"probability {'at or above' if is_positive else 'below'} threshold",
            model=f"{spec.name}/{self.model.path.name}",
            model_sha256=self.model.sha256,
            engine=f"{self.engine.name} {self.engine.version}",
            engine_settings=dict(self.engine.settings),
            milliseconds=milliseconds,
            domain=spec.domain,
            depth=decoded.depth,
            depth_from=decoded.depth_from,
            warnings=[
                *decoded.warnings,
                *_domain_warnings(spec.domain, decoded.is_phantom),
                *_turns_warnings(spec, turns),
            ],
            heatmap=None if looked is None else looked.to_dict(),
            coverage=_coverage(spec, probability),
            pixels=pixel_statistics(image_u8) if pixels else None,
        )

    def _objection(self, decoded: DecodedImage) -> str:
        """Why an image gets no decision; empty where it gets one."""
        if not self.radiograph_gate:
            return ""
        from edge_runtime.radiograph_gate import look

        return look(decoded.grey_u8, decoded.chroma_u8).reason

    @property
    def has_heatmap(self) -> bool:
        """Whether the network says where it looked."""
        return any(tensor.name == HEATMAP for tensor in self.model.spec.tensors)

    def probability(self, image_u8: NDArray[np.uint8]) -> float:
        """Probability of a fracture for a grey uint8 (S, S) image that has been preprocessed.

        Raises:
            ImageError: the network gives none: NaN, infinity, or no number from 0 to 1.
        """
        return self._judged(image_u8, 1)[0]

    def _judged(self, image_u8: NDArray[np.uint8], turns: int) -> tuple[float, dict[str, NDArray[np.float32]]]:
        """(mean probability of the turned images, all outputs for the image as it is)."""
        if turns not in TURNS:
            raise ValueError(f"turns is one of {TURNS}, not {turns}")
        # By quarters of a circle nothing is resampled: each turned image holds the same pixels.
        steps = range(0, TURNS[-1], TURNS[-1] // turns)
        outputs = [self.engine.run(np.ascontiguousarray(np.rot90(image_u8, step))) for step in steps]
        return float(np.mean([_probability_in(one) for one in outputs])), outputs[0]


def _probability_in(outputs: dict[str, NDArray[np.float32]]) -> float:
    probability = float(outputs["probability"])
    if not -_ROUNDING <= probability <= 1 + _ROUNDING or math.isnan(probability):
        raise ImageError(f"the network answers {probability}, which is no probability: no answer", "no_answer")
    return min(max(probability, 0.0), 1.0)


def pixel_statistics(image_u8: NDArray[np.uint8]) -> dict[str, float]:
    """`mean` and standard `deviation` of the grey levels of an image (S, S) as the network sees it."""
    return {"mean": round(float(image_u8.mean()), 2), "deviation": round(float(image_u8.std()), 2)}


def _domain_warnings(domain: str, is_phantom: bool) -> list[str]:
    if domain == "phantom":
        return [PHANTOM_WARNING]
    return [OF_PHANTOM_WARNING] if is_phantom else []


def _turns_warnings(spec: ModelSpec, turns: int) -> list[str]:
    return [TURNED_WARNING] if spec.coverage is not None and turns > 1 else []


def _coverage(spec: ModelSpec, probability: float) -> dict[str, Any] | None:
    if spec.coverage is None:
        return None
    left_open = [(NOT_FRACTURED, FRACTURED)[label] for label in spec.coverage.classes(probability)]
    return {"level": spec.coverage.level, "open": left_open}


@contextmanager
def _timed(milliseconds: dict[str, float], part: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    milliseconds[part] = round((time.perf_counter() - start) * 1e3, 3)
