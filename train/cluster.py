"""Ray, opened without noise: what edge-score and edge-audit run on where one process is not enough."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from typing import Any

from edge_runtime.errors import DependencyError, StorageError

INSTALL = 'pip install "fracture-edge[ray]"'
_CONNECT_S = 5.0  # seconds that a cluster has to answer
_OBJECT_STORE_BYTES = 80 << 20  # Ray's least: what passes between processes is small


def open_ray(address: str | None) -> Any:
    """Ray, connected to a cluster or started here.

    Args:
        address: of a cluster that runs, such as `auto` or `10.0.0.1:6379`; None starts one on this machine.

    Raises:
        DependencyError: it is not installed.
        StorageError: there is no cluster at that address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its warning about a default that will change
    try:
        ray = importlib.import_module("ray")
        importlib.import_module("ray.data")
    except ModuleNotFoundError as error:
        raise DependencyError(f"Ray is not installed ({error.name}): {INSTALL}") from error
    if address is not None:
        _require_reachable(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    here = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address, **quiet) if address else ray.init(**here, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise StorageError(f"Ray {address or ''}: cannot be reached: {error}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    for name in ("ray", "ray.data"):  # which set themselves up when they are imported
        logging.getLogger(name).setLevel(logging.ERROR)
    context.print_on_execution_start = False
    return ray


def _require_reachable(address: str) -> None:
    """Refuses an address where nobody listens: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():
        return  # `auto` and the like: Ray finds out at once
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise StorageError(f"--ray-address {address}: no Ray cluster can be reached there: {error}") from error
