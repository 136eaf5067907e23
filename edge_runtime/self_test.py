"""Does this machine answer as the exporting machine did? The golden images of a bundle, through every file and engine.

A self-test finds a broken installation, a wrong file or an engine that computes otherwise on this processor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.bundle import model_files, read_file, read_model, verify_bundle
from edge_runtime.engines import AUTO, engines_for, install_command, is_installed, open_engine
from edge_runtime.engines.probe import probe_once
from edge_runtime.errors import DependencyError, ModelError
from edge_runtime.images import read_grey
from edge_runtime.strict_json import loads_strict

GOLDEN = "golden"
EXPECTED = "expected.json"
# Float files differ between processors by the order of additions only.
FLOAT_TOLERANCE = 1e-5
# LiteRT answers with the same bits on x86-64 and on every ARM processor that was tried, so the release that export used
# is held to one step of an int8 probability, 1/255 or, of older files, 1/256, and to the same decisions.
REPEATABLE_ENGINES = frozenset({"litert"})
SAME_ENGINE_TOLERANCE = 1 / 255 + 1e-6
# int8 kernels of other engines and processors differ by several steps (45 at most were seen between two
# releases of one engine); more than the gate's limit for the 99th percentile means that something is wrong.
INT8_TOLERANCE = 0.10


@dataclass(frozen=True)
class SelfTestResult:
    """One model file through one engine."""

    file: str  # name inside the bundle
    engine: str  # name and version
    images: int  # golden images compared
    largest_difference: float  # of probability, against what export recorded
    tolerance: float  # that was allowed
    worst_image: str  # where the difference is largest
    expected: float  # probability of that image as export recorded it
    found: float  # probability of that image here
    decisions_changed: int  # images that fall on the other side of the threshold
    may_change_decisions: bool  # whether a change of decision within the tolerance is no failure

    @property
    def passed(self) -> bool:
        """Whether the answers are those that export recorded, as far as this engine can repeat them."""
        # Not a number is no answer: it fails this comparison too.
        within = self.largest_difference <= self.tolerance
        return within and (self.decisions_changed == 0 or self.may_change_decisions)


def run_self_test(bundle: Path, threads: int | None = None, engine: str = AUTO) -> Iterator[SelfTestResult]:
    """A result for each model file of the bundle and each installed engine that runs it.

    Args:
        bundle: folder with golden images.
        threads: how many an engine may use; None leaves it to the engine.
        engine: the one to test, or `auto` for all.

    Raises:
        ModelError: the bundle is altered, has no golden images or no file for the engine.
        DependencyError: no engine for any of its files is installed.
    """
    manifest = verify_bundle(bundle)
    names = model_files(manifest)
    expected = _read_expected(bundle, manifest, names)
    pairs = [
        (name, fitting) for name in names for fitting in engines_for(Path(name).suffix) if engine in (AUTO, fitting)
    ]
    if not pairs:
        raise ModelError(f"{bundle}: holds no model file{'' if engine == AUTO else f' that {engine} runs'}")
    installed = [(name, fitting) for name, fitting in pairs if is_installed(fitting)]
    if not installed:
        raise DependencyError(f"no engine for it is installed: {install_command(pairs[0][1])}")
    for name, fitting in installed:
        yield _compare(_GoldenBundle(bundle, manifest, expected), name, fitting, threads)


@dataclass(frozen=True)
class _GoldenBundle:
    """A bundle and what export recorded."""

    folder: Path  # of the bundle
    manifest: Mapping[str, Any]  # its own
    expected: dict[str, dict[str, float]]  # {image: {model file: probability}}


def _compare(bundle: _GoldenBundle, name: str, engine_name: str, threads: int | None) -> SelfTestResult:
    folder, manifest = bundle.folder, bundle.manifest
    expected = {image: of_files[name] for image, of_files in bundle.expected.items()}
    model = read_model(folder, manifest, name, engine_name)
    probe_once(model.content, model.fingerprint, model.path, model.spec, engine_name)
    spec = model.spec
    engine = open_engine(model.path, spec, engine_name, threads, model.content)
    version = f"{engine.name} {engine.version}"
    images = {image: read_grey(read_file(folder, manifest, f"{GOLDEN}/{image}")) for image in expected}
    found = {image: float(engine.run(image_u8)["probability"]) for image, image_u8 in images.items()}
    differences = {image: abs(found[image] - expected[image]) for image in expected}
    worst = max(differences, key=lambda image: (differences[image] != differences[image], differences[image]))
    is_float = spec.input.dtype == "float32"
    is_repeatable = not is_float and engine.name in REPEATABLE_ENGINES and version == _recorded_with(manifest, name)
    return SelfTestResult(
        file=name,
        engine=version,
        images=len(expected),
        largest_difference=differences[worst],
        tolerance=FLOAT_TOLERANCE if is_float else SAME_ENGINE_TOLERANCE if is_repeatable else INT8_TOLERANCE,
        worst_image=worst,
        expected=expected[worst],
        found=found[worst],
        decisions_changed=sum(
            (found[image] >= spec.threshold) != (expected[image] >= spec.threshold) for image in found
        ),
        may_change_decisions=not is_repeatable,
    )


def _recorded_with(manifest: Mapping[str, Any], name: str) -> str:
    """Engine and version that gave the recorded answers of a file; empty where the manifest does not tell."""
    try:
        of_file = next(record for record in manifest["parity"]["files"] if record["file"] == name)
        return f"{of_file['engine']} {of_file['engine_version']}"
    except (StopIteration, LookupError, TypeError):
        return ""


def _read_expected(bundle: Path, manifest: Mapping[str, Any], names: list[str]) -> dict[str, dict[str, float]]:
    """{image: {model file: probability}} as export recorded it."""
    path, listed = bundle / GOLDEN / EXPECTED, f"{GOLDEN}/{EXPECTED}"
    if listed not in manifest["files"]:
        raise ModelError(f"{path}: missing; --self-test needs a bundle with golden images")
    try:
        expected = {
            image: {name: float(of_file[name]["probability"]) for name in names}
            for image, of_file in loads_strict(read_file(bundle, manifest, listed)).items()
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not the answer of every model file ({error}); export the bundle again") from error
    if not expected:
        raise ModelError(f"{path}: lists no images; export the bundle again")
    unlisted = sorted(image for image in expected if f"{GOLDEN}/{image}" not in manifest["files"])
    if unlisted:
        raise ModelError(f"{path}: the manifest lists no {unlisted[0]!r}; export the bundle again")
    return expected
