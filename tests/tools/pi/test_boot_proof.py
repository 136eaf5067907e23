"""What `make boot` proves is what the documentation tells people to do."""

from __future__ import annotations

from pathlib import Path

from tools.pi.boot_proof import SERVE, SOCKET, WATCH


def test_the_socket_that_was_proved_is_the_one_that_is_told(repository: Path):
    told = (repository / "docs" / "device.md").read_text(encoding="utf-8")
    assert f"```\n{SOCKET}```\n" in told and f"/etc/systemd/system/{SERVE.replace('.service', '.socket')}" in told


def test_the_units_that_were_proved_are_those_that_the_installer_writes(repository: Path):
    installer = (repository / "export" / "package" / "files" / "install.sh").read_text(encoding="utf-8")
    assert all(name.removesuffix(".service") in installer for name in (SERVE, WATCH))
