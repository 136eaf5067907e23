"""A small data set of phantoms, and a cache that is not the user's."""

import pytest

from train import phantom


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory):
    """Folder of train, val and test phantoms."""
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    return phantom.write_dataset(folder, {"train": 48, "val": 24, "test": 24}, seed=5, workers=1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
