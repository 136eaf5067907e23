"""The writers that are struck: what each starts from, what it does, and how its artefact is known to be whole.

No network is trained or converted: what a writer writes was made before, in the process that forks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from edge_runtime import whole_files
from edge_runtime.bundle import verify_bundle
from edge_runtime.errors import DataError
from edge_runtime.watching.attempts import Attempts
from edge_runtime.watching.results_file import ResultsFile
from edge_runtime.whole_files import recover_folder, whole_file
from export.bundle.writer import new_bundle, write_manifest
from export.package.packager import PackageRequest, write_package
from export.package.target import machines_for
from train.audit.cleaning import write_clean
from train.audit.findings import Findings, audit
from train.config import TrainConfig
from train.run_folder import is_finished, open_unfinished_run, write_json

TINY_BUNDLE = Path(__file__).parents[1] / "edge_runtime" / "golden" / "tiny_bundle"
OLD, NEW, NONE = "old", "new", "none"


class Writer(ABC):
    """One writer in a folder of its own."""

    allowed = (OLD, NEW)  # states in which a fault may leave it

    def prepare(self, folder: Path) -> None:
        """What stands there before: nothing, where a writer replaces nothing."""
        return

    @abstractmethod
    def act(self, folder: Path) -> None:
        """Writes; also the next start."""

    @abstractmethod
    def state(self, folder: Path) -> str:
        """Which artefact stands there, every byte checked; an exception where it is not whole."""

    left = ("target",)  # names that remain in the folder in the end


class File(Writer):
    """A file of arrays, as the state of training is stored."""

    def prepare(self, folder: Path) -> None:
        with (folder / "target").open("wb") as stream:
            np.savez(stream, np.zeros(5000))

    def act(self, folder: Path) -> None:
        with whole_file(folder / "target") as draft, draft.open("wb") as stream:
            np.savez(stream, np.ones(5000))

    def state(self, folder: Path) -> str:
        with np.load(folder / "target") as stored:
            return {0.0: OLD, 5000.0: NEW}[float(stored["arr_0"].sum())]


class Bundle(Writer):
    """A bundle that replaces an earlier one."""

    can_exchange = True

    def prepare(self, folder: Path) -> None:
        self._write(folder, OLD)

    def act(self, folder: Path) -> None:
        self._write(folder, NEW)

    def _write(self, folder: Path, made: str) -> None:
        if not self.can_exchange:
            whole_files.exchange = lambda *names: False
        with new_bundle(folder / "target") as draft:
            shutil.copytree(TINY_BUNDLE, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
            write_manifest(draft, {"spec": {}, "made": made})

    def state(self, folder: Path) -> str:
        return str(verify_bundle(folder / "target")["made"])


class BundleByTwoRenames(Bundle):
    """The same where the system cannot exchange two names: a kill in between is mended at the next start."""

    can_exchange = False

    def prepare(self, folder: Path) -> None:
        exchange = whole_files.exchange
        super().prepare(folder)
        whole_files.exchange = exchange

    def state(self, folder: Path) -> str:
        if not (folder / "target").exists():
            recover_folder(folder / "target")
        return super().state(folder)


class Run(Writer):
    """A run whose training has ended, and which appears."""

    allowed = (NONE, NEW)
    config = TrainConfig("cnn")

    def act(self, folder: Path) -> None:
        target, data = folder / "target", folder.parent / "data"
        if is_finished(target, self.config, data):
            try:  # what the next start does that finds the run there
                open_unfinished_run(target, self.config, data, resume=False).release()
            except DataError:
                return
        begun = (folder / ".target.unfinished" / "settings.json").is_file()
        run = open_unfinished_run(target, self.config, data, resume=begun)
        try:
            run.state.mkdir(exist_ok=True)
            (run.state / "last.npz").write_bytes(bytes(20_000))
            (run.folder / "calibration").mkdir()
            for number in range(3):
                Image.fromarray(np.full((40, 40), number, np.uint8)).save(run.folder / "calibration" / f"{number}.png")
            (run.folder / "model.keras").write_bytes(bytes(30_000))
            write_json(run.folder / "run.json", {"config": self.config.to_dict(), "data_root": str(data)})
            write_json(run.folder / "metrics.json", {})
            run.publish()
        finally:
            run.release()

    def state(self, folder: Path) -> str:
        target = folder / "target"
        if not target.exists():
            return NONE
        assert {path.name for path in target.iterdir()} == {"calibration", "model.keras", "run.json", "metrics.json"}
        assert (target / "model.keras").stat().st_size == 30_000 and len(list((target / "calibration").iterdir())) == 3
        assert is_finished(target, self.config, folder.parent / "data")
        return NEW


@dataclass
class CleanedCopy(Writer):
    """The cleaned copy of `edge-audit --write`."""

    findings: Findings
    allowed = (NONE, NEW)

    def act(self, folder: Path) -> None:
        if not (folder / "target").exists():
            write_clean(self.findings, folder / "target", keep_copies=False, seed=0)
            return
        try:
            write_clean(self.findings, folder / "target", keep_copies=False, seed=0)
        except DataError:  # exists already, which is the right answer
            return
        raise AssertionError("a cleaned copy was replaced")

    def state(self, folder: Path) -> str:
        if not (folder / "target").exists():
            return NONE
        rows = (folder / "target" / "index.csv").read_text().splitlines()[1:]
        assert len(rows) == len(self.findings.inventory.records)
        for row in rows:
            Image.open(folder / "target" / row.split(",")[0]).load()
        return NEW


@dataclass
class Package(Writer):
    """A package that replaces an earlier one; its scratch files lie in the folder's own TMPDIR."""

    wheels: Path
    left = ("target.zip",)

    def prepare(self, folder: Path) -> None:
        self._write(folder, 1)

    def act(self, folder: Path) -> None:
        self._write(folder, 2)

    def _write(self, folder: Path, number: int) -> None:
        tempfile.tempdir = str(folder)
        request = PackageRequest(folder / "target.zip", machines_for("aarch64", ["3.11"], "litert"), number=number)
        write_package(request, TINY_BUNDLE, self.wheels)

    def state(self, folder: Path) -> str:
        with zipfile.ZipFile(folder / "target.zip") as archive:
            assert archive.testzip() is None
            settings = archive.read("target/package.conf").decode().splitlines()
        return {"number=1": OLD, "number=2": NEW}[next(line for line in settings if line.startswith("number="))]


class Watch(Writer):
    """The results of a watched folder: each line once, in order, whatever happens."""

    left = ("results.jsonl", "results.jsonl.attempt")
    lines = tuple(json.dumps({"path": f"/{number}.png", "probability": 0.5}).encode() + b"\n" for number in range(6))

    def prepare(self, folder: Path) -> None:
        (folder / "results.jsonl").write_bytes(self.lines[0])

    def act(self, folder: Path) -> None:
        results, attempts = ResultsFile(folder / "results.jsonl"), Attempts(folder / "results.jsonl")
        done = {record["path"] for record in results.records()}
        for number, line in enumerate(self.lines):
            if json.loads(line)["path"] in done:
                continue
            attempts.begin(number)
            attempts.end()
            if not results.append(line):
                raise OSError("no room, and the watcher waits")
        attempts.close()
        results.close()

    def state(self, folder: Path) -> str:
        content = (folder / "results.jsonl").read_bytes()
        whole = b"".join(self.lines)
        assert whole.startswith(content) and content.startswith(self.lines[0])
        return NEW if content == whole else OLD


def all_writers(work: Path) -> list[Writer]:
    """Every writer, with what it needs made in a folder."""
    wheels = work / "wheels"
    (wheels / "3.11").mkdir(parents=True)
    for name in ("pip-26.3", "click-8.5.1", "fracture_edge_runtime-0.1.0"):
        with zipfile.ZipFile(wheels / "3.11" / f"{name}-py3-none-any.whl", "w") as wheel:
            distribution, version = name.split("-")
            metadata = f"Name: {distribution}\nVersion: {version}\nLicense: MIT\n"
            wheel.writestr(f"{name}.dist-info/METADATA", metadata)
            wheel.writestr("content", os.urandom(20_000))
    rest = [Run(), CleanedCopy(_findings(work / "radiographs")), Package(wheels), Watch()]
    return [File(), Bundle(), BundleByTwoRenames(), *rest]


def _findings(root: Path) -> Findings:
    rng = np.random.default_rng(0)
    for number in range(6):
        path = root / ("fractured" if number % 2 else "normal") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((rng.random((12, 12)) * 255).astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
        grey.save(path)
    return audit(root, shortcuts=False)
