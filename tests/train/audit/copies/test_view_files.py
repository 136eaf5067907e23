"""Views are kept in files: what is read from them is what was prepared, whichever part it stands in."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import StorageError
from edge_runtime.images import read_grey
from train.audit import cache
from train.audit.copies.fingerprint import DISCS, fingerprint
from train.audit.copies.matching import Matcher
from train.audit.copies.view_files import FIELDS, VIEW_BYTES, ViewFiles, write_views
from train.audit.copies.views import make_views, normalise_contrast, remove_white_corners
from train.audit.workers import THREADS

from ..conftest import draw_radiograph, save

IMAGES = 40  # in three parts
SQUARE = (0, 7, 39)  # of these: one view; all others have two


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    sizes = [(150, 150) if number in SQUARE else (150, 180) for number in range(IMAGES)]
    return [str(save(draw_radiograph(number, size), folder / f"{number}.png")) for number, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def files(paths: list[str], tmp_path_factory: pytest.TempPathFactory) -> ViewFiles:
    return write_views(paths, tmp_path_factory.mktemp("views"), THREADS)


def test_each_view_has_its_image_and_path(files: ViewFiles, paths: list[str]) -> None:
    assert len(files) == 2 * IMAGES - len(SQUARE)
    assert np.bincount(files.owners).tolist() == [1 if number in SQUARE else 2 for number in range(IMAGES)]
    assert [str(files.path(image)) for image in range(IMAGES)] == paths
    assert len(list(files.folder.glob("views-*"))) == 3
    assert sum(path.stat().st_size for path in files.folder.glob("views-*")) == len(files) * VIEW_BYTES


def test_what_is_read_is_what_was_prepared(files: ViewFiles, paths: list[str]) -> None:
    seen = [view for path in paths for view in make_views(remove_white_corners(read_grey(Path(path), least_side=256)))]
    expected = fingerprint(normalise_contrast(np.stack(seen)))
    np.testing.assert_array_equal(files.vectors(0, len(files)), expected.vectors)
    np.testing.assert_array_equal(files.vectors(20, 61), expected.vectors[20:61])
    views, discs = np.array([70, 3, 3, 31]), np.array([0, 14, 2, 7])
    rows = views * len(DISCS) + discs
    np.testing.assert_array_equal(files.take("spectra", rows), expected.spectra[views, discs])
    assert files.take("texture", np.array([], np.int64)).shape == (0, *FIELDS["texture"].shape)


def test_another_process_compares_as_this_one_does(files: ViewFiles) -> None:
    again: Matcher = pickle.loads(pickle.dumps(Matcher(files)))
    assert again.are_copies(3, 3) and not again.are_copies(3, 4)


def test_a_part_that_was_cut_is_a_storage_error(paths: list[str], tmp_path: Path) -> None:
    short = write_views(paths[:2], tmp_path, THREADS)
    os.truncate(tmp_path / "views-000000", 1000)
    with pytest.raises(StorageError, match="shorter"):
        short.vectors(0, len(short))


def test_too_little_space_is_told_before_anything_is_written() -> None:
    with pytest.raises(StorageError, match="XDG_CACHE_HOME"), cache.work_folder("views", 1 << 60):
        raise RuntimeError("the block was entered")
    assert not list((cache.cache_folder() / "audit").iterdir())


def test_what_a_killed_audit_left_goes_with_the_next(repository: Path) -> None:
    code = (
        "from train.audit import cache\n"
        "with cache.work_folder('views', 0) as folder:\n    print(folder, flush=True)\n    input()"
    )
    environment = os.environ | {"PYTHONPATH": str(repository), "XDG_CACHE_HOME": str(cache.cache_folder())}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    left = Path(process.stdout.readline().strip())
    assert left.is_dir()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert left.is_dir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.audit.cache.cache_folder", lambda: left.parent.parent)
        with cache.work_folder("views", 0) as folder:
            assert not left.exists() and folder.is_dir()
        assert not folder.exists()


def test_where_the_cache_cannot_be_written_the_system_names_a_folder(tmp_path: Path) -> None:
    cache.cache_folder().joinpath("audit").write_text("a file where the folder should be")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        with cache.work_folder("views", 0) as folder:
            assert folder.parent == tmp_path
