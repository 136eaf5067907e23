"""The Debian package: dpkg reads it, it carries the archive, and installed it runs the archive's own installer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.errors import DataError
from export.package.debian import INSIDE, write_debian_package
from export.package.packager import PackageRequest, collected_wheels, write_package
from export.package.target import machine_for
from tests.export.package.conftest import run_privately

pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="SKIPPED LOUDLY: dpkg, which reads Debian packages, is not on this machine"
)
# File systems of its own for all that dpkg and the installer write to, which nobody else sees.
IN_PRIVATE = """
    mount -t tmpfs tmpfs "$COPY" && mkdir "$COPY/upper" "$COPY/work" && cp -a /var/lib/dpkg "$COPY/dpkg" || exit 77
    mount --bind "$COPY/dpkg" /var/lib/dpkg || exit 77
    mount -t tmpfs tmpfs /opt && mount -t tmpfs tmpfs /usr/local/bin || exit 77
    mount -t overlay overlay -o "lowerdir=/usr/share,upperdir=$COPY/upper,workdir=$COPY/work" /usr/share || exit 77
    mkdir "$COPY/bin" && ln -s "$PYTHON" "$COPY/bin/python3" || exit 77
    export PATH="$COPY/bin:$PATH:/usr/sbin:/sbin"
    dpkg --force-depends -i "$DEB" >&2 || exit 1
    test -f /usr/share/fracture-edge/fracture-edge.zip || exit 2
    /usr/local/bin/edge-infer --json "$IMAGE" || exit 3
    dpkg -i "$DEB" >&2 || exit 4
    dpkg -r fracture-edge >&2 || exit 5
    ! ls /opt/fracture-edge/bin /usr/local/bin/edge-infer 2>/dev/null || exit 6
"""


def fields(package: Path) -> dict[str, str]:
    told = subprocess.run(["dpkg-deb", "--field", package], capture_output=True, text=True, check=True).stdout
    lines = [line for line in told.splitlines() if not line.startswith(" ")]
    return dict(line.split(": ", 1) for line in lines)


@pytest.fixture
def carried(tmp_path) -> Path:
    path = tmp_path / "carried.zip"
    path.write_bytes(os.urandom(3001))
    return path


def test_dpkg_reads_it_and_finds_the_archive_inside(carried, tmp_path):
    package = tmp_path / "pi.deb"
    machines = (machine_for("aarch64", "3.11", None), machine_for("aarch64", "3.13", None))
    write_debian_package(carried, package, machines, 7)
    found = fields(package)
    assert (found["Architecture"], found["Version"].partition("-")[2]) == ("arm64", "7")
    assert found["Depends"] == "python3 (>= 3.11), python3 (<< 3.14)"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tmp_path / "out"], check=True)
    place = tmp_path / "out" / "usr" / "share" / "fracture-edge" / f"{INSIDE}.zip"
    assert place.read_bytes() == carried.read_bytes()
    for name in ("postinst", "prerm"):
        script = tmp_path / "out" / "DEBIAN" / name
        assert os.access(script, os.X_OK)
        subprocess.run(["sh", "-n", script], check=True)
    before = package.read_bytes()
    write_debian_package(carried, package, machines, 7)  # over one of ours
    assert package.read_bytes() == before


def test_32_bit_asks_for_the_numpy_of_the_system(carried, tmp_path):
    write_debian_package(carried, tmp_path / "pi.deb", (machine_for("armv7l", "3.11", None),), 1)
    found = fields(tmp_path / "pi.deb")
    assert found["Architecture"] == "armhf" and found["Depends"].endswith(", python3-numpy")


def test_a_package_of_somebody_else_is_left_alone(carried, tmp_path):
    package = tmp_path / "pi.deb"
    package.write_bytes(b"!<arch>\nsomething else")
    with pytest.raises(DataError, match="not a package"):
        write_debian_package(carried, package, (machine_for("aarch64", "3.13", None),), 1)
    assert package.read_bytes() == b"!<arch>\nsomething else"


@pytest.mark.slow
def test_installed_it_judges_and_removed_it_is_gone(machine, wheels, tiny_bundle, golden_images, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can have file systems of its own for dpkg")
    package = tmp_path / "pi.deb"
    request = PackageRequest(package, (machine,), wheels, number=1)
    with collected_wheels(request) as collected:
        write_package(request, tiny_bundle, collected)
    (tmp_path / "private").mkdir()
    facts = {"DEB": str(package), "COPY": str(tmp_path / "private"), "IMAGE": str(golden_images[0])}
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EDGE_MODEL")}
    printed = run_privately(IN_PRIVATE, environment | facts | {"PYTHON": sys.executable})
    assert '"decision"' in printed
