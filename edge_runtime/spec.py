"""What a network needs to know about its input and output: one record, made in training, that travels with every file.

A network without this record cannot be used: a preprocessing fact that is guessed is a wrong answer that looks right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from edge_runtime.errors import ModelError
from edge_runtime.strict_json import loads_strict

ASPECTS = ("pad", "stretch")
RESAMPLINGS = ("bilinear", "bicubic", "box", "lanczos")
DOMAINS = ("radiograph", "phantom")
DTYPES = ("float32", "int8", "uint8")
SPEC_VERSION = 1
_LONGEST_NAME = 200  # letters
_MOST_TENSORS = 16
_MOST_POINTS = 16
LEAST_RADIOGRAPHS = 60  # of each class, that a coverage rests on
_LONGEST_VALUE = 80  # letters of a wrong value in a message

# What a field of a spec that people write has to be, and an example of it.
_EXPECTED = {
    "name": (f"a text of at most {_LONGEST_NAME} letters", '"fractures-1"'),
    "size": ("a whole number from 8 to 4096, the side of the input in pixels,", "224"),
    "aspect": (f"one of {', '.join(ASPECTS)}", '"pad"'),
    "resampling": (f"one of {', '.join(RESAMPLINGS)}", '"bilinear"'),
    "labels": (
        f"a list of two different names, the negative class first, each of at most {_LONGEST_NAME} letters,",
        '["normal", "fractured"]',
    ),
    "threshold": ("a number between 0 and 1", "0.5"),
    "domain": (f"one of {', '.join(DOMAINS)}", '"radiograph"'),
}


@dataclass(frozen=True)
class Tensor:
    """One named input or output of a deployed file: real value = scale * (stored value - zero_point)."""

    name: str  # `grey`, `probability` or `heatmap`
    dtype: str  # one of DTYPES
    scale: float | None = None  # real units a step; None for float32
    zero_point: int | None = None  # stored value that means 0.0; None for float32

    def __post_init__(self) -> None:
        _require(isinstance(self.name, str) and 0 < len(self.name) <= _LONGEST_NAME, "a tensor's name is a text")
        _require(self.dtype in DTYPES, f"tensor {self.name!r}: dtype is one of {DTYPES}, not {self.dtype!r}")
        quantized = self.scale is not None and self.zero_point is not None
        _require(
            quantized or (self.scale is None and self.zero_point is None),
            f"tensor {self.name!r}: scale and zero_point are given together or not at all",
        )
        _require(
            quantized != (self.dtype == "float32"),
            f"tensor {self.name!r}: integers have a scale and a zero point, float32 has none",
        )
        _require(
            self.scale is None or (_is_number(self.scale) and 0.0 < self.scale < math.inf),
            f"tensor {self.name!r}: scale is a number above 0, not {self.scale!r}",
        )
        _require(
            self.zero_point is None or (type(self.zero_point) is int and -128 <= self.zero_point <= 255),
            f"tensor {self.name!r}: zero_point is an integer from -128 to 255, not {self.zero_point!r}",
        )


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold by name, and what it is worth on the radiographs that chose it, which trained nothing."""

    name: str  # `balanced`, `sensitivity-0.90`
    threshold: float  # a probability at or above it is positive
    sensitivity: tuple[float, float, float]  # value, and its 95 % interval
    specificity: tuple[float, float, float]  # likewise

    def __post_init__(self) -> None:
        _require(isinstance(self.name, str) and 0 < len(self.name) <= _LONGEST_NAME, "an operating point has a name")
        _require(
            _is_number(self.threshold) and 0.0 < self.threshold < 1.0,
            f"operating point {self.name!r}: threshold lies between 0 and 1, not {self.threshold!r}",
        )
        for key in ("sensitivity", "specificity"):
            estimate = getattr(self, key)
            is_estimate = isinstance(estimate, tuple) and len(estimate) == 3 and all(map(_is_number, estimate))
            _require(
                is_estimate and 0.0 <= estimate[1] <= estimate[0] <= estimate[2] <= 1.0,
                f"operating point {self.name!r}: {key} is a value and its interval, from 0 to 1, not {estimate!r}",
            )


@dataclass(frozen=True)
class Coverage:
    """Which classes an answer leaves open, so that the true one is among them as often as was wished, in each class.

    Split-conformal and class-conditional (Vovk 2012, arXiv:1209.2673): the limits are quantiles of the probabilities
    of radiographs that were used for nothing else.
    """

    level: float  # share of the new radiographs of each class, at least, whose class is left open: 0.95
    most_negative: float  # the largest probability that leaves the negative class open
    least_positive: float  # the smallest probability that leaves the positive class open
    radiographs: tuple[int, int]  # that these rest on, of the negative and of the positive class

    def __post_init__(self) -> None:
        _require(
            _is_number(self.level) and 0.0 < self.level < 1.0,
            f"coverage: level lies between 0 and 1, not {self.level!r}",
        )
        for key in ("most_negative", "least_positive"):
            limit = getattr(self, key)
            _require(_is_number(limit) and 0.0 <= limit <= 1.0, f"coverage: {key} is a probability, not {limit!r}")
        are_counts = isinstance(self.radiographs, tuple) and [type(count) for count in self.radiographs] == [int, int]
        _require(
            are_counts and min(self.radiographs) >= LEAST_RADIOGRAPHS,
            f"coverage: radiographs are two numbers of at least {LEAST_RADIOGRAPHS}, not {self.radiographs!r}",
        )

    def classes(self, probability: float) -> tuple[int, ...]:
        """Those left open: 0 the negative one, 1 the positive one."""
        is_open = probability <= self.most_negative, probability >= self.least_positive
        return tuple(label for label in (0, 1) if is_open[label])


@dataclass(frozen=True)
class ModelSpec:
    """Preprocessing, labels and threshold of one network; in a deployed file also its tensors."""

    name: str  # network, for people: `cnn`, `mobilenetv2`
    size: int  # S: side of the square input, pixels
    aspect: str  # `pad`: keep proportions, fill with black; `stretch`: fill the square
    resampling: str  # Pillow's filter of that name, antialiased
    labels: tuple[str, str]  # class names: (negative, positive)
    threshold: float  # a probability at or above it is positive
    domain: str  # what it was trained on: `radiograph` or `phantom`
    tensors: tuple[Tensor, ...] = ()  # of this one deployed file, the input first; empty before export
    version: int = SPEC_VERSION  # of this record's layout
    operating_points: tuple[
        OperatingPoint, ...
    ] = ()  # thresholds to choose from; `threshold` is taken without a choice
    coverage: Coverage | None = None  # where it abstains though the image is a radiograph; None: nowhere

    def __post_init__(self) -> None:
        _require(
            type(self.version) is int and self.version == SPEC_VERSION,
            f"spec version {self.version}; this program reads version {SPEC_VERSION}",
        )
        are_names = (
            isinstance(self.labels, tuple)
            and len(self.labels) == 2
            and all(isinstance(label, str) and len(label) <= _LONGEST_NAME for label in self.labels)
        )
        for field, is_right in {
            "name": isinstance(self.name, str) and len(self.name) <= _LONGEST_NAME,
            "size": type(self.size) is int and 8 <= self.size <= 4096,
            "aspect": self.aspect in ASPECTS,
            "resampling": self.resampling in RESAMPLINGS,
            "domain": self.domain in DOMAINS,
            "labels": are_names and self.labels[0] != self.labels[1],
            "threshold": _is_number(self.threshold) and 0.0 < self.threshold < 1.0,
        }.items():
            _require(is_right, f"{_expected(field)}, not {_shortened(getattr(self, field))}")
        names = [tensor.name for tensor in self.tensors]
        _require(len(set(names)) == len(names) <= _MOST_TENSORS, f"at most {_MOST_TENSORS} tensors, each named once")
        points = [point.name for point in self.operating_points]
        _require(
            len(set(points)) == len(points) <= _MOST_POINTS, f"at most {_MOST_POINTS} operating points, each named once"
        )

    @property
    def input(self) -> Tensor:
        """The input tensor of the deployed file.

        Raises:
            ModelError: this spec is that of a network before export.
        """
        if not self.tensors:
            raise ModelError(f"the spec of {self.name!r} names no tensors: it belongs to a network not yet exported")
        return self.tensors[0]

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> ModelSpec:
        """This spec for one deployed file."""
        return replace(self, tensors=tensors)

    @property
    def shared(self) -> ModelSpec:
        """What all files of a bundle have in common: neither tensors nor the limits that each file's answers gave."""
        return replace(self, tensors=(), coverage=None)

    def doubt(self, probability: float) -> str:
        """Why a probability gets no decision; empty where it gets one: the class that alone is left open."""
        if self.coverage is None:
            return ""
        classes, decided = self.coverage.classes(probability), int(probability >= self.threshold)
        if classes == (decided,):
            return ""
        at = f"at a coverage of {self.coverage.level:g}"
        if len(classes) == 1:
            return f"{at} only the class that the threshold rules out is possible"
        return f"{at} {'both classes are' if classes else 'neither class is'} possible"

    def at_operating_point(self, name: str) -> ModelSpec:
        """This spec with the threshold of one of its operating points.

        Raises:
            ModelError: it has none of that name.
        """
        for point in self.operating_points:
            if point.name == name:
                return replace(self, threshold=point.threshold)
        known = ", ".join(point.name for point in self.operating_points) or "none at all"
        raise ModelError(f"operating point {name!r}: the network {self.name!r} has {known}")

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types; as earlier versions wrote it where there is nothing that they did not know."""
        record = asdict(self)
        for key in ("operating_points", "coverage"):
            if not record[key]:
                del record[key]
        return record

    def to_json(self) -> str:
        """JSON text, ready for a file."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ModelSpec:
        """The spec that a dict describes.

        Raises:
            ModelError: a key is unknown or missing, or a value is out of range.
        """
        values = _checked(cls, record)
        try:
            # A text is a sequence too, of letters.
            for key in ("tensors", "operating_points"):
                _require(isinstance(values.get(key, ()), list | tuple), f"{key} are a list, not {values.get(key)!r}")
            if isinstance(values.get("labels"), list):  # JSON has no tuples
                values["labels"] = tuple(values["labels"])
            values["tensors"] = tuple(Tensor(**_checked(Tensor, tensor)) for tensor in values.get("tensors", ()))
            values["operating_points"] = tuple(map(_operating_point, values.get("operating_points", ())))
            values["coverage"] = None if values.get("coverage") is None else _coverage(values["coverage"])
            return cls(**values)
        except TypeError as error:
            raise ModelError(f"the spec does not have the right form: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelSpec:
        """The spec in a JSON text.

        Raises:
            ModelError: not JSON, or as `from_dict`.
        """
        try:
            record = loads_strict(text)
        except ValueError as error:
            raise ModelError(f"the spec is not JSON: {error}") from error
        return cls.from_dict(record)


def _operating_point(record: object) -> OperatingPoint:
    return OperatingPoint(**_with_tuples(_checked(OperatingPoint, record), "sensitivity", "specificity"))


def _coverage(record: object) -> Coverage:
    return Coverage(**_with_tuples(_checked(Coverage, record), "radiographs"))


def _with_tuples(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The values; JSON has lists where these are tuples."""
    return values | {key: tuple(values[key]) for key in keys if isinstance(values[key], list)}


def _is_number(value: object) -> bool:
    """Whether a value is a finite number; True is none, though Python counts it as 1."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelError(message)


def _checked(cls: type, record: object) -> dict[str, Any]:
    """The record as a dict, every key of it a field of cls."""
    if not isinstance(record, Mapping):
        raise ModelError(f"{cls.__name__}: a JSON object was expected, not {type(record).__name__}")
    known = [field.name for field in fields(cls)]
    unknown = sorted(set(record) - set(known))
    if unknown:
        raise ModelError(
            f"{cls.__name__}: unknown keys {unknown}; {', '.join(known)} were expected; was it written by a newer "
            "version?"
        )
    missing = [field.name for field in fields(cls) if field.default is MISSING and field.name not in record]
    if missing:
        raise ModelError(f"{_expected(missing[0])}, and it is missing")
    return dict(record)


def _expected(field: str) -> str:
    """What a field has to be, with an example where people write it."""
    if field not in _EXPECTED:
        return f"field {field}: a value was expected"
    kind, example = _EXPECTED[field]
    return f"field {field}: {kind} was expected, such as {example}"


def _shortened(value: object) -> str:
    """A value as Python writes it, its middle left out where it is long."""
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE // 2]}...{text[-_LONGEST_VALUE // 2 :]}"
