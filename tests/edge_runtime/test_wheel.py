"""The wheel that goes onto a device: small, whole, and enough to judge an image with one engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from email.parser import BytesParser
from pathlib import Path

import pytest

# Every update of every device carries it: the network that ships, weights of the radiograph gate, and 150 kB of code.
LARGEST_WHEEL_BYTES = 5_000_000
LARGEST_WITHOUT_NETWORK_BYTES = 300_000
DATA = {"py.typed", "radiograph_gate.npz", *(f"serving/page/{name}" for name in ("index.html", "app.js", "style.css"))}
ENGINES = {"litert": "litert", "onnxruntime": "onnx", "tflite-runtime": "tflite"}  # engine -> extra
NOT_ON_A_DEVICE = {"tensorflow", "keras", "matplotlib", "scikit-learn", "fracture-edge"}


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EDGE_MODEL")}
    return subprocess.run(
        command, env=environment | options.pop("env", {}), capture_output=True, text=True, check=False, **options
    )


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory) -> Path:
    """The runtime's wheel, built from a copy of its folder: a build leaves files beside the sources."""
    source = tmp_path_factory.mktemp("source") / "edge_runtime"
    shutil.copytree(
        repository / "edge_runtime", source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    )
    out = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


def prediction(command: list[str | Path], bundle: Path, folder: Path, **options) -> dict:
    """What an edge-infer outside the repository says of a golden image."""
    shutil.copytree(bundle, folder / "bundle", dirs_exist_ok=True)
    image = "bundle/golden/phantom_037.png"
    done = run(*command, "--model", "bundle", "--json", image, cwd=folder, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_the_wheel_is_small_and_holds_the_runtime_alone(wheel, repository):
    assert wheel.name == "fracture_edge_runtime-0.1.0-py3-none-any.whl"
    assert wheel.stat().st_size < LARGEST_WHEEL_BYTES
    entries = zipfile.ZipFile(wheel).infolist()
    of_network = {entry.filename for entry in entries if entry.filename.startswith("edge_runtime/model/")}
    rest = sum(entry.compress_size for entry in entries if entry.filename not in of_network)
    assert rest < LARGEST_WITHOUT_NETWORK_BYTES
    model = repository / "edge_runtime" / "model"
    files = (path.relative_to(repository).as_posix() for path in model.rglob("*") if path.is_file())
    assert of_network == set(files)
    names = {entry.filename for entry in entries}
    package = {name for name in names - of_network if not name.startswith("fracture_edge_runtime-")}
    sources = (path.relative_to(repository) for path in (repository / "edge_runtime").rglob("*.py"))
    expected = {path.as_posix() for path in sources if "build" not in path.parts}
    assert package == expected | {f"edge_runtime/{name}" for name in DATA}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_says_what_it_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    folder = next(name for name in archive.namelist() if name.endswith("/METADATA")).rpartition("/")[0]
    metadata = BytesParser().parsebytes(archive.read(f"{folder}/METADATA"))
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(line.partition(">=")[0] for line in needed) == ["click", "numpy", "pillow"]
    assert set(metadata.get_all("Provides-Extra")) == {
        *ENGINES.values(),
        "dicom",
        "mqtt",
        "node",
        "serve",
        "signatures",
    }
    entry_points = ConfigParser()
    entry_points.read_string(archive.read(f"{folder}/entry_points.txt").decode())
    assert dict(entry_points["console_scripts"]) == {
        "edge-infer": "edge_runtime.cli:main",
        "edge-device": "edge_runtime.device.cli:main",
        "edge-serve": "edge_runtime.serving.cli:main",
    }


@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_the_unpacked_wheel_judges_an_image(wheel, tiny_bundle, tmp_path, engine):
    # The quick twin of the test below: the wheel's own files, in this environment.
    zipfile.ZipFile(wheel).extractall(tmp_path / "unpacked")
    code = "import sys, edge_runtime.cli as c; assert 'unpacked' in c.__file__, c.__file__; c.main()"
    command = [sys.executable, "-c", code, "--engine", engine]
    found = prediction(command, tiny_bundle, tmp_path, env={"PYTHONPATH": str(tmp_path / "unpacked")})
    assert (found["decision"], found["engine"].split()[0]) == ("fractured", engine)


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> None:
    """Skips where pip reaches no package index."""
    folder = tmp_path_factory.mktemp("probe")
    done = run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "click")
    if done.returncode:
        pytest.skip(f"pip reaches no package index: {done.stderr.strip().splitlines()[-1]}")


def python_for(engine: str) -> str:
    if engine != "tflite-runtime":
        return sys.executable
    python = shutil.which("python3.11")
    if python is None or run(python, "--version").returncode:
        pytest.skip("tflite-runtime needs Python 3.11, which is not on this machine")
    return python


@pytest.mark.slow
@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_the_wheel_installs_into_an_empty_environment_and_judges_an_image(wheel, index, tiny_bundle, tmp_path, engine):
    assert run(python_for(engine), "-m", "venv", tmp_path / "venv").returncode == 0
    python = tmp_path / "venv" / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check")
    installed = run(python, "-m", "pip", "install", *quiet, f"{wheel}[{ENGINES[engine]}]")
    assert installed.returncode == 0, installed.stderr
    found = prediction([tmp_path / "venv" / "bin" / "edge-infer"], tiny_bundle, tmp_path)
    assert (found["decision"], found["engine"].split()[0]) == ("fractured", engine)
    listed = json.loads(run(python, "-m", "pip", "list", *quiet[1:], "--format", "json").stdout)
    assert not {package["name"].lower() for package in listed} & NOT_ON_A_DEVICE
    self_test = run(tmp_path / "venv" / "bin" / "edge-infer", "--model", "bundle", "--self-test", cwd=tmp_path)
    assert (self_test.returncode, len(self_test.stdout.splitlines())) == (0, 2), self_test.stderr


@pytest.mark.slow
def test_the_wheel_without_an_engine_says_what_to_install(wheel, index, tiny_bundle, tmp_path):
    assert run(sys.executable, "-m", "venv", tmp_path / "venv").returncode == 0
    assert run(tmp_path / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", wheel).returncode == 0
    done = run(tmp_path / "venv" / "bin" / "edge-infer", "--model", tiny_bundle, "x.png")
    assert done.returncode == 5 and 'pip install "fracture-edge-runtime[litert]"' in done.stderr
