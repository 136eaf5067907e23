"""Images are found in folders, lists and object stores, in one order, and what is none is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("pyarrow", reason="edge-score needs the extra [ray]")

import pyarrow as pa
import pyarrow.parquet as pq

from edge_runtime.errors import DataError, ImageError
from export.scoring.archive import Archive


@pytest.fixture
def folder(golden_images, tmp_path):
    root = tmp_path / "archive"
    for inner in ("b", "a/deep", ".hidden"):
        (root / inner).mkdir(parents=True)
        (root / inner / "x.png").write_bytes(golden_images[0].read_bytes())
    (root / "z.png").write_bytes(b"junk")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"")
    return root


def test_a_folder_is_walked_in_one_order(folder):
    expected = [str(folder / name) for name in ("z.png", "a/deep/x.png", "b/x.png")]
    assert list(Archive(str(folder), {}).paths()) == expected


@pytest.mark.parametrize("ending", ["csv", "parquet", "txt"])
def test_a_list_names_images_beside_it_or_anywhere(folder, ending):
    names = ["b/x.png", str(folder / "z.png")]
    path = folder / f"list.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"path": names, "other": [1, 2]}), path)
    else:
        path.write_text("\n".join(["path,other", *(f"{name},1" for name in names)] if ending == "csv" else names))
    assert list(Archive(str(path), {}).paths()) == [str(folder / "b/x.png"), str(folder / "z.png")]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_list_without_paths_is_refused(tmp_path, ending):
    path = tmp_path / f"list.{ending}"
    path.write_text("file\nx.png\n") if ending == "csv" else pq.write_table(pa.table({"file": ["x"]}), path)
    with pytest.raises(DataError, match="no column 'path'"):
        list(Archive(str(path), {}).paths())


@pytest.mark.parametrize("source", ["missing", "missing.csv", "nowhere://x", "file.png"])
def test_a_source_that_is_none_is_refused(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(DataError):
        list(Archive(source, {}).paths())


def test_an_image_that_is_gone_is_an_error_of_that_image(folder):
    archive = Archive(str(folder), {})
    with pytest.raises(ImageError, match="no such file"):
        archive.read(str(folder / "gone.png"))
    with pytest.raises(ImageError, match="is a folder"):
        archive.read(str(folder / "b"))


@pytest.fixture(scope="module")
def s3_options():
    """A real server of the S3 protocol, and how to reach it."""
    pytest.importorskip("moto", reason="no S3 server: pip install moto[server]")
    pytest.importorskip("s3fs", reason="no S3 client: pip install s3fs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield {"endpoint_url": f"http://127.0.0.1:{port}", "key": "x", "secret": "y"}
    finally:
        server.kill()
        server.wait()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client's own libraries
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its open sockets
def test_an_object_store_is_an_archive(folder, s3_options, monkeypatch):
    import s3fs

    for name in ("AWS_PROFILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    store = s3fs.S3FileSystem(**s3_options)
    store.mkdir("xrays")
    for path in sorted(folder.rglob("*.png")):
        store.pipe(f"xrays/{os.path.relpath(path, folder)}", path.read_bytes())
    archive = Archive("s3://xrays", s3_options)
    paths = list(archive.paths())
    assert paths == ["xrays/z.png", "xrays/a/deep/x.png", "xrays/b/x.png"]
    assert archive.read(paths[1]) == (folder / "a/deep/x.png").read_bytes()
    with pytest.raises(ImageError, match="no such file"):
        archive.read("xrays/gone.png")
