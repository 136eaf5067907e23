"""What a fresh process loads: nothing heavy before it is needed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
HEAVY = ("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "sklearn", "scipy")
ENGINES = ("ai_edge_litert", "tflite_runtime", "onnxruntime")


def scripts() -> dict[str, str]:
    """Command to `module:function`, of both distributions."""
    projects = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in ("", "edge_runtime")]
    return {name: target for project in projects for name, target in project["project"]["scripts"].items()}


def loaded_after(code: str, names: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Runs the code, then exits with 0, or with the names of those packages that it has loaded."""
    verdict = f"import sys\ntry:\n    {code}\nfinally:\n    sys.exit(str(sorted(set({names}) & set(sys.modules))))"
    command = [sys.executable, "-W", "error", "-c", verdict]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_importing_the_runtime_loads_no_engine_and_not_even_numpy():
    done = loaded_after("import edge_runtime", (*HEAVY, *ENGINES, "numpy", "PIL", "click"))
    assert (done.stderr, done.stdout) == ("[]\n", "")


def test_a_predictor_loads_no_engine_but_its_own(tiny_bundle, golden_images):
    model, image = str(tiny_bundle), str(golden_images[0])
    code = f"from edge_runtime import Predictor; Predictor({model!r}, 'onnxruntime').predict({image!r})"
    done = loaded_after(code, (*HEAVY, *ENGINES))
    assert done.stderr == "['onnxruntime']\n"


@pytest.mark.parametrize("command", sorted(scripts()))
def test_help_answers_without_a_heavy_import(command):
    module, function = scripts()[command].split(":")
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{command}: {module} is not written yet")
    forbidden = (*HEAVY, *ENGINES, "numpy", "PIL") if command == "edge-infer" else (*HEAVY, *ENGINES)
    done = loaded_after(f"from {module} import {function} as main; main(['--help'])", forbidden)
    assert done.stderr == "[]\n", f"{command} --help loads {done.stderr}"
    assert done.stdout.startswith("Usage: ")


def test_every_public_name_is_there_and_no_other():
    import edge_runtime
    import edge_runtime.cli
    import edge_runtime.predictor
    import edge_runtime.self_test  # noqa: F401, modules that were imported take no name's place

    assert edge_runtime.__all__ == sorted(edge_runtime.__all__)
    for name in edge_runtime.__all__:
        assert getattr(edge_runtime, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        _ = edge_runtime.predict


def test_the_versions_are_one():
    import edge_runtime

    projects = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in ("", "edge_runtime")]
    for project in projects:  # both read it where it stands
        assert "version" in project["project"]["dynamic"]
        assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "edge_runtime.__version__"}
    (asked,) = [line for line in projects[0]["project"]["dependencies"] if line.startswith("fracture-edge-runtime")]
    assert Requirement(asked).specifier.contains(edge_runtime.__version__)
