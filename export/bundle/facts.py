"""What a manifest says of where its bundle comes from."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from edge_runtime.spec import Coverage, ModelSpec
from export.parity.measures import Parity

PACKAGES = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "pillow")


@dataclass(frozen=True)
class Folding:
    """What was folded away of the trained network."""

    figures: dict[str, Any]  # as `export.convert.complexity.FoldingEffect` has them
    says: str  # a sentence without its end


@dataclass(frozen=True)
class BundleFacts:
    """The facts of one bundle."""

    spec: ModelSpec  # without tensors
    recipe: str | None  # that made the int8 files; None: there are none
    calibration_sha256: tuple[str, ...]  # of the files of calibration images, hexadecimal
    float_model_sha256: str  # of the trained network's file, hexadecimal
    leaked: bool  # its test images share radiographs with its training images
    folding: Folding
    tensors: dict[str, Any]  # of each model file, by its name, plain JSON types
    parity: Parity  # as it is stored, without times
    coverage: dict[str, Coverage] = field(default_factory=dict)  # of each model file, by its name; empty: there is none
    answers: dict[str, Any] | None = None  # usual ones, as `export.bundle.usual_answers` counts them

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that made the files."""
        return {package: version(package) for package in PACKAGES}

    @property
    def proven_on(self) -> list[str]:
        """Processors on which the files were compared with the network."""
        return [platform.machine()]

    def to_dict(self) -> dict[str, Any]:
        """As in the manifest, plain JSON types."""
        return {
            "spec": self.spec.to_dict(),
            "recipe": self.recipe,
            "calibration": [{"sha256": digest} for digest in self.calibration_sha256],
            "float_model_sha256": self.float_model_sha256,
            "versions": self.versions,
            "proven_on": self.proven_on,
            "leaked": self.leaked,
            "folding": {**self.folding.figures, "says": self.folding.says},
            "tensors": self.tensors,
            "parity": self.parity.to_dict(),
            **({"coverage": {name: asdict(one) for name, one in self.coverage.items()}} if self.coverage else {}),
            **({} if self.answers is None else {"answers": self.answers}),
        }
