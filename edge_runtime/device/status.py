"""What is on this device: releases, networks, the pinned key, services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_runtime.bundle import MANIFEST, model_files, read_manifest, spec_of_bundle
from edge_runtime.device.releases import CURRENT, PREVIOUS, Release, release_at
from edge_runtime.device.services import services_of
from edge_runtime.device.signatures import load_public_key
from edge_runtime.errors import EdgeError
from edge_runtime.hashing import sha256_of


def describe_device(prefix: Path, key: Path) -> dict[str, Any]:
    """A dict of plain JSON types.

    Args:
        prefix: where it is installed.
        key: where a pinned key lies, if there is one.
    """
    return {
        "prefix": str(prefix),
        "current": _describe(release_at(prefix, CURRENT)),
        "previous": _describe(release_at(prefix, PREVIOUS)),
        "pinned_key": _fingerprint(key),
        "services": {service.name: service.ask("is-active") or "unknown" for service in services_of(prefix)},
    }


def as_text(facts: dict[str, Any]) -> str:
    """The same for people: a line for each fact."""
    lines = [f"{name + ':':<10} {_told(facts[name])}" for name in ("current", "previous")]
    lines.append(f"key:       {facts['pinned_key'] or 'none is pinned: packages need no signature'}")
    lines += [f"service:   {name} {state}" for name, state in facts["services"].items()]
    return "\n".join([f"prefix:    {facts['prefix']}", *lines])


def _describe(release: Release | None) -> dict[str, Any] | None:
    if release is None:
        return None
    settings = release.settings
    facts: dict[str, Any] = {name: settings.get(name, "") for name in ("version", "number", "engine", "domain")}
    facts["release"] = release.folder.name
    try:
        manifest = read_manifest(release.bundle)
        spec = spec_of_bundle(manifest, release.bundle)
        facts["model"] = f"{spec.name}/{(model_files(manifest) or ['none'])[0]}"
        facts["bundle_sha256"] = sha256_of(release.bundle / MANIFEST)
    except (EdgeError, OSError) as error:
        facts["model"], facts["bundle_sha256"] = f"none ({error})", ""
    return facts


def _told(release: dict[str, Any] | None) -> str:
    if release is None:
        return "none"
    domain = "  (learnt from phantoms)" if release["domain"] == "phantom" else ""
    return f"{release['release']}  version {release['version']}  {release['model']}  {release['engine']}{domain}"


def _fingerprint(key: Path) -> str | None:
    if not key.is_file():
        return None
    try:
        return load_public_key(key).fingerprint
    except EdgeError as error:
        return f"unreadable: {error}"
