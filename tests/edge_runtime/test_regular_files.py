"""Only regular files are opened, though another thing may take their place in between."""

from __future__ import annotations

import os

import pytest

from edge_runtime import regular_files
from edge_runtime.regular_files import NotRegularError, open_regular


def test_a_regular_file_comes_with_its_size(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    stream, size = open_regular(tmp_path / "x")
    with stream:
        assert (stream.read(), size) == (b"12345", 5)


@pytest.mark.parametrize(("make", "says"), [(os.mkfifo, "a named pipe"), (os.mkdir, "a folder")])
def test_anything_else_is_refused_by_its_name(tmp_path, make, says):
    make(tmp_path / "x")
    with pytest.raises(NotRegularError, match=says):
        open_regular(tmp_path / "x")
    with pytest.raises(NotRegularError, match="a device"):
        open_regular(os.devnull)


def test_a_pipe_that_took_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    really = os.stat
    monkeypatch.setattr(regular_files.os, "stat", lambda path: really(tmp_path / "file"))
    with pytest.raises(NotRegularError, match="a named pipe"):
        open_regular(tmp_path / "pipe")
