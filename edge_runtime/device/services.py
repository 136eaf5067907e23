"""The services that run what a prefix holds, and what systemd says of them."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import GateError

_NAMES = ("fracture-edge.service", "fracture-edge-serve.service")
_SYSTEMD = Path("/run/systemd/system")
_SYSTEM_UNITS = Path("/etc/systemd/system")
_SETTLE_S = 2.0  # what ends at once has ended by then


@dataclass(frozen=True)
class Service:
    """A unit of a prefix."""

    name: str
    scope: str  # `system` or `user`

    def ask(self, verb: str) -> str:
        """What `systemctl VERB` says of it, in a word."""
        command = ["systemctl", f"--{self.scope}", verb, self.name]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            return "unknown"


def services_of(prefix: Path) -> list[Service]:
    """Services whose unit starts a command of the prefix: those of the system, and this user's."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    return [
        Service(name, scope)
        for scope, folder in (("system", _SYSTEM_UNITS), ("user", home))
        for name in _NAMES
        if _starts(folder / name, prefix)
    ]


def restart(prefix: Path) -> list[Service]:
    """The services that were enabled and run again, now with the release in use.

    Raises:
        GateError: one of them does not run.
    """
    if not _SYSTEMD.is_dir():
        return []
    enabled = [service for service in services_of(prefix) if service.ask("is-enabled") == "enabled"]
    for service in enabled:
        service.ask("restart")
    if enabled:
        time.sleep(_SETTLE_S)
    ended = [service.name for service in enabled if service.ask("is-active") != "active"]
    if ended:
        raise GateError(f"{', '.join(ended)}: does not run with this release: see journalctl -u {ended[0]}")
    return enabled


def _starts(unit: Path, prefix: Path) -> bool:
    try:
        return f"ExecStart={prefix}/bin/" in unit.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
