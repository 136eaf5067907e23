"""DICOM through the commands: judged, refused with a line, watched for; no name of a patient in what they leave."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_runtime.cli import main as edge_infer
from edge_runtime.predictor import PHANTOM_WARNING
from tests.edge_runtime.dicom.dicom_files import CANARY, dicom_bytes, make_dataset, plant_canaries, radiograph, to_bytes

HIDDEN = "import sys; sys.modules['pydicom'] = None; from edge_runtime.cli import main; main()"


@pytest.fixture
def dicom_file(tmp_path: Path) -> Path:
    """A digital X-ray without a suffix, names planted wherever any may stand."""
    ds = make_dataset(radiograph((120, 96)), BurnedInAnnotation="YES", WindowCenter=1500, WindowWidth=2500)
    plant_canaries(ds)
    path = tmp_path / "IM0001"
    path.write_bytes(to_bytes(ds))
    return path


def infer(*arguments: object, **options: object) -> object:
    return CliRunner().invoke(edge_infer, [os.fspath(item) for item in arguments], **options)  # type: ignore[arg-type]


def test_a_file_is_judged_as_its_png_twin_and_warned_of(tiny_bundle: Path, dicom_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    from edge_runtime import read_grey

    Image.fromarray(read_grey(dicom_file)).save(tmp_path / "twin.png")
    result = infer("--model", tiny_bundle, "--json", dicom_file, tmp_path / "twin.png")
    ours, twin = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 0
    assert ours["probability"] == twin["probability"]
    assert "burned" in ours["warnings"][0] and ours["warnings"][1:] == twin["warnings"] == [PHANTOM_WARNING]


def test_standard_input_may_be_dicom(tiny_bundle: Path, dicom_file: Path) -> None:
    result = infer("--model", tiny_bundle, "--json", "-", input=dicom_file.read_bytes())
    assert json.loads(result.stdout)["path"] == "-"


def test_a_frame_is_chosen_by_option(tiny_bundle: Path, tmp_path: Path) -> None:
    frames = np.stack([radiograph(seed=seed) for seed in range(2)])
    ds = make_dataset(frames[0], NumberOfFrames=2)
    ds.PixelData = frames.tobytes()
    (tmp_path / "two.dcm").write_bytes(to_bytes(ds))
    assert infer("--model", tiny_bundle, tmp_path / "two.dcm").exit_code == 1
    assert infer("--model", tiny_bundle, "--frame", "2", tmp_path / "two.dcm").exit_code == 0


def test_without_the_extra_it_is_exit_5_with_the_command_and_other_images_are_judged(
    tiny_bundle: Path, dicom_file: Path, golden_images: list[Path]
) -> None:
    command = [sys.executable, "-c", HIDDEN, "--model", tiny_bundle, dicom_file, golden_images[0]]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 5
    assert "pip install 'fracture-edge-runtime[dicom]'" in result.stderr
    assert golden_images[0].name in result.stdout
    assert "Traceback" not in result.stderr


def test_nothing_that_edge_infer_leaves_names_the_patient(tiny_bundle: Path, dicom_file: Path, tmp_path: Path) -> None:
    for number, change in enumerate([b"", b"cut", b"CT"]):
        data = dicom_file.read_bytes()
        damaged = {b"": data, b"cut": data[: len(data) // 2], b"CT": data.replace(b"DX", b"CT", 1)}[change]
        (tmp_path / f"x{number}").write_bytes(damaged)
    result = infer("--model", tiny_bundle, "--json", *(tmp_path / f"x{number}" for number in range(3)))
    assert len(result.stdout.splitlines()) == 3
    assert CANARY not in result.output


def test_a_watched_folder_judges_dicom_and_tells_of_what_it_cannot_judge(
    tiny_bundle: Path, dicom_file: Path, tmp_path: Path
) -> None:
    inbox, results = tmp_path / "inbox", tmp_path / "inbox" / "results.jsonl"
    inbox.mkdir()
    shutil.copy(dicom_file, inbox / "IM0001")
    (inbox / "CT").write_bytes(dicom_bytes(radiograph(), Modality="CT"))
    (inbox / "letter.txt").write_text("no image")
    command = [sys.executable, "-m", "edge_runtime.cli", "--model", tiny_bundle, "--watch", inbox, "--out", results]
    with subprocess.Popen(
        [*command, "--poll", "0.05", "--settle", "0.2"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            lines = _wait_for_lines(results, 3)
        finally:
            process.terminate()
    found = {Path(line["path"]).name: line.get("error", {}).get("code") for line in lines}
    assert found == {"IM0001": None, "CT": "unsupported", "letter.txt": "unsupported"}
    assert CANARY not in results.read_text()


def _wait_for_lines(path: Path, count: int, patience_s: float = 30.0) -> list[dict[str, object]]:
    import time

    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        lines = path.read_bytes().splitlines() if path.exists() else []
        if len(lines) >= count:
            return [json.loads(line) for line in lines]
        time.sleep(0.05)
    raise TimeoutError(f"{path}: fewer than {count} lines")
