"""Assembles a package: the bundle, the wheels with their hashes, the installer and what tells it about the machine."""

from __future__ import annotations

import contextlib
import logging
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from edge_runtime import __version__
from edge_runtime.device.archives import PACKAGE_SIGNATURE
from edge_runtime.drafts import scratch_folder
from edge_runtime.embedded_spec import read_embedded_spec
from edge_runtime.errors import DataError
from edge_runtime.hashing import sha256_of
from edge_runtime.self_test import GOLDEN
from edge_runtime.spec import ModelSpec
from export.bundle.signing import Signer
from export.package import debian
from export.package.archive import require_archive_of_ours, write_archive
from export.package.device_bundle import choose_model_file, write_device_bundle
from export.package.pins import PIP, TRIM
from export.package.runtime_wheel import make_runtime_wheel
from export.package.sbom import write_sbom
from export.package.target import SYSTEMS, Machine
from export.package.wheelhouse import gather_wheels

ARCHIVE_SUFFIX = ".zip"

_FILES = files("export.package") / "files"
_PROGRAMS = ("install.sh", "uninstall.sh", "edge-infer", "edge-device", "edge-serve")
_UNITS = ("edge-infer.service", "edge-infer.user.service", "edge-serve.service", "edge-serve.user.service")
_OF_PHANTOMS = (
    "\n**Domain: phantom.** This model learnt from drawn phantoms, not from radiographs: it shows that everything\n"
    "works, and its answers about a patient's image mean nothing.\n"
)
_BLOCK = 4096  # bytes: what a file takes is a multiple of it
_BYTECODE_RATIO = 1.3  # of compiled to source, at most, over the wheels that are used
_ENVIRONMENT_KB = 1024  # a virtual environment without pip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackageRequest:
    """What a user asks of one package."""

    archive: Path  # `.zip` or `.deb` to write
    machines: tuple[Machine, ...]  # that it is for: one for each Python
    wheels: Path | None = None  # folder of wheels; None downloads them
    signer: Signer | None = None  # whose key signs bundle, package and archive; None leaves them unsigned
    number: int = 0  # grows from package to package: a device refuses an older one that is signed


@dataclass(frozen=True)
class PackageSummary:
    """What was packed."""

    archive: Path  # that was written
    model: str  # name of the model file
    wheels: int  # in the wheelhouse
    megabytes: float  # of the archive


@contextlib.contextmanager
def collected_wheels(request: PackageRequest) -> Iterator[Path]:
    """A folder with the wheels of each Python in a folder of its name, until the block ends.

    It comes first: what is missing shows at once.

    Args:
        request: what is to be packed.

    Raises:
        DataError: the archive's name ends in neither .zip nor .deb, or `wheels` is no folder.
        DependencyError: a wheel does not exist, or setuptools is missing.
        StorageError: a wheel could not be downloaded or built.
    """
    if request.archive.suffix not in (ARCHIVE_SUFFIX, debian.SUFFIX) or request.archive.is_dir():
        expected = f"{ARCHIVE_SUFFIX} or {debian.SUFFIX}"
        raise DataError(f"--package {request.archive}: a file ending in {expected} was expected")
    if request.wheels is not None and not request.wheels.is_dir():
        raise DataError(f"--wheels {request.wheels}: no such folder")
    if request.archive.suffix == debian.SUFFIX:
        debian.require_debian_package_of_ours(request.archive)
    else:
        require_archive_of_ours(request.archive)
    with scratch_folder("edge-package") as folder:
        for machine in request.machines:
            (folder / machine.python).mkdir()
            gather_wheels(machine, folder / machine.python, request.wheels, request.signer is not None)
            make_runtime_wheel(folder / machine.python)
        yield folder


def write_package(request: PackageRequest, bundle: Path, wheels: Path) -> PackageSummary:
    """Writes the archive, whole or not at all.

    Args:
        request: what is to be packed.
        bundle: written by edge-export.
        wheels: folder of `collected_wheels`.

    Raises:
        ModelError: the bundle is altered, or has no file for the engine.
    """
    log.info("writing the package")
    model = choose_model_file(bundle, request.machines[0].engine)
    with scratch_folder("edge-package") as work:
        draft = work / "package"
        _share_wheels(wheels, draft, request.machines)
        write_device_bundle(bundle, model, draft / "bundle")
        if request.signer:
            request.signer.sign_folder(draft / "bundle")
            (draft / "signing.pub").write_bytes(request.signer.public_pem)
        spec = read_embedded_spec(draft / "bundle" / model, verify=False).spec
        needed_kb = max(_needed_kb(draft / "bundle", wheels / machine.python) for machine in request.machines)
        _write_installer(draft, request, spec.domain, needed_kb)
        (draft / "README.md").write_text(_readme(draft, f"{spec.name}/{model}", spec, request, needed_kb), "utf-8")
        write_sbom(draft, model, spec, request.machines)
        _write_sums(draft)
        if request.signer:
            request.signer.sign_folder(draft, PACKAGE_SIGNATURE)
        request.archive.parent.mkdir(parents=True, exist_ok=True)
        if request.archive.suffix == debian.SUFFIX:
            write_archive(draft, work / "carried.zip", debian.INSIDE)
            debian.write_debian_package(work / "carried.zip", request.archive, request.machines, request.number)
        else:
            write_archive(draft, request.archive, request.archive.stem)
    if request.signer:
        request.signer.sign_file(request.archive)
    megabytes = request.archive.stat().st_size / 1e6
    count = len({wheel.name for wheel in wheels.glob("*/*.whl")})
    return PackageSummary(request.archive, model, count, megabytes)


def _share_wheels(wheels: Path, draft: Path, machines: Sequence[Machine]) -> None:
    """One folder of wheels, each once though several Pythons take it, and what each of them installs."""
    (draft / "wheels").mkdir(parents=True)
    for machine in machines:
        own = sorted((wheels / machine.python).glob("*.whl"))
        for wheel in own:
            shutil.copyfile(wheel, draft / "wheels" / wheel.name)
        requirements = [_requirement(wheel) for wheel in own if not _is_pip(wheel)]
        (draft / f"requirements-{machine.python}.txt").write_text("".join(requirements), encoding="utf-8")


def _write_installer(draft: Path, request: PackageRequest, domain: str, needed_kb: int) -> None:
    machine = request.machines[0]
    for name in (*_PROGRAMS, *_UNITS):
        (draft / name).write_bytes((_FILES / name).read_bytes())
    for name in _PROGRAMS:
        (draft / name).chmod(0o755)
    wheels = sorted((draft / "wheels").glob("*.whl"))
    settings = {
        "target": machine.target.name,
        "python": " ".join(one.python for one in request.machines),
        "system": _systems(request.machines),
        "engine": machine.engine,
        "system_numpy": "yes" if machine.target.system_numpy else "no",
        "version": __version__,
        "number": str(request.number),
        "needed_kb": str(needed_kb),
        "pip": next(wheel.relative_to(draft).as_posix() for wheel in wheels if _is_pip(wheel)),
        "trim": " ".join(TRIM[machine.engine]),
        "domain": domain,
    }
    # install.sh reads these lines and runs none: it takes letters, digits, spaces and a few signs.
    (draft / "package.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def _requirement(wheel: Path) -> str:
    """A line that pip accepts with --require-hashes."""
    name, version, *_ = wheel.name.split("-")
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{sha256_of(wheel)}\n"


def _is_pip(wheel: Path) -> bool:
    return wheel.name.startswith(f"{PIP}-")


def _systems(machines: Sequence[Machine]) -> str:
    return ", ".join(SYSTEMS[machine.python] for machine in machines)


def _needed_kb(bundle: Path, wheels: Path) -> int:
    """Disk space that the wheels of one Python take until they are trimmed, with a bundle, in units of 1024 bytes."""
    sizes: list[float] = [path.stat().st_size for path in bundle.rglob("*") if path.is_file()]
    for wheel in wheels.glob("*.whl"):
        if _is_pip(wheel):
            continue
        for entry in zipfile.ZipFile(wheel).infolist():
            sizes.append(entry.file_size)
            if entry.filename.endswith(".py"):
                sizes.append(entry.file_size * _BYTECODE_RATIO)
    blocks = sum(-(-int(size) // _BLOCK) for size in sizes)
    return blocks * _BLOCK // 1024 + _ENVIRONMENT_KB


def _readme(draft: Path, model: str, spec: ModelSpec, request: PackageRequest, needed_kb: int) -> str:
    machine = request.machines[0]
    name = debian.INSIDE if request.archive.suffix == debian.SUFFIX else request.archive.stem
    needs_numpy = "\n\nIt uses the system's own numpy: `apt install python3-numpy` where it is missing."
    return Template((_FILES / "README.md").read_text(encoding="utf-8")).substitute(
        target=machine.target.name,
        python=" and ".join(one.python for one in request.machines),
        engine=machine.engine,
        system=_systems(request.machines),
        model=model,
        precision=spec.input.dtype,
        needed_mb=needed_kb // 1024,
        archive=f"{name}{ARCHIVE_SUFFIX}",
        folder=name,
        golden=len(list((draft / "bundle" / GOLDEN).glob("*.png"))),
        warning=_OF_PHANTOMS if spec.domain == "phantom" else "",
        needs_numpy=needs_numpy if machine.target.system_numpy else "",
    )


def _write_sums(draft: Path) -> None:
    """`SHA256SUMS` of every other file, as sha256sum reads it."""
    paths = sorted(path for path in draft.rglob("*") if path.is_file())
    lines = [f"{sha256_of(path)}  {path.relative_to(draft).as_posix()}\n" for path in paths]
    (draft / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
