"""Debian's packages of another architecture or release, unpacked into a folder: no root rights, nothing installed here.

apt keeps a state of its own in the cache folder, with the mirror that this machine is set to.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


class NotToBeHad(Exception):
    """The emulator, or what it needs, cannot be had here. The message says why."""


@dataclass(frozen=True)
class Debian:
    """One release for one architecture."""

    folder: Path  # of apt's state and the packages
    architecture: str  # as Debian has it: `amd64`, `arm64`, `armhf`
    suite: str  # `bookworm` or `trixie`

    def unpack(self, packages: list[str], root: Path) -> None:
        """Fetches packages with all that they depend on, and unpacks them into a new folder: whole or not at all."""
        self._update()
        self._apt("install", "--yes", "--download-only", "--no-install-recommends", *packages)
        self._unpack_files(sorted((self.folder / "cache" / "archives").glob("*.deb")), root)

    def unpack_alone(self, package: str, root: Path) -> None:
        """The same of one package without its dependencies."""
        self._update()
        self._apt("download", package, folder=self.folder)
        self._unpack_files(sorted(self.folder.glob(f"{package}_*.deb")), root)

    def _unpack_files(self, files: list[Path], root: Path) -> None:
        draft = root.with_name(f".{root.name}.unfinished")
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "usr").mkdir(parents=True)
        for name in ("bin", "lib", "sbin"):  # as base-files lays them since bookworm
            (draft / "usr" / name).mkdir()
            (draft / name).symlink_to(f"usr/{name}")
        for file in files:
            content = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], stdout=subprocess.PIPE, check=True).stdout
            tar = ["tar", "--extract", "--no-same-owner", "--keep-directory-symlink", "--directory", draft]
            subprocess.run(tar, input=content, check=True)
        draft.rename(root)

    def _update(self) -> None:
        for name in ("lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        (self.folder / "sources.list").write_text(f"deb {_mirror()} {self.suite} main\n")
        self._apt("update")

    def _apt(self, *arguments: str, folder: Path | None = None) -> None:
        state = self.folder.resolve()
        options = {
            "Dir::State": state,
            "Dir::State::lists": state / "lists",
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            "Dir::Etc::sourcelist": state / "sources.list",
            "Dir::Etc::sourceparts": "/nonexistent",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",  # a mirror that is not reached is a mere warning otherwise
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": "20",  # seconds; two minutes would be usual
            "Acquire::https::Timeout": "20",
        }
        settings = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        command = ["apt-get", "--quiet", *settings, *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["apt-get says nothing"])[0]
            raise NotToBeHad(f"apt-get {arguments[0]} for {self.architecture}, {self.suite}: {reason}")


def _mirror() -> str:
    """The mirror of Debian itself that this machine is set to."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NotToBeHad("apt-get and dpkg-deb, which fetch the emulator, are not on this machine")
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)"], capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        uri = line.split()[0]
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise NotToBeHad("apt-get knows no mirror of Debian here (is this Debian, and was `apt-get update` run?)")
