"""The parity suite of a bundle: every file on every engine that can be had here, by image and by layer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.bundle import FLOAT32, model_files, verify_bundle
from edge_runtime.embedded_spec import read_embedded_spec
from edge_runtime.engines import engines_for, install_command, is_installed
from edge_runtime.errors import DataError, ModelError
from edge_runtime.hashing import sha256_of
from edge_runtime.spec import ModelSpec
from export.inputs.calibration import load_folder, rows_shared_with
from export.inputs.image_sets import ImageSet, as_images, read_split
from export.inputs.run_reader import FloatNetwork, open_network
from export.limits import Limits
from export.parity.engine_answers import Answers, ask, ask_elsewhere
from export.parity.gate import judge
from export.parity.layer_snr import LayerNoise, layer_noise
from export.parity.measures import EvaluationSet, FileParity, Parity, compare, summarise
from export.parity.shift import Ask, measure_shifts, shifted

ELSEWHERE = "tflite-runtime"  # the engine that may need a Python of its own
_STEADY_IMAGES = 16  # asked again in other orders and with other numbers of threads
_THREADS = (1, 2, 4)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """What a user gives the suite."""

    bundle: Path  # as edge-export wrote it
    folder: Path | None  # of images; None takes the test split of the run
    run: Path | None  # that the bundle was exported from; None: the bundle's own float file is the reference
    data: Path | None  # folder of the run's radiographs, where it moved
    tflite_python: Path | None  # interpreter that has tflite-runtime


@dataclass(frozen=True)
class FileAnswers:
    """One file on one engine."""

    file: str  # name in the bundle
    precision: str  # `float32` or `int8`
    engine: str  # name
    probabilities: NDArray[np.float32]  # (N,)
    steady: bool | None  # the same bits whatever the threads, the order and the repetition; None: not tried elsewhere


@dataclass(frozen=True)
class Suite:
    """All that was found."""

    parity: Parity  # judged, a row for each file and engine
    reference: str  # which answers the files were held to
    reference_probabilities: NDArray[np.floating]  # (N,)
    names: tuple[str, ...]  # (N,), of the images
    images_u8: NDArray[np.uint8]  # (N, S, S), as the network sees them
    answers: tuple[FileAnswers, ...]  # in the order of the parity's files
    layers: dict[str, list[LayerNoise]]  # by int8 file
    not_run: tuple[str, ...]  # engines that were left out, a sentence each

    def worst(self, count: int) -> list[int]:
        """Rows of the images with the largest difference of any int8 file, largest first."""
        return [int(row) for row in np.argsort(-self._differences().max(axis=0), kind="stable")[:count]]

    def changed(self) -> list[int]:
        """Rows of the images that any of these files decides otherwise than the reference, largest difference first."""
        threshold = self.parity.threshold
        otherwise = (self._judged() >= threshold) != (self.reference_probabilities >= threshold)
        return [row for row in self.worst(len(self.names)) if otherwise[:, row].any()]

    def furthest(self, row: int) -> float:
        """The probability of these files that lies furthest from the reference's."""
        return float(self._judged()[int(np.argmax(self._differences()[:, row])), row])

    def _judged(self) -> NDArray[np.float64]:
        """(f, N) probabilities of the int8 files, or of all where there is none."""
        of_int8 = [one.probabilities for one in self.answers if one.precision != FLOAT32]
        return np.stack(of_int8 or [one.probabilities for one in self.answers]).astype(np.float64)

    def _differences(self) -> NDArray[np.float64]:
        return np.abs(self._judged() - self.reference_probabilities)

    def to_dict(self, worst: int) -> dict[str, Any]:
        """A dict of plain JSON types, with so many of the worst images."""
        return {
            **self.parity.to_dict(),
            "reference": self.reference,
            "steady": [{"file": one.file, "engine": one.engine, "steady": one.steady} for one in self.answers],
            "worst": [
                {
                    "path": self.names[row],
                    "reference": float(self.reference_probabilities[row]),
                    "answers": {f"{one.file}, {one.engine}": float(one.probabilities[row]) for one in self.answers},
                }
                for row in self.worst(worst)
            ],
            "layers": {file: [asdict(one) for one in noise] for file, noise in self.layers.items()},
            "not_run": list(self.not_run),
        }


def run_suite(sources: Sources, limits: Limits, layer_images: int) -> Suite:
    """Everything that can be measured of a bundle here.

    Args:
        sources: what to measure, on what, against what.
        limits: of the gate, for the int8 files.
        layer_images: images over which the noise of layers is summed.

    Raises:
        ModelError: the bundle is altered, holds no float file to compare with, or is not of that run.
        DataError: there are no images, or images of the calibration are among them.
        DependencyError: the interpreter given for tflite-runtime cannot run it.
    """
    log.info("verifying the bundle")
    manifest = verify_bundle(sources.bundle)
    specs = {name: read_embedded_spec(sources.bundle / name).spec for name in model_files(manifest)}
    if not specs:
        raise ModelError(f"{sources.bundle}: holds no model file")
    network = _network(sources, manifest)
    log.info("reading images")
    images, names = _images(sources, network, next(iter(specs.values())), manifest)
    log.info("asking the trained network about %d images", len(names))
    asked, reference = _reference(sources, network, specs)
    evaluation = EvaluationSet(
        images.name, images.images_u8, images.labels, asked(images.images_u8), groups=images.groups
    )
    files, answers, not_run = [], [], []
    for name, spec in specs.items():
        for engine in engines_for(Path(name).suffix):
            log.info("%s on %s", name, engine)
            given, steady, reason = _answers(sources, name, spec, engine, evaluation.images_u8)
            if given is None:
                not_run.append(reason)
                continue
            files.append(compare(sources.bundle / name, spec, given, evaluation))
            answers.append(FileAnswers(name, spec.input.dtype, engine, given.probabilities, steady))
    if not files:
        raise ModelError(f"{sources.bundle}: no engine that is installed here runs a file of it")
    log.info("comparing int8 files under shifts of the images")
    files = _under_shift(sources, specs, files, asked, evaluation)
    parity = judge(summarise(files, next(iter(specs.values())).threshold, evaluation), limits, True)
    log.info("comparing layers")
    chosen = np.linspace(0, len(names) - 1, min(layer_images, len(names))).astype(int)
    layers = _layers(sources.bundle, specs, evaluation.images_u8[chosen])
    return Suite(
        *(parity, reference, evaluation.reference, names, evaluation.images_u8),
        *(tuple(answers), layers, tuple(dict.fromkeys(not_run))),
    )


def _network(sources: Sources, manifest: dict[str, Any]) -> FloatNetwork | None:
    """The network of the run, which has to be the one that the bundle was made from."""
    if sources.run is None:
        return None
    network = open_network(sources.run, None, sources.data)
    if sha256_of(network.model) != manifest["float_model_sha256"]:
        raise ModelError(f"{sources.run}: not the run that {sources.bundle} was exported from (another network)")
    return network


def _images(
    sources: Sources, network: FloatNetwork | None, spec: ModelSpec, manifest: dict[str, Any]
) -> tuple[ImageSet, tuple[str, ...]]:
    """The images and their names, none of which set the ranges of the bundle."""
    if sources.folder is None:
        if network is None:
            raise DataError("no images: give a folder of them, or --run RUN, whose test split is taken")
        if not network.test:
            raise DataError(f"{sources.run}: has no test split; give a folder of images")
        return read_split(network, "test"), tuple(image.path for image in network.test)
    given = load_folder(sources.folder, spec, fewest=1, kind="parity")
    calibrating = {entry["sha256"] for entry in manifest.get("calibration", [])}
    shared = rows_shared_with(given, calibrating, [])
    if shared:
        raise DataError(
            f"{sources.folder}: {len(shared)} of {len(given)} images calibrated the bundle "
            f"({given.paths[shared[0]].name}, for one); a file cannot be judged on what it was made with, remove them"
        )
    names = tuple(str(path.relative_to(sources.folder)) for path in given.paths)
    return as_images(str(sources.folder), given), names


def _reference(sources: Sources, network: FloatNetwork | None, specs: dict[str, ModelSpec]) -> tuple[Ask, str]:
    """What gives the answers that files are held to, and whose these are."""
    if network is not None:
        from export.convert import grey_network

        model = grey_network.load_network(network.model, network.spec.size)
        whose = f"{network.model.parent.name}/{network.model.name} (Keras)"
        return lambda images_u8: grey_network.float_probabilities(model, images_u8), whose
    name = next((name for name, spec in specs.items() if spec.input.dtype == FLOAT32), None)
    if name is None:
        raise ModelError(f"{sources.bundle}: holds no float file to compare with; give --run RUN")
    return (
        lambda images_u8: ask(sources.bundle / name, specs[name], images_u8).probabilities,
        f"{name} of the bundle, which export held to the trained network",
    )


def _under_shift(
    sources: Sources, specs: Mapping[str, ModelSpec], files: list[FileParity], asked: Ask, evaluation: EvaluationSet
) -> list[FileParity]:
    """The files, the int8 ones among them measured under shifts, each on the first engine that ran it here."""
    images = shifted(evaluation.images_u8, evaluation.groups, asked)
    done: set[str] = set()
    measured = []
    for one in files:
        if one.precision != FLOAT32 and one.file not in done and is_installed(one.engine):
            done.add(one.file)
            shifts = measure_shifts(sources.bundle / one.file, specs[one.file], images, one.engine)
            one = replace(one, shifts=shifts)
        measured.append(one)
    return measured


def _answers(
    sources: Sources, name: str, spec: ModelSpec, engine: str, images_u8: NDArray[np.uint8]
) -> tuple[Answers | None, bool | None, str]:
    """(answers, whether they are steady, why there are none)."""
    path = sources.bundle / name
    if engine == ELSEWHERE and sources.tflite_python is not None:
        return ask_elsewhere(path, images_u8, engine, sources.tflite_python), None, ""
    if not is_installed(engine):
        hint = "; --tflite-python PATH runs it in a Python that has it" if engine == ELSEWHERE else ""
        return None, None, f"{engine} is not installed here and was not run: {install_command(engine)}{hint}"
    given = ask(path, spec, images_u8, engine)
    return given, _is_steady(path, spec, engine, images_u8[:_STEADY_IMAGES], given.probabilities), ""


def _is_steady(
    path: Path, spec: ModelSpec, engine: str, images_u8: NDArray[np.uint8], expected: NDArray[np.float32]
) -> bool:
    """Whether other numbers of threads, the reverse order and a second time give the same bits."""
    forward = [ask(path, spec, images_u8, engine, threads).probabilities for threads in _THREADS]
    backward = ask(path, spec, images_u8[::-1], engine).probabilities[::-1]
    return all(np.array_equal(again, expected[: len(images_u8)]) for again in (*forward, backward))


def _layers(bundle: Path, specs: Mapping[str, ModelSpec], images_u8: NDArray[np.uint8]) -> dict[str, list[LayerNoise]]:
    """The noise of every int8 file whose format has a float file too."""
    floats = {Path(name).suffix: name for name, spec in specs.items() if spec.input.dtype == FLOAT32}
    return {
        name: layer_noise(bundle / floats[Path(name).suffix], bundle / name, images_u8)
        for name, spec in specs.items()
        if spec.input.dtype != FLOAT32 and Path(name).suffix in floats
    }
