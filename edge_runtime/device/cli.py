"""edge-device: what is installed on this device."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import click

from edge_runtime import __version__
from edge_runtime.command import Group, echo_result
from edge_runtime.device.signatures import SIGNATURE, load_public_key, verify_folder
from edge_runtime.errors import DataError
from edge_runtime.terminal_text import escaped_lines

PREFIX_VARIABLE = "EDGE_PREFIX"
VERIFIED_VARIABLE = "EDGE_PACKAGE_VERIFIED"  # tells install.sh who has opened the package
PINNED_KEY = "trusted.pub"  # in the prefix
_DEFAULT_PREFIX = "/opt/fracture-edge"
_PATH = click.Path(path_type=Path)
_prefix_option = click.option(
    "--prefix", type=_PATH, help="Where it is installed.  [default: $EDGE_PREFIX, else /opt/fracture-edge]"
)


@click.group(cls=Group)
@click.version_option(__version__, prog_name="edge-device")
def main() -> None:
    """What is installed on this device, and who it came from.

    Research use only: not a medical device.
    """


@main.command()
@click.argument("archive", type=_PATH)
@click.argument("installer_options", nargs=-1, type=click.UNPROCESSED)
@_prefix_option
@click.option("--key", type=_PATH, help="Public key that must have signed it.  [default: the one pinned in the prefix]")
@click.option("--allow-downgrade", is_flag=True, help="Install a package that is older than what is installed, too.")
def install(
    archive: Path, installer_options: tuple[str, ...], prefix: Path | None, key: Path | None, allow_downgrade: bool
) -> int:
    """Prove that ARCHIVE is signed by the pinned key, and only then run its installer.

    Options of the installer follow after --, for example: edge-device install pi.zip -- --service
    """
    from edge_runtime.device.archives import proven_package, refuse_older

    prefix = _chosen(prefix)
    trusted = load_public_key(key or _pinned(prefix))
    with proven_package(archive, trusted, prefix) as package:
        if not allow_downgrade:
            refuse_older(package, prefix / "current")
        click.echo(f"signed by {trusted.path} ({trusted.fingerprint})", err=True)
        command = ["sh", str(package / "install.sh"), "--prefix", str(prefix), *installer_options]
        return subprocess.run(command, env={**os.environ, VERIFIED_VARIABLE: "yes"}, check=False).returncode


def _chosen(prefix: Path | None) -> Path:
    return (prefix or Path(os.environ.get(PREFIX_VARIABLE, _DEFAULT_PREFIX))).absolute()


def _pinned(prefix: Path) -> Path:
    path = prefix / PINNED_KEY
    if not path.is_file():
        raise DataError(f"{path}: no key is pinned here: give --key PUB, or install with install.sh --pin PUB once")
    return path


@main.command()
@_prefix_option
def rollback(prefix: Path | None) -> None:
    """Put the release before this one in use again; this one is kept in its place.

    It has to pass its self-test and to answer, else everything stays as it is. With a pinned key too it needs no
    --allow-downgrade: its signature was checked when it was installed.
    """
    from edge_runtime.device.changes import roll_back

    click.echo(f"in use: {roll_back(_chosen(prefix)).folder.name}")


@main.command("swap-model")
@click.argument("bundle", type=_PATH)
@_prefix_option
def swap_model(bundle: Path, prefix: Path | None) -> None:
    """Use the network of BUNDLE with the programs that are installed; edge-device rollback undoes it.

    Where a key is pinned it must have signed the bundle. The network has to pass its self-test and to answer, else
    everything stays as it is.
    """
    from edge_runtime.device import changes

    where = _chosen(prefix)
    trusted = load_public_key(where / PINNED_KEY) if (where / PINNED_KEY).is_file() else None
    click.echo(f"in use: {changes.swap_model(where, bundle, trusted).folder.name}")


@main.command()
@_prefix_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(prefix: Path | None, as_json: bool) -> None:
    """Tell which releases and networks are here, which key is pinned, and which services run."""
    from edge_runtime.device.status import as_text, describe_device

    where = _chosen(prefix)
    facts = describe_device(where, where / PINNED_KEY)
    echo_result(json.dumps(facts, indent=2) if as_json else escaped_lines(as_text(facts)))


@main.command()
@click.argument("folder", type=_PATH)
@click.option("--key", type=_PATH, required=True, help="Public key that must have signed it.")
@click.option("--signature", default=SIGNATURE, show_default=True, help="Name of the signature file in the folder.")
def verify(folder: Path, key: Path, signature: str) -> None:
    """Prove that a bundle, or an unpacked package, holds exactly the files that were signed."""
    trusted = load_public_key(key)
    verify_folder(folder, trusted, signature)
    click.echo(f"signed by {key} ({trusted.fingerprint})")


if __name__ == "__main__":
    main()
