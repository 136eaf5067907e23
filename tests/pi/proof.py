"""make pi: packages of a bundle, installed and run on emulated processors of the Raspberry Pi, against this machine.

python -m tests.pi.proof BUNDLE [BUNDLE...]    a table on standard output, and pi.json; SKIPPED where it cannot be done
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime import Predictor
from edge_runtime.bundle import model_files, open_model, read_manifest
from edge_runtime.engines import suffix_of
from edge_runtime.preprocess import preprocess
from export.engine_answers import Answers
from export.gate import FAILED, judge
from export.limits import Limits
from export.parity import FLOAT_PREFIX, FLOAT_TOLERANCE, EvaluationSet, FileParity, compare_answers, summarise
from tests.pi.armhf_wheels import armhf_wheels
from tests.pi.debian import NotToBeHad
from tests.pi.emulator import AARCH64, ARMV7L, CACHE, Architecture, Emulator, open_emulator
from tests.pi.memory_limit import LimitNotToBeHad, MemoryLimit
from train.phantom import draw

# An int8 file of MobileNetV2; any other file. On 100 images the AUC moves by 0.005 with a few pairs of answers.
IMAGES, IMAGES_OF_OTHERS = 400, 10
MEMORY_MB = 512  # of a Raspberry Pi Zero 2 W
FILE_SIZES = ((454, 373), (1200, 1600), (2304, 2880))  # pixels of JPEG files that edge-infer judges there
_SEED = 60_607  # of the images
_PREFIX = "/opt/fracture-edge"


@dataclass(frozen=True)
class Row:
    """One model file on one processor, against the same file on this machine."""

    network: str  # name in the spec
    file: str  # of the model
    engine: str  # that ran it
    processor: str  # emulated
    images: int  # compared
    identical: int  # answers with the same bits
    largest: float  # difference of probability
    decisions_changed: int  # against this machine
    changed_to_float: int  # decisions, against the float file on this machine
    percentile_99_to_float: float  # 99th percentile of the difference to the float file on this machine
    verdict: str  # of the gate, against that float file; `not judged` of a float file itself
    reasons: tuple[str, ...]  # for a verdict that is not `passed`
    peak_mb: float  # memory of the process, the emulator's own included

    @property
    def passed(self) -> bool:
        """Float: within the tolerance. int8: not failed by the gate, and of LiteRT the same bits as here."""
        if self.file.startswith(FLOAT_PREFIX):
            return self.largest <= FLOAT_TOLERANCE
        return self.verdict != FAILED and (self.engine != "litert" or self.identical == self.images)


def prove(bundles: list[Path], work: Path) -> Iterator[Row]:
    """A row for each bundle, engine, processor and model file.

    Raises:
        NotToBeHad: there is no emulator.
    """
    for architecture, engine in ((AARCH64, "litert"), (AARCH64, "onnxruntime"), (ARMV7L, "tflite-runtime")):
        wheels = armhf_wheels() if architecture is ARMV7L else None
        for number, bundle in enumerate(bundles):
            folder = work / f"{engine}-{number}"
            (folder / "opt").mkdir(parents=True)
            _package(bundle, folder, architecture, engine, wheels)
            binds = {folder: "/work", folder / "opt": "/opt"}
            yield from _rows(open_emulator(architecture, binds), bundle, folder, engine)


def _package(bundle: Path, folder: Path, architecture: Architecture, engine: str, wheels: Path | None) -> None:
    """Makes a package as a user would, and unpacks it; the whole bundle, images and answers.py lie beside it."""
    command = [Path(sys.executable).with_name("edge-export"), bundle, "--package", folder / "pi.zip"]
    options = ["--target", architecture.target, "--engine", engine, *(["--wheels", wheels] if wheels else [])]
    subprocess.run([*command, *options], check=True, stdout=sys.stderr)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", folder / "pi.zip", folder], check=True)
    shutil.copytree(bundle, folder / "bundle")
    shutil.copy(Path(__file__).with_name("answers.py"), folder)
    spec = open_model(bundle).spec
    phantoms = [draw(_SEED, index, index % 2) for index in range(IMAGES)]
    np.save(folder / "images.npy", np.stack([preprocess(phantom.image_u8, spec) for phantom in phantoms]))
    (folder / "files").mkdir()
    for index, size in enumerate(FILE_SIZES):
        Image.fromarray(phantoms[index].image_u8).resize(size).save(folder / "files" / f"{index}.jpg")


def _rows(emulator: Emulator, bundle: Path, folder: Path, engine: str) -> Iterator[Row]:
    first, *_ = emulator.architecture.processors
    _tell(f"installing {engine} on {emulator.architecture.target}")
    _must(emulator.run(first, "sh", "/work/pi/install.sh", "--prefix", _PREFIX))
    size = _must(emulator.run(first, "du", "-sk", _PREFIX)).split()[0]
    _tell(f"installed: {int(size) / 1024:.0f} MB ({engine}, {emulator.architecture.target})")
    names = [name for name in model_files(read_manifest(bundle)) if name.endswith(suffix_of(engine))]
    name_of_float = next((name for name in names if "float32" in name), None)
    for processor in emulator.architecture.processors:
        _tell(_must(emulator.run(processor, f"{_PREFIX}/bin/edge-infer", "--self-test")).strip())
        if processor == first:
            _tell(_limited(emulator, processor, folder))
        for name in names:
            model = open_model(bundle / name)
            count = IMAGES if "float32" not in name and model.spec.name.startswith("mobilenet") else IMAGES_OF_OTHERS
            arguments = ["answers.py", "images.npy", str(count)]
            there = json.loads(_must(_answers_there(emulator, processor, [*arguments, f"bundle/{name}"])))
            compared = [f"bundle/{other}" for other in {name, name_of_float or name}]
            here = json.loads(_must(_answers_here(folder, [*arguments, *compared])))
            yield _row(model.spec.name, name, engine, processor, model.spec.threshold, there, here, name_of_float)


def _limited(emulator: Emulator, processor: str, folder: Path) -> str:
    """edge-infer on image files under the memory of the smallest Raspberry Pi, which the kernel enforces."""
    command = [f"{_PREFIX}/bin/edge-infer", "--json", "/work/files"]
    try:
        limit = MemoryLimit(MEMORY_MB)
    except LimitNotToBeHad as error:
        _must(emulator.run(processor, *command))
        return f"NOT under a limit of {MEMORY_MB} MB: {error}"
    with limit:
        lines = _must(emulator.run(processor, *command, preexec=limit.join())).splitlines()
        peak_mb = limit.peak_mb
    here = Predictor(folder / "pi" / "bundle" if (folder / "pi" / "bundle").is_dir() else folder / "bundle")
    for line in lines:
        found = json.loads(line)
        expected = here.predict(folder / "files" / Path(found["path"]).name)
        if (found["probability"] >= found["threshold"]) != (expected.probability >= found["threshold"]):
            raise SystemExit(f"FAILED: {found['path']} is decided otherwise under {MEMORY_MB} MB")
    return (
        f"{len(lines)} files of up to {FILE_SIZES[-1]} pixels judged within {MEMORY_MB} MB ({limit.kind}); "
        f"{peak_mb:.0f} MB used, emulator and files included"
    )


def _answers_there(emulator: Emulator, processor: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    python = f"{_PREFIX}/current/venv/bin/python"
    return emulator.run(processor, "env", "--chdir=/work", "PYTHONDONTWRITEBYTECODE=1", python, *arguments)


def _answers_here(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def _row(
    network: str, name: str, engine: str, processor: str, threshold: float, there: dict, here: dict, exact: str | None
) -> Row:
    found, expected = np.array(there[name]), np.array(here[name])
    difference = np.abs(found - expected)
    judged = _judged(found, np.array(here[exact or name]), name, engine, threshold)
    return Row(
        network=network,
        file=name,
        engine=engine,
        processor=processor,
        images=found.size,
        identical=int((difference == 0).sum()),
        largest=float(difference.max()),
        decisions_changed=int(((found >= threshold) != (expected >= threshold)).sum()),
        changed_to_float=judged.decisions_changed,
        percentile_99_to_float=judged.percentile_99_difference,
        verdict=judged.verdict,
        reasons=judged.reasons,
        peak_mb=there["peak_mb"],
    )


def _judged(found: np.ndarray, exact: np.ndarray, name: str, engine: str, threshold: float) -> FileParity:
    """The gate's verdict on answers to the first phantoms, against those of the float file."""
    images = EvaluationSet("phantoms", np.zeros((found.size, 1, 1), np.uint8), np.arange(found.size) % 2, exact)
    measured = compare_answers(name, 0, threshold, Answers(engine, "", found.astype(np.float32), 0.0), images)
    return judge(summarise([measured], threshold, images), Limits(), True).files[0]


def _must(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise SystemExit(f"{done.stdout}{done.stderr}\nFAILED with code {done.returncode}")
    return done.stdout


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main(*arguments: str) -> int:
    """Prints the table; 0 where everything passed or nothing could be run, 4 where a file answers otherwise."""
    rows: list[Row] = []
    layout = "{:<12} {:<22} {:<15} {:<11} {:>6} {:>9} {:>8} {:>9} {:>22} {:>8}  {}"
    head = (
        "network",
        "file",
        "engine",
        "processor",
        "images",
        "identical",
        "largest",
        "decisions",
        "changed, 99th to float",
    )
    print(layout.format(*head, "peak MB", ""))
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            for row in prove([Path(argument) for argument in arguments], Path(work)):
                rows.append(row)
                values = (row.network, row.file, row.engine, row.processor, row.images, row.identical)
                figures = (
                    f"{row.largest:.4f}",
                    row.decisions_changed,
                    f"{row.changed_to_float}, {row.percentile_99_to_float:.4f}",
                )
                verdict = f"{'passed' if row.passed and row.peak_mb <= MEMORY_MB else 'FAILED'} (gate: {row.verdict})"
                print(layout.format(*values, *figures, f"{row.peak_mb:.0f}", verdict), flush=True)
                if row.verdict == FAILED:
                    print(f"  {'; '.join(row.reasons)}", flush=True)
    except NotToBeHad as error:
        print(f"SKIPPED: {error}")
    Path("pi.json").write_text(json.dumps([asdict(row) | {"passed": row.passed} for row in rows], indent=1) + "\n")
    return 0 if all(row.passed and row.peak_mb <= MEMORY_MB for row in rows) else 4


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
