"""The audit on Ray finds the groups that it finds in one process; Ray runs for real, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from train.audit.cli import main
from train.phantom import draw

PHANTOM_SEED, PHANTOMS, COPIES = 911, 60, 20

# Indexes of a few dozen images each, so that a small data set has several.
ON_SMALL_SHARDS = """
import json, sys
from pathlib import Path
from train.audit.cluster_workers import RayWorkers
from train.audit.findings import Means, audit
from train.cluster import open_ray

if __name__ == "__main__":
    ray = open_ray(None)
    workers = RayWorkers(ray, shard_vectors=150)
    print(json.dumps(audit(Path(sys.argv[1]), means=Means(workers=workers), shortcuts=False).to_dict()))
"""


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    for index in range(PHANTOMS):
        image = Image.fromarray(draw(PHANTOM_SEED, index).image_u8)
        target = folder / ("fractured" if index % 2 else "normal")
        target.mkdir(exist_ok=True)
        image.save(target / f"{index}.png")
        if index < COPIES:
            image.rotate(17 * index + 5, Image.Resampling.BICUBIC).save(target / f"{index}-copy.png")
    return folder


def run(command: list[str], cache: Path, repository: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(repository), "XDG_CACHE_HOME": str(cache)}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_groups_on_ray_are_those_of_one_process(phantoms: Path, tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("ray", reason="edge-audit --engine ray needs the extra [ray]")
    given = ["-m", "train.audit.cli", str(phantoms), "--json"]
    local = run(given, tmp_path / "local", repository)
    on_ray = run([*given, "--engine", "ray"], tmp_path / "ray", repository)
    assert on_ray.returncode == 0, on_ray.stderr
    assert on_ray.stdout == local.stdout
    (tmp_path / "small.py").write_text(ON_SMALL_SHARDS)
    sharded = run([str(tmp_path / "small.py"), str(phantoms)], tmp_path / "shards", repository)
    assert sharded.returncode == 0, sharded.stderr
    groups = json.loads(sharded.stdout)["groups"]
    assert groups == json.loads(local.stdout)["groups"]
    assert len(groups) == PHANTOMS
    for cache in ("local", "ray", "shards"):
        assert not [path for path in (tmp_path / cache).rglob("*") if "views" in path.name], "views were left behind"


FAILING = """
from edge_runtime.errors import StorageError
from train.audit.cluster_workers import RayWorkers
from train.cluster import open_ray

def fail(item):
    raise StorageError(f"disk full at {item}")

if __name__ == "__main__":
    workers = RayWorkers(open_ray(None))
    print(list(workers.map(abs, [-3, 4, -5, 6])), list(workers.map(abs, [])))
    list(workers.map(fail, [1]))  # ends the script
"""


@pytest.mark.slow
def test_order_is_kept_and_an_error_of_ours_stays_one(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("ray", reason="edge-audit --engine ray needs the extra [ray]")
    (tmp_path / "fail.py").write_text(FAILING)
    done = run([str(tmp_path / "fail.py")], tmp_path, repository)
    assert done.stdout == "[3, 4, 5, 6] []\n"
    assert done.stderr.rstrip().splitlines()[-1].endswith("StorageError: disk full at 1")


def test_without_its_extra_it_says_how_to_install_it(data: Path, tmp_path: Path, repository: Path) -> None:
    code = "import sys; sys.modules['ray'] = None; from train.audit.cli import main; main()"
    done = run(["-c", code, str(data), "--engine", "ray"], tmp_path, repository)
    assert done.returncode == 5 and 'pip install "fracture-edge[ray]"' in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_an_address_without_its_engine_is_refused(data: Path) -> None:
    result = CliRunner().invoke(main, [str(data), "--ray-address", "auto"])
    assert result.exit_code == 2 and "--engine ray" in result.output
