"""A bundle as a folder that can be given to the Hugging Face hub as it is: `edge-export --hub-folder`.

It is the bundle with a README.md, the model card, and what the hub wants to know beside it. Nothing is sent anywhere.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from edge_runtime.bundle import MANIFEST, read_manifest, spec_of_bundle, verify_bundle
from edge_runtime.errors import EdgeError
from edge_runtime.whole_files import require_replaceable, whole_folder
from export.bundle.card_head import FENCE, card_head
from train.pages import shown_path

CARD, README, SPEC, ATTRIBUTES = "MODEL_CARD.md", "README.md", "spec.json", ".gitattributes"

_LARGE = ("*.tflite", "*.onnx")  # what the hub keeps as large files


def write_hub_folder(bundle: Path, folder: Path) -> int:
    """Lays the folder, whole or not at all; bytes of all its files.

    Args:
        bundle: as edge-export wrote it.
        folder: must not exist, or be empty, or be an earlier one of these, which is then replaced.

    Raises:
        ModelError: the bundle is altered.
        DataError: the folder holds something else.
    """
    refuse_foreign_folder(folder)
    manifest = verify_bundle(bundle)
    spec = spec_of_bundle(manifest, bundle)
    with whole_folder(folder, is_hub_folder) as draft:
        for name in (MANIFEST, *manifest["files"]):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle / name, target)
        card = (bundle / CARD).read_text(encoding="utf-8")
        parity = {**manifest["parity"], "measured_on": shown_path(manifest["parity"]["measured_on"])}
        head = (
            [] if card.startswith(f"{FENCE}\n") else [*card_head(spec, parity, manifest.get("leaked", False)), "", ""]
        )
        (draft / README).write_text("\n".join(head) + card, encoding="utf-8")
        (draft / SPEC).write_text(json.dumps(spec.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        lines = [f"{pattern} filter=lfs diff=lfs merge=lfs -text" for pattern in _LARGE]
        (draft / ATTRIBUTES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())


def names_its_license(folder: Path) -> bool:
    """Whether the README.md of such a folder says under which license it is given."""
    head = (folder / README).read_text(encoding="utf-8").split(FENCE)[1]
    return any(line.startswith("license:") for line in head.splitlines())


def refuse_foreign_folder(folder: Path) -> None:
    """Refuses what `write_hub_folder` would, before minutes of work.

    Raises:
        DataError: the folder holds something else.
    """
    require_replaceable(folder, is_hub_folder, f"--hub-folder {folder}")


def is_hub_folder(folder: Path) -> bool:
    """Whether a folder holds what `write_hub_folder` wrote, and nothing else."""
    try:
        listed = {MANIFEST, README, SPEC, ATTRIBUTES, *read_manifest(folder)["files"]}
        content = (folder / README).read_text(encoding="utf-8")
    except (EdgeError, OSError, ValueError, KeyError, TypeError):
        return False
    files = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()
    }
    return content.startswith(f"{FENCE}\n") and files <= listed
