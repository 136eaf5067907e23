"""The table at the end of `make demo`: every model file against the network that it was made from.

    python -m benchmarks.demo_summary DEMO

Reads what the commands wrote (`DEMO/*-bundle/parity.json`); computes nothing anew.
"""

import json
import sys
from pathlib import Path

COLUMNS = ("network", "file", "MB", "AUC", "decisions changed", "largest change", "verdict")


def rows_of(bundle: Path) -> list[tuple[str, ...]]:
    network = json.loads((bundle / "manifest.json").read_text())["spec"]["name"]
    parity = json.loads((bundle / "parity.json").read_text())
    rows = [(network, "model.keras", "", f"{parity['float_radiograph_auc']:.3f}", "", "", "")]
    for file in parity["files"]:
        changed = f"{file['radiograph_decisions_changed']} of {parity['radiographs']}"
        rows.append(
            (
                network,
                file["file"],
                f"{file['bytes'] / 1e6:.2f}",
                f"{file['radiograph_auc']:.3f}",
                changed,
                f"{file['largest_difference']:.4f}",
                file["verdict"],
            )
        )
    return rows


def main(demo: Path) -> None:
    rows = [COLUMNS] + [row for bundle in sorted(demo.glob("*-bundle")) for row in rows_of(bundle)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    print("\nEvery file against its network, on phantoms that were never trained on:\n")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nPictures and pages:")
    for path in sorted([*demo.glob("*/plots/*.png"), *demo.glob("*/report.html")]):
        print(f"  {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
