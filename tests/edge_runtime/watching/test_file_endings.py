"""Files whose last bytes have not come yet."""

from __future__ import annotations

import pytest
from PIL import Image

from edge_runtime.watching.file_endings import has_its_end

WITH_AN_END, WITHOUT = ["a.png", "a.jpg", "a.gif"], ["a.bmp", "a.tif", "a.pgm", "a.webp"]


@pytest.mark.parametrize("name", WITH_AN_END + WITHOUT)
def test_whole_files_have_their_end(tmp_path, name):
    Image.linear_gradient("L").save(tmp_path / name)
    assert has_its_end(str(tmp_path / name))


@pytest.mark.parametrize("name", WITH_AN_END)
@pytest.mark.parametrize("missing", [1, 2, 200])
def test_cut_files_lack_it(tmp_path, name, missing):
    path = tmp_path / name
    Image.linear_gradient("L").save(path)
    path.write_bytes(path.read_bytes()[:-missing])
    assert not has_its_end(str(path))


@pytest.mark.parametrize("name", WITH_AN_END)
def test_zeros_behind_it_do_no_harm(tmp_path, name):
    path = tmp_path / name
    Image.linear_gradient("L").save(path)
    path.write_bytes(path.read_bytes() + bytes(500))
    assert has_its_end(str(path))


def test_what_cannot_be_read_or_is_too_short_is_left_to_the_decoder(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    assert all(has_its_end(str(tmp_path / name)) for name in ("empty.png", "text.png", "absent.png"))
