"""Images are kept only where that is asked for, for nobody else to read, and removed by age and size."""

from __future__ import annotations

import os
import stat
import time

import numpy as np
import pytest
from PIL import Image

from edge_runtime.serving.kept import KeepSettings, Kept
from edge_runtime.serving.store import Store


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "state")
    yield opened
    opened.close()


def test_the_oldest_go_where_all_are_too_large_and_what_is_too_old_goes(store):
    told: list[str] = []
    kept = Kept(store, KeepSettings(1.0, 1000), told.append)
    for number in range(1, 6):
        kept.keep(number, bytes(300))
        for path in (store.path.parent / "kept").iterdir():
            if path.name.endswith(f"-{number}.image"):
                os.utime(path, (time.time() - 100 + number,) * 2)
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept.numbers() == {3, 4, 5} and kept.content(5) == bytes(300) and kept.content(1) is None
    for path in (store.path.parent / "kept").glob("*-4.image"):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    kept.purge()
    assert kept.numbers() == {3, 5} and told == []


def test_a_new_store_shows_nothing_of_an_earlier_one(store, tmp_path):
    Kept(store, KeepSettings(1.0, 1000), print).keep(1, b"image")
    other = Store(tmp_path / "other")
    (store.path.parent / "kept").rename(tmp_path / "other" / "kept")
    kept = Kept(other, KeepSettings(1.0, 1000), print)
    assert kept.numbers() == frozenset() and kept.content(1) is None
    kept.keep(1, bytes(999))  # but it counts, and goes first
    assert len(list((tmp_path / "other" / "kept").iterdir())) == 1
    other.close()


def test_a_disk_that_refuses_is_told_once_and_ends_nothing(store):
    told: list[str] = []
    kept = Kept(store, KeepSettings(1.0, 1000), told.append)
    (store.path.parent / "kept").rmdir()
    (store.path.parent / "kept").write_text("")
    kept.keep(1, b"image")
    kept.keep(2, b"image")
    assert len(told) == 1 and "cannot be kept" in told[0]


def test_without_asking_nothing_is_kept_and_with_it_the_picture_is_shown_again(start_server, golden_images, tmp_path):
    content = golden_images[0].read_bytes()
    with start_server(state=tmp_path / "one").client() as client:
        number = client.post("/v1/predict", content=content).json()["id"]
        assert client.get("/v1/picture", params={"number": number}).status_code == 404
        assert client.get("/v1/picture", params={"number": "x"}).status_code == 400
        assert [item["kept"] for item in client.get("/v1/results").json()["items"]] == [False]
    assert not (tmp_path / "one" / "kept").exists()
    with start_server("--keep", 1, state=tmp_path / "two").client() as client:
        number = client.post("/v1/predict", content=content).json()["id"]
        picture = client.get("/v1/picture", params={"number": number})
        assert picture.headers["content-type"] == "image/png"
        (tmp_path / "shown.png").write_bytes(picture.content)
        with Image.open(tmp_path / "shown.png") as shown, Image.open(golden_images[0]) as given:
            assert shown.size == given.size and (np.asarray(shown) == np.asarray(given.convert("L"))).all()
        assert [item["kept"] for item in client.get("/v1/results").json()["items"]] == [True]
