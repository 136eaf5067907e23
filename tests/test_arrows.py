"""The linter of arrows between rooms finds what it is there to find: damage is done to a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("edge_runtime", "train", "export")
# An import that is not allowed -> (file that it is written into, the contract that forbids it).
FORBIDDEN = {
    "from train.engine import train_and_evaluate": ("export/limits.py", "Export meets a run on disk"),
    "import train.config": ("edge_runtime/spec.py", "Arrows point one way"),
    "import keras": ("train/audit/inventory.py", "The Keras-free rooms stay Keras-free"),
    "from export.parity.gate import judge": ("export/inputs/calibration.py", "Inside export"),
    "import train.fit.epochs": ("train/data/batches.py", "Inside train"),
    "import edge_runtime.predictor": ("edge_runtime/images.py", "Inside the device"),
    "import edge_runtime.watching.watcher": ("edge_runtime/watching/folder.py", "No cycles"),
}


@pytest.fixture
def copy(tmp_path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_each_contract_breaks_where_its_arrow_is_drawn_the_wrong_way(copy):
    assert lint(copy).returncode == 0
    for line, (file, _) in FORBIDDEN.items():
        with (copy / file).open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    done = lint(copy)
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert done.returncode == 1
    for _, contract in FORBIDDEN.values():
        assert [line for line in broken if line.startswith(contract)], f"{contract}: kept\n{done.stdout}"


def test_a_room_that_has_no_place_yet_is_refused(copy):
    (copy / "export" / "new_room.py").write_text("")
    done = lint(copy)
    assert done.returncode == 1 and "new_room" in done.stdout


def test_no_module_imports_itself_in_a_ring():
    graph = grimp.build_graph(*PACKAGES)
    arrows = [(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)]
    assert len(arrows) > len(PACKAGES)
    assert [(one, other) for one, other in arrows if graph.chain_exists(other, one)] == []
