"""Puts a bundle into the runtime's package, so that `edge-infer image.png` answers without a word about models.

`python -m tools.ship_model BUNDLE --run RUN --evaluation DIR` writes edge_runtime/model/: the int8 TFLite file, its
golden images and its papers. RUN and DIR tell the figures: BUNDLE's network was fitted again on every image.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from edge_runtime.bundle import read_manifest, spec_of_bundle
from edge_runtime.spec import ModelSpec
from export.bundle.writer import write_manifest
from export.package.device_bundle import choose_model_file, write_device_bundle
from train.models import NETWORKS

MODEL = Path(__file__).resolve().parents[1] / "edge_runtime" / "model"
CARD = "MODEL_CARD.md"
MOST_BYTES = 5_000_000  # of all files: the wheel is to stay small
_ENGINE = "litert"
_SHOWN = ("AUC", "sensitivity", "specificity", "average precision", "Brier score", "expected calibration error")


@dataclass(frozen=True)
class Proof:
    """What tells how good the network is."""

    run: Path  # whose settings were fitted again on every image
    evaluation: Path  # of its bundle on its test split, by edge-evaluate


def ship(bundle: Path, proof: Proof, target: Path = MODEL) -> int:
    """Writes the device bundle in place of an earlier one; bytes of all its files.

    Args:
        bundle: written by edge-export, of radiographs, whose gate did not fail.
        proof: its figures.
        target: folder in the package.

    Raises:
        SystemExit: the bundle is none to ship.
        ModelError: it is altered.
    """
    manifest = read_manifest(bundle)
    spec, verdict = spec_of_bundle(manifest, bundle), manifest["parity"]["verdict"]
    if spec.domain != "radiograph" or verdict == "failed":
        sys.exit(f"{bundle}: domain {spec.domain}, verdict {verdict}: not to be shipped")
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    name = choose_model_file(bundle, _ENGINE)
    write_device_bundle(bundle, name, draft)
    own = (draft / CARD).read_text(encoding="utf-8").partition("## Figures")[2]
    card = _card(spec, (draft / name).stat().st_size, proof)
    (draft / CARD).write_text(f"{card}## The int8 file beside the trained network{own}", encoding="utf-8")
    facts = {key: value for key, value in read_manifest(draft).items() if key not in ("format", "files")}
    write_manifest(draft, facts)
    size = sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        shutil.rmtree(draft)
        sys.exit(f"{bundle}: {size / 1e6:.1f} MB: at most {MOST_BYTES / 1e6:.0f} MB are shipped")
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    return size


def _card(spec: ModelSpec, size: int, proof: Proof) -> str:
    metrics = json.loads((proof.evaluation / "metrics.json").read_bytes())
    with (proof.run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        splits = [row["split"] for row in csv.DictReader(stream)]
    figures = metrics["figures"]
    config = json.loads((proof.run / "run.json").read_bytes())["config"]
    template = Template(Path(__file__).with_name("model_card.md").read_text(encoding="utf-8"))
    return template.substitute(
        name=spec.name,
        network=NETWORKS[config["model"]].title,
        size=spec.size,
        megabytes=f"{size / 1e6:.1f}",
        auc=f"{figures['AUC']['value']:.3f}",
        trained=f"{len(splits):,}",
        fitted=f"{splits.count('train'):,}",
        radiographs=metrics["radiographs"],
        fractured=metrics["fractured"],
        methods="; ".join(dict.fromkeys(figures[name]["method"] for name in _SHOWN)),
        figures="\n".join(f"- {name}: {_estimate(figures[name])}" for name in _SHOWN),
        subgroups="\n".join(_subgroup_row(row) for row in metrics["subgroups"]),
        points="\n".join(
            f"| `{point.name}` | {point.threshold:.3f} | {_triple(point.sensitivity)} | {_triple(point.specificity)} |"
            for point in spec.operating_points
        ),
    )


def _subgroup_row(row: dict[str, Any]) -> str:
    estimates = " | ".join(_estimate(row[name]) for name in ("auc", "sensitivity", "specificity"))
    mark = ", too small" if row["too_small"] else ""
    return f"| {row['column']}: {row['value']}{mark} | {row['n']} | {row['positives']} | {estimates} |"


def _estimate(found: dict[str, Any]) -> str:
    return "not defined" if found["value"] is None else _triple((found["value"], found["low"], found["high"]))


def _triple(found: tuple[float, float, float]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*found)


def main() -> None:
    """Ships the bundle that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="written by edge-export --int8")
    parser.add_argument("--run", type=Path, required=True, help="run that tells the figures")
    parser.add_argument("--evaluation", type=Path, required=True, help="of it, written by edge-evaluate")
    given = parser.parse_args()
    print(f"{MODEL}: {ship(given.bundle, Proof(given.run, given.evaluation)) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
