"""The guide from a tutorial's network to a Pi: its commands are those of the tools, and run one after the other."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from PIL import Image

from tools.command_docs import find_commands, open_command
from train.phantom import draw

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "your-own-network.md"
COMMANDS = find_commands()
IMAGES = {"train": range(60), "test": range(1_000, 1_040)}
WEIGHTS = "mobilenet_v2_1.0_224_no_top.weights.h5"  # in $EDGE_WEIGHTS; the guide lets Keras download them


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    return found


def test_the_guide_has_ten_commands_and_the_tools_know_every_option_of_them():
    lines = block("sh").splitlines()
    assert len(lines) == 10
    names = []
    for line in lines:
        name, *arguments = shlex.split(line)
        if name in COMMANDS:
            names.append(name)
            open_command(COMMANDS[name]).make_context(name, arguments, resilient_parsing=False)
    assert names == [
        *("edge-audit", "edge-export", "edge-export", "edge-parity", "edge-infer", "edge-infer", "edge-evaluate"),
        "edge-export",
    ]
    with pytest.raises(click.UsageError):
        open_command(COMMANDS["edge-export"]).make_context("edge-export", ["--no-such-option"])


def test_the_program_of_the_guide_is_python():
    compile(block("python"), "tutorial.py", "exec")


@pytest.fixture
def radiographs(tmp_path):
    for part, indices in IMAGES.items():
        for index in indices:
            phantom = draw(3, index)
            folder = tmp_path / "radiographs" / part / ("fractured" if phantom.label else "normal")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(phantom.image_u8).save(folder / f"{index}.png")
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_guide_lead_to_a_package(radiographs):
    weights = Path(os.environ.get("EDGE_WEIGHTS", "")) / WEIGHTS
    if not weights.is_file():
        pytest.skip(f"no {WEIGHTS} in $EDGE_WEIGHTS")
    tutorial = block("python")
    for guide, here in (('weights="imagenet"', f"weights={str(weights)!r}"), ("SIDE = 224", "SIDE = 96")):
        assert guide in tutorial
        tutorial = tutorial.replace(guide, here)
    (radiographs / "tutorial.py").write_text(tutorial, encoding="utf-8")
    for line in block("sh").splitlines()[:9]:
        name, *arguments = shlex.split(line)
        if "--package" in arguments:
            arguments = [*arguments, "--wheels", "wheels"]
            (radiographs / "wheels").mkdir()
        # Forty images decide little about a network that learnt from sixty: it may fail, and be written all the same.
        done = run(radiographs, name, [*arguments, *(["--force"] if "--int8" in arguments else [])])
        if "--package" in arguments:  # without a network there are no wheels, and it is said which
            assert done.returncode == 6 or "wheel" in done.stderr, done.stderr
        elif name == "edge-parity":
            assert done.returncode in (0, 4), done.stderr
        else:
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    made = {path.name for path in radiographs.iterdir()}
    assert {"fractures.keras", "audit", "float", "bundle", "parity", "answers.csv", "evaluation"} <= made


def run(folder: Path, name: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    if name in COMMANDS:
        module, function = COMMANDS[name].split(":")
        command = [sys.executable, "-c", f"from {module} import {function} as main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
