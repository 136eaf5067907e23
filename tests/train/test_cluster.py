"""A cluster that is not there is told at once."""

from __future__ import annotations

import socket
import time

import pytest

pytest.importorskip("ray", reason="clusters need the extra [ray]")

from edge_runtime.errors import StorageError
from train.cluster import open_ray


def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    with socket.socket() as bound:  # bound, and never listening
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(StorageError, match=f"--ray-address {address}: no Ray cluster"):
            open_ray(address)
        assert time.monotonic() - start < 60  # Ray alone takes minutes; what is left is its import


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "no such host:6379"])
def test_an_address_that_is_none_is_told_too(address: str) -> None:
    with pytest.raises(StorageError, match="--ray-address"):
        open_ray(address)
