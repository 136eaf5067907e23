"""What a package is made of, as a CycloneDX 1.6 document: every wheel with its hash and licence, and the model.

Written here and not by a tool: the tools describe the environment that they run in, and a package holds wheels for
another machine, which can be read and not installed. The tests hold it to what the package holds.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from email.parser import BytesParser
from email.policy import compat32
from pathlib import Path
from typing import Any

from edge_runtime import __version__
from edge_runtime.hashing import sha256_of
from edge_runtime.spec import ModelSpec
from export.package.target import Machine

SBOM = "sbom.cdx.json"

_SPDX_IDENTIFIERS = {"MIT", "Apache-2.0", "BSD-3-Clause", "BSD-2-Clause", "MIT-CMU", "PSF-2.0"}


def write_sbom(draft: Path, model: str, spec: ModelSpec, machines: Sequence[Machine]) -> None:
    """Writes the document into a draft of a package, whose wheels and bundle are there already.

    Args:
        draft: folder of the package.
        model: name of the model file in its bundle.
        spec: of that file.
        machines: that the package is for.
    """
    wheels = [_wheel(path, draft) for path in sorted((draft / "wheels").glob("*.whl"))]
    network = _model(draft / "bundle" / model, spec)
    root = {"type": "application", "name": "fracture-edge", "version": __version__, "bom-ref": "package"}
    properties = [
        {"name": "fracture-edge:target", "value": machines[0].target.name},
        {"name": "fracture-edge:python", "value": " ".join(machine.python for machine in machines)},
        {"name": "fracture-edge:engine", "value": machines[0].engine},
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,  # no serial number and no time: the same package has the same bytes
        "metadata": {"component": {**root, "properties": properties}},
        "components": [*wheels, network],
        "dependencies": [{"ref": "package", "dependsOn": [one["bom-ref"] for one in (*wheels, network)]}],
    }
    (draft / SBOM).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _wheel(path: Path, draft: Path) -> dict[str, Any]:
    facts = _metadata(path)
    name, version = facts["Name"].lower().replace("_", "-"), facts["Version"]
    url = f"pkg:pypi/{name}@{version}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
        "hashes": [{"alg": "SHA-256", "content": sha256_of(path)}],
        "licenses": _licenses(facts),
        "properties": [{"name": "fracture-edge:file", "value": path.relative_to(draft).as_posix()}],
    }


def _metadata(wheel: Path) -> Any:
    """The core metadata of a wheel (PEP 566), which stands in its `.dist-info`."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        # A wheel may carry the metadata of what it bundles, further down.
        name = next(name for name in names if name.count("/") == 1 and name.endswith(".dist-info/METADATA"))
        return BytesParser(policy=compat32).parsebytes(archive.read(name))


def _licenses(facts: Any) -> list[dict[str, Any]]:
    """As the wheel tells it: an SPDX expression (PEP 639), or a name, or what its classifiers say."""
    if facts["License-Expression"]:
        return [{"expression": facts["License-Expression"]}]
    classifiers = [line.rpartition(" :: ")[2] for line in facts.get_all("Classifier", []) if line.startswith("License")]
    first_line = (facts["License"] or "").strip().split("\n")[0]
    names = [first_line] if first_line and first_line != "UNKNOWN" else classifiers
    return [{"license": {"id" if name in _SPDX_IDENTIFIERS else "name": name}} for name in names]


def _model(path: Path, spec: ModelSpec) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": f"{spec.name}/{path.name}",
        "description": f"domain: {spec.domain}",
        "hashes": [{"alg": "SHA-256", "content": sha256_of(path)}],
    }
