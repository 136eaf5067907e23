"""edge-train refuses what would change nothing: one line, exit code 2, before anything is read."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from train.cli import main

PRETRAINED = ("--model", "mobilenetv2", "--weights", "imagenet")
RANDOM = ("--model", "mobilenetv2", "--weights", "none")
CNN = ("--model", "cnn")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((*CNN, "--alpha", "1.0"), "--alpha: --model cnn does not take it"),
        ((*CNN, "--weights", "none", "--head", "map"), "--head, --weights: --model cnn does not take them"),
        ((*CNN, "--draws", "2"), "--draws: --model cnn does not take it"),
        ((*PRETRAINED, "--learning-rate", "1"), "--learning-rate: --model mobilenetv2 --weights imagenet does not"),
        ((*RANDOM, "--fine-tune-rate", "1"), "--fine-tune-rate: --model mobilenetv2 --weights none does not"),
        ((*RANDOM, "--head", "map"), "--head map: random weights, --weights none, go with --head pooled"),
        ((*CNN, "--split", "folders", "--fractions", "0.8", "0.1", "0.1"), "--fractions: with --split folders"),
        ((*CNN, "--refit", "RUN", "--epochs", "3"), "--epochs: --refit takes every setting from the run"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(tmp_path, options, says):
    result = CliRunner().invoke(main, [str(tmp_path), *options, "--out", str(tmp_path / "run")])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
    assert result.output.startswith(f"error: {says}")


@pytest.mark.parametrize(
    "options",
    [
        (*CNN, "--learning-rate", "0.001"),
        (*RANDOM, "--alpha", "0.5", "--learning-rate", "0.001"),
        (*PRETRAINED, "--head", "pooled", "--draws", "2", "--fine-tune-rate", "0.001"),
    ],
)
def test_an_option_that_the_network_takes_is_taken(tmp_path, options):
    result = CliRunner().invoke(main, [str(tmp_path), *options, "--out", str(tmp_path.parent / "run")])
    assert result.exit_code == 2 and "does not take" not in result.output  # the folder is empty


@pytest.mark.parametrize(
    ("devices", "says"), [("99", "error: --devices 99: TensorFlow sees"), ("0", "x>=1"), ("b", "")]
)
def test_devices_that_are_not_there_are_refused_before_anything_is_read(tmp_path, devices, says):
    given = [str(tmp_path / "data"), *CNN, "--out", str(tmp_path / "run"), "--devices", devices]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 2 and says in result.output and "--devices" in result.output
    assert not (tmp_path / "run").exists()
