"""Going back to the kept release, and another network for the one in use: each taken back by itself where it fails.

Another network is a release too: the programs of the one in use, which take no disk a second time (hard links), beside
the other bundle. So it comes into use by one rename, and goes out of it as any release does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from edge_runtime.bundle import MANIFEST, read_file, read_manifest, spec_of_bundle, verify_bundle
from edge_runtime.device.archives import SETTINGS
from edge_runtime.device.health import require_answering, require_passing
from edge_runtime.device.releases import (
    CURRENT,
    PREVIOUS,
    Release,
    alone_at_work,
    change_places,
    clear_releases,
    new_release,
    point,
    put_in_use,
    release_at,
    release_in_use,
)
from edge_runtime.device.services import restart
from edge_runtime.device.signatures import SIGNATURE, TrustedKey, verify_folder
from edge_runtime.errors import DataError, EdgeError, GateError, ModelError
from edge_runtime.whole_files import sync_tree

_MOST_SIGNATURE_BYTES = 8 << 20


def roll_back(prefix: Path) -> Release:
    """The release before the current one, now in use again; the current one is kept in its place.

    Raises:
        DataError: there is none.
        GateError: it fails its self-test, or gives no answer in use; the current one stays.
    """
    with alone_at_work(prefix):
        release_in_use(prefix)
        earlier = release_at(prefix, PREVIOUS)
        if earlier is None or earlier == release_in_use(prefix):
            raise DataError(f"{prefix}: no earlier release is kept there")
        require_passing(earlier)
        change_places(prefix)
        _try_it(prefix)
        return earlier


def swap_model(prefix: Path, bundle: Path, trusted: TrustedKey | None) -> Release:
    """A release of the current programs with another network, now in use; the current one is kept as the previous.

    Args:
        prefix: where it is installed.
        bundle: written by edge-export.
        trusted: key that must have signed it; None: it needs no signature.

    Raises:
        ModelError: the bundle is altered, not signed by that key, or not for the engine that is installed.
        GateError: it fails its self-test, or gives no answer in use; the current release stays.
    """
    with alone_at_work(prefix):
        current = release_in_use(prefix)
        clear_releases(prefix)
        manifest = verify_bundle(bundle)
        identity = hashlib.sha256(current.folder.name.encode() + (bundle / MANIFEST).read_bytes()).hexdigest()[:12]
        before = os.readlink(prefix / PREVIOUS) if (prefix / PREVIOUS).is_symlink() else None
        release = new_release(prefix, identity)
        try:
            _copy_bundle(bundle, manifest, release.bundle)
            if trusted is not None:
                verify_folder(release.bundle, trusted)  # the copy: nobody else can change it after this
            _copy_programs(current, release)
            _write_settings(current, release)
            sync_tree(release.folder)
            require_passing(release)
            put_in_use(prefix, release)
            _try_it(prefix)
        except BaseException:
            if release_at(prefix, CURRENT) != release:
                _keep_again(prefix, before, release)
                shutil.rmtree(release.folder, ignore_errors=True)
            raise
        clear_releases(prefix)
        return release


def _try_it(prefix: Path) -> None:
    """The release in use has to answer, else the previous one is put back in its place."""
    try:
        require_answering(prefix)
        restart(prefix)
    except GateError as error:
        change_places(prefix)
        with contextlib.suppress(EdgeError):  # the first failure is the one to tell
            restart(prefix)
        raise GateError(f"{error}; the release before is in use again") from error


def _keep_again(prefix: Path, before: str | None, release: Release) -> None:
    """Where a release that failed was in use, the one kept before it is kept again."""
    if release_at(prefix, PREVIOUS) != release:
        return
    if before is None:
        (prefix / PREVIOUS).unlink()
    else:
        point(prefix, PREVIOUS, before)


def _copy_bundle(bundle: Path, manifest: dict[str, object], target: Path) -> None:
    """The files that the manifest lists and no other, each compared with it as it is read."""
    files = manifest["files"]
    if not isinstance(files, dict):
        raise ModelError(f"{bundle}: lists no files")
    for name in files:
        _write(target / name, read_file(bundle, manifest, name))
    _write(target / MANIFEST, (bundle / MANIFEST).read_bytes())
    if read_manifest(target) != manifest:
        raise ModelError(f"{bundle}: was changed while it was read")
    if (bundle / SIGNATURE).is_file():
        with (bundle / SIGNATURE).open("rb") as stream:
            _write(target / SIGNATURE, stream.read(_MOST_SIGNATURE_BYTES))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)


def _copy_programs(current: Release, release: Release) -> None:
    """The environment of a release; its scripts name the folder that they are in, so they are written anew."""
    here, there = os.fsencode(current.folder / "venv"), os.fsencode(release.folder / "venv")

    def copy(source: str, target: str) -> None:
        if os.path.dirname(source) == os.path.join(current.folder, "venv", "bin") and not os.path.islink(source):
            content = Path(source).read_bytes()
            if here in content:
                Path(target).write_bytes(content.replace(here, there))
                shutil.copymode(source, target)
                return
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError:  # a file system without hard links
            shutil.copy2(source, target, follow_symlinks=False)

    shutil.copytree(current.folder / "venv", release.folder / "venv", symlinks=True, copy_function=copy)


def _write_settings(current: Release, release: Release) -> None:
    domain = spec_of_bundle(read_manifest(release.bundle), release.bundle).domain
    settings = current.settings | {"domain": domain}
    _write(release.folder / SETTINGS, "".join(f"{name}={value}\n" for name, value in settings.items()).encode())
