"""Puts a bundle into the runtime's package, so that `edge-infer image.png` answers without a word about models.

`python -m tools.ship_model BUNDLE` writes edge_runtime/model/: the int8 TFLite file, its golden images and its papers.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from edge_runtime.bundle import read_manifest, spec_of_bundle
from export.package.device_bundle import choose_model_file, write_device_bundle

MODEL = Path(__file__).resolve().parents[1] / "edge_runtime" / "model"
MOST_BYTES = 5_000_000  # of all files: the wheel is to stay small
_ENGINE = "litert"


def ship(bundle: Path, target: Path = MODEL) -> int:
    """Writes the device bundle in place of an earlier one; bytes of all its files.

    Args:
        bundle: written by edge-export, of radiographs, whose gate did not fail.
        target: folder in the package.

    Raises:
        SystemExit: the bundle is none to ship.
        ModelError: it is altered.
    """
    manifest = read_manifest(bundle)
    domain, verdict = spec_of_bundle(manifest, bundle).domain, manifest["parity"]["verdict"]
    if domain != "radiograph" or verdict == "failed":
        sys.exit(f"{bundle}: domain {domain}, verdict {verdict}: not to be shipped")
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    write_device_bundle(bundle, choose_model_file(bundle, _ENGINE), draft)
    size = sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        shutil.rmtree(draft)
        sys.exit(f"{bundle}: {size / 1e6:.1f} MB: at most {MOST_BYTES / 1e6:.0f} MB are shipped")
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    return size


def main() -> None:
    """Ships the bundle that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="written by edge-export --int8")
    print(f"{MODEL}: {ship(parser.parse_args().bundle) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
