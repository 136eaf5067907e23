"""A signed package on a device: pinned at first, then opened by the installed version alone, whatever was altered."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.device.signatures import load_public_key
from export.bundle.signing import Signer, new_key
from export.package.packager import PackageRequest, collected_wheels, write_package
from export.package.wheelhouse import gather_wheels
from tests.export.package.conftest import Install, unpack

ALTERED, OLDER = 3, 4  # exit codes


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key"
    new_key(path)
    return path


@pytest.fixture(scope="module")
def make_signed(machine, wheels, tiny_bundle, key, tmp_path_factory) -> Callable[[str, int], Path]:
    folder = tmp_path_factory.mktemp("wheels-signed")
    for wheel in wheels.iterdir():
        os.link(wheel, folder / wheel.name)
    more = tmp_path_factory.mktemp("more")
    for wheel in gather_wheels(machine, more, None, signed=True):
        if not (folder / wheel.name).exists():
            shutil.copy(wheel, folder)

    def make(name: str, number: int) -> Path:
        archive = tmp_path_factory.mktemp("signed") / f"{name}.zip"
        request = PackageRequest(archive, (machine,), folder, Signer(key), number)
        with collected_wheels(request) as collected:
            write_package(request, tiny_bundle, collected)
        return archive

    return make


@pytest.fixture(scope="module")
def signed_archive(make_signed) -> Path:
    return make_signed("first", 5)


@pytest.fixture(scope="module")
def newer_archive(make_signed) -> Path:
    return make_signed("newer", 6)


@pytest.fixture(scope="module")
def device(signed_archive, key, tmp_path_factory) -> Install:
    """A prefix where the first package is installed and its key pinned; tests that install leave it changed."""
    folder = tmp_path_factory.mktemp("device")
    installed = Install(unpack(signed_archive, folder), folder / "prefix")
    done = installed.run("--pin", f"{key}.pub")
    assert done.returncode == 0, done.stderr
    assert load_public_key(Path(f"{key}.pub")).fingerprint in done.stdout
    assert "openssl pkeyutl -verify" in done.stdout
    return installed


def edge_device(installed: Install, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [installed.prefix / "bin" / "edge-device", *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EDGE_MODEL")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def altered(archive: Path, target: Path, name: str) -> Path:
    """The archive with one file of it altered, and every hash beside it made to fit."""
    folder = unpack(archive, target.with_suffix(""))
    path = folder / name
    path.write_bytes(path.read_bytes() + (b"\n" if path.suffix != ".sig" else b" "))
    sums = folder / "SHA256SUMS"
    if name not in ("SHA256SUMS", "package.sig"):
        lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}")
        sums.write_text("\n".join(lines) + "\n")
    with zipfile.ZipFile(target, "w") as stream:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            stream.write(file, f"{archive.stem}/{file.relative_to(folder).as_posix()}")
    shutil.rmtree(folder.parent)
    return target


def test_every_part_of_a_package_is_proven_before_any_of_it_runs(device, newer_archive, tmp_path):
    with zipfile.ZipFile(newer_archive) as stream:
        names = [name.partition("/")[2] for name in stream.namelist()]
    wheels, images = ([name for name in names if name.endswith(end)] for end in (".whl", ".png"))
    # One wheel stands for all. Blank space behind the signature's JSON changes nothing that is signed.
    parts = set(names) - {*wheels[1:], *images[1:], "package.sig"}
    assert parts > {"install.sh", "package.conf", "SHA256SUMS", "bundle/manifest.sig", "edge-device"}
    before = device.current
    for number, name in enumerate(sorted(parts)):
        done = edge_device(device, "install", altered(newer_archive, tmp_path / f"altered{number}.zip", name))
        assert (done.returncode, device.current) == (ALTERED, before), name
    done = edge_device(device, "install", newer_archive)
    assert done.returncode == 0, done.stderr
    assert device.current != before


def test_an_older_package_is_refused_unless_it_is_asked_for(device, signed_archive):
    (device.prefix / "current" / "package.conf").write_text("version=0.1.0\nnumber=6\n")
    assert edge_device(device, "install", signed_archive).returncode == OLDER
    assert edge_device(device, "install", signed_archive, "--allow-downgrade").returncode == 0


def test_install_sh_refuses_to_prove_itself(device, newer_archive, tmp_path):
    newer = Install(unpack(newer_archive, tmp_path / "newer"), device.prefix)
    done = newer.run()
    assert done.returncode == ALTERED
    assert "edge-device install" in done.stderr


def test_an_unsigned_package_and_another_keys_are_refused(device, archive, newer_archive, tmp_path):
    assert edge_device(device, "install", archive).returncode == ALTERED
    new_key(tmp_path / "other")
    done = edge_device(device, "install", newer_archive, "--key", tmp_path / "other.pub")
    assert (done.returncode, "another key" in done.stderr) == (ALTERED, True)


def test_a_first_package_that_the_key_has_not_signed_is_not_installed(signed_archive, tmp_path):
    new_key(tmp_path / "other")
    install = Install(unpack(signed_archive, tmp_path), tmp_path / "prefix")
    done = install.run("--pin", str(tmp_path / "other.pub"))
    assert done.returncode == ALTERED
    assert install.current is None and not install.releases
    assert not (install.prefix / "trusted.pub").exists()
