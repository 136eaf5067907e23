"""Files whose last bytes have not come yet."""

from __future__ import annotations

import pytest
from PIL import Image

from edge_runtime.watching.file_endings import DOUBTFUL, UNFINISHED, WHOLE, times_to_settle

WITH_AN_END, WITHOUT = ["a.png", "a.jpg", "a.gif"], ["a.bmp", "a.tif", "a.pgm", "a.webp"]


@pytest.mark.parametrize("name", WITH_AN_END)
def test_whole_files_have_their_end(tmp_path, name):
    Image.linear_gradient("L").save(tmp_path / name)
    assert times_to_settle(str(tmp_path / name)) == WHOLE


@pytest.mark.parametrize("name", WITHOUT)
def test_a_format_without_an_end_has_to_settle_and_one_that_ends_in_zeros_longer(tmp_path, name):
    path = tmp_path / name
    Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_180).save(path)
    path.write_bytes(path.read_bytes() + b"\x01")
    assert times_to_settle(str(path)) == DOUBTFUL
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert times_to_settle(str(path)) == UNFINISHED


def test_dicom_has_to_settle_and_so_has_a_file_of_zeros(tmp_path):
    path = tmp_path / "IM0001"
    path.write_bytes(bytes(128) + b"DICM" + b"x" * 5000)
    assert times_to_settle(str(path)) == DOUBTFUL
    path.write_bytes(bytes(100_000))
    assert times_to_settle(str(path)) == UNFINISHED


@pytest.mark.parametrize("name", WITH_AN_END)
@pytest.mark.parametrize("missing", [1, 2, 200])
def test_cut_files_lack_it(tmp_path, name, missing):
    path = tmp_path / name
    Image.linear_gradient("L").save(path)
    path.write_bytes(path.read_bytes()[:-missing])
    assert times_to_settle(str(path)) == DOUBTFUL


@pytest.mark.parametrize("name", WITH_AN_END)
def test_zeros_behind_it_do_no_harm(tmp_path, name):
    path = tmp_path / name
    Image.linear_gradient("L").save(path)
    path.write_bytes(path.read_bytes() + bytes(500))
    assert times_to_settle(str(path)) == WHOLE


def test_what_cannot_be_read_or_is_too_short_is_left_to_the_decoder(tmp_path):
    (tmp_path / "text.png").write_text("text")
    assert all(times_to_settle(str(tmp_path / name)) == WHOLE for name in ("text.png", "absent.png"))
