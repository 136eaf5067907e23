"""A Raspberry Pi under emulation with a package on it, made by edge-export and installed by the package's installer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime import EdgeError, Predictor
from export.package.pins import pinned_versions
from export.package.target import Machine, machine_for
from export.package.wheelhouse import gather_wheels
from tools.pi.armhf_wheels import armhf_wheels
from tools.pi.debian import NotToBeHad
from tools.pi.emulator import BOOKWORM_32, CACHE, Emulator, System, open_emulator
from tools.pi.memory_limit import LimitNotToBeHad, MemoryLimit

MEMORY_MB = 512  # of a Raspberry Pi Zero 2 W
_PREFIX = "/opt/fracture-edge"
_HOG = f"held = bytearray(b'1') * ({MEMORY_MB + 88} << 20); print('survived')"


class WentWrong(Exception):
    """A command on the device failed, or answered what it must not. The message holds what it said."""


@dataclass(frozen=True)
class Device:
    """One system with one engine."""

    emulator: Emulator  # of the system
    engine: str  # that was installed
    folder: Path  # here; /work there

    def run(self, processor: str, *command: str, limit: MemoryLimit | None = None) -> str:
        """What a command printed.

        Raises:
            WentWrong: it ended with another code than 0.
        """
        done = self.emulator.run(processor, *command, preexec=limit.join() if limit else None)
        if done.returncode:
            what = f"{' '.join(command)} on {processor} ended with code {done.returncode}"
            raise WentWrong(f"{what}\n{done.stdout}{done.stderr}")
        return done.stdout

    def edge_infer(self, processor: str, *arguments: str, limit: MemoryLimit | None = None) -> str:
        """What the installed command printed."""
        return self.run(processor, f"{_PREFIX}/bin/edge-infer", *arguments, limit=limit)

    def installed_mb(self) -> float:
        """Disk space of the installation."""
        return int(self.run(self.emulator.system.processors[0], "du", "-sk", _PREFIX).split()[0]) / 1024

    def answers(self, processor: str, images: str, count: int, model: str) -> tuple[NDArray[np.float64], float]:
        """(probabilities of the first images, peak memory in MB) of a model file; paths lie in the folder."""
        python = [f"{_PREFIX}/current/venv/bin/python", "answers.py"]
        printed = self.run(
            processor, "env", "--chdir=/work", "PYTHONDONTWRITEBYTECODE=1", *python, images, str(count), model
        )
        found = json.loads(printed)
        return np.array(found[Path(model).name]), found["peak_mb"]


def install(system: System, engine: str, bundle: Path, folder: Path) -> Device:
    """Makes a package as a user would, unpacks it, and runs its installer under emulation, with no network.

    Raises:
        NotToBeHad: there is no emulator or a wheel cannot be had.
        WentWrong: the installer failed.
    """
    (folder / "opt").mkdir(parents=True)
    device = Device(open_emulator(system, {folder: "/work", folder / "opt": "/opt"}), engine, folder)
    machine = machine_for(system.target, system.python, engine)
    unpack_package(bundle, machine, armhf_wheels() if system is BOOKWORM_32 else kept_wheels(machine), folder)
    shutil.copy(Path(__file__).with_name("answers.py"), folder)
    device.run(system.processors[0], "sh", "/work/pi/install.sh", "--prefix", _PREFIX)
    return device


def unpack_package(bundle: Path, machine: Machine, wheels: Path, folder: Path) -> None:
    """Makes the package of a bundle for a machine, with no network, and unpacks it: `pi` in the folder."""
    command = [Path(sys.executable).with_name("edge-export"), bundle, "--package", folder / "pi.zip"]
    options = ["--target", machine.target.name, "--python", machine.python, "--engine", machine.engine]
    options += ["--wheels", str(wheels)]
    subprocess.run([*command, *options], check=True, stdout=sys.stderr)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", folder / "pi.zip", folder], check=True)


def judge_within_memory(device: Device, processor: str, files: Path) -> str:
    """Judges image files under the memory of the smallest Raspberry Pi, and says how much it took.

    Args:
        device: with the bundle that was packaged.
        processor: to emulate.
        files: folder of images inside the device's.

    Raises:
        WentWrong: it was killed, decided otherwise than this machine, or the limit lets too much pass.
    """
    arguments = ["--json", f"/work/{files.relative_to(device.folder)}"]
    try:
        limit = MemoryLimit(MEMORY_MB)
    except LimitNotToBeHad as error:
        device.edge_infer(processor, *arguments)
        return f"NOT under a limit of {MEMORY_MB} MB: {error}"
    with limit:
        lines = device.edge_infer(processor, *arguments, limit=limit).splitlines()
        peak_mb = limit.peak_mb
        _must_bite(device, processor, limit)
    predictor = Predictor(device.folder / "pi" / "bundle")
    for found in map(json.loads, lines):
        expected = predictor.predict(files / Path(found["path"]).name)
        if found["decision"] != expected.decision:
            raise WentWrong(f"{found['path']} is decided otherwise on {processor} than here")
    if len(lines) != len(list(files.iterdir())):
        raise WentWrong(f"{len(lines)} files were judged, {len(list(files.iterdir()))} were given")
    return (
        f"{len(lines)} image files judged within {MEMORY_MB} MB ({limit.kind}; a process that needed more was killed); "
        f"{peak_mb:.0f} MB used, emulator included"
    )


def serve(device: Device, processor: str, files: Path) -> str:
    """Starts edge-serve there, has it judge one image by the page's API and one by C-STORE, and stops it.

    Args:
        device: with the bundle that was packaged.
        processor: to emulate.
        files: folder of images inside the device's.

    Raises:
        WentWrong: it failed, or decided otherwise than this machine.
    """
    image = next(iter(sorted(files.iterdir())))
    instance = device.folder / "instance.dcm"
    write_instance(image, instance)
    shutil.copy(Path(__file__).with_name("served.py"), device.folder)
    python = [f"{_PREFIX}/current/venv/bin/python", "/work/served.py", _PREFIX]
    given = ["env", "PYTHONDONTWRITEBYTECODE=1", *python]
    printed = device.run(processor, *given, f"/work/{image.relative_to(device.folder)}", "/work/instance.dcm")
    found = json.loads(printed)
    expected = Predictor(device.folder / "pi" / "bundle").predict(image)
    for way in ("page", "dicom"):
        if found[way]["decision"] != expected.decision:
            raise WentWrong(f"edge-serve on {processor} decides otherwise than here by {way}: {found[way]}")
    if found["code"] != 0:
        raise WentWrong(f"edge-serve on {processor} ended with code {found['code']}")
    figures = ", ".join(f"{found[way]['probability']:.4f} by {way}" for way in ("page", "dicom"))
    here = f"{expected.decision} with {expected.probability:.4f} here"
    return f"edge-serve on {processor}: ready after {found['ready_s']} s; {figures} ({here}); stopped with code 0"


def write_instance(image: Path, target: Path) -> None:
    """An image file as an instance of Digital X-Ray, uncompressed, 8 bits."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    with Image.open(image) as opened:
        grey_u8 = np.asarray(opened.convert("L"))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        DigitalXRayImageStorageForPresentation,
        generate_uid(),
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PhotometricInterpretation, dataset.PresentationLUTShape = "DX", "MONOCHROME2", "IDENTITY"
    dataset.Rows, dataset.Columns = grey_u8.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = grey_u8.tobytes() + bytes(grey_u8.size % 2)
    dataset.save_as(target, enforce_file_format=True)


def _must_bite(device: Device, processor: str, limit: MemoryLimit) -> None:
    """A limit that nothing keeps would prove nothing: under it a process that needs more has to be killed."""
    hog = [f"{_PREFIX}/current/venv/bin/python", "-c", _HOG]
    done = device.emulator.run(processor, *hog, preexec=limit.join())
    if done.returncode == 0 or done.stdout:
        raise WentWrong(f"a process of more than {MEMORY_MB} MB lived under the limit ({limit.kind})")


def kept_wheels(machine: Machine) -> Path:
    """Every wheel of a machine; downloaded at the first time, and when a version has changed."""
    pins = pinned_versions(machine)
    kept = CACHE / f"wheels-{machine.target.name}-{machine.python}-{machine.engine}"
    if {tuple(path.name.split("-")[:2]) for path in kept.glob("*.whl")} == {
        (name.replace("-", "_"), version) for name, version in pins.items()
    }:
        return kept
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as draft:
        try:
            gather_wheels(machine, Path(draft), None)
        except EdgeError as error:
            raise NotToBeHad(f"the wheels of {machine}: {error}") from error
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(draft, kept)
    return kept
