"""What edge-export's options for packages mean, and when each step of packaging comes."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edge_runtime.bundle import MANIFEST, shipped_bundle, verify_bundle
from edge_runtime.device.signatures import SIGNATURE
from edge_runtime.drafts import temporary_files_of
from edge_runtime.engines import NAMES as ENGINES
from edge_runtime.terminal_text import escaped
from export.package.target import SYSTEMS, TARGETS, machines_for, told

if TYPE_CHECKING:
    from export.bundle.signing import Signer
    from export.package.packager import PackageRequest

_KEY = click.Path(path_type=Path, dir_okay=False)
_OPTIONS = (
    click.option(
        "--package",
        type=click.Path(path_type=Path),
        help="Archive (.zip), or Debian package (.deb) that carries it, for a machine without a network.",
    ),
    click.option(
        "--hub-folder",
        type=click.Path(path_type=Path, file_okay=False),
        help="Lay the bundle as the Hugging Face hub expects it, in this folder; nothing is uploaded.",
    ),
    click.option("--target", type=click.Choice(list(TARGETS)), help="Of the package.  [default: aarch64]"),
    click.option(
        *("--python", "pythons"),
        type=click.Choice(list(SYSTEMS)),
        multiple=True,
        help="Of the target; several make one archive for all of them.  [default: 3.13]",
    ),
    click.option("--engine", type=click.Choice(ENGINES), help="Of the package.  [default: the target's best]"),
    click.option(
        "--wheels", type=click.Path(path_type=Path), help="Folder of wheels for the package, in place of downloads."
    ),
    click.option("--sign", type=_KEY, help="Private key that signs the bundle and the package."),
    click.option("--new-key", type=_KEY, help="Make a pair of keys, this one and KEY.pub beside it, and nothing else."),
    click.option(
        "--number", type=click.IntRange(0), help="Of a signed or Debian package; grows. [default: seconds since 1970]"
    ),
)
_NAMES = ("package", "target", "pythons", "engine", "wheels", "sign", "number")
_SPELT = {"pythons": "python"}  # option whose name in the code is another
_DEFAULT_TARGET = "aarch64"


def package_options(export: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a package to edge-export: it exports first, unless its source is a bundle already."""

    @functools.wraps(export)
    def export_and_package(
        source: Path | None, out: Path | None, new_key: Path | None, hub_folder: Path | None, **options: Any
    ) -> Any:
        if new_key is not None:
            return _make_key(new_key, source)
        if source is None:
            source = None if options["package"] is None and hub_folder is None else shipped_bundle()
        if source is None:
            raise click.UsageError("Missing argument 'RUN|MODEL.keras|BUNDLE'.")
        if hub_folder is not None:
            from export.bundle.hub import refuse_foreign_folder

            refuse_foreign_folder(hub_folder)
        signer = _signer(options.pop("sign"))
        request = _request(signer=signer, **{name: options.pop(name) for name in _NAMES if name != "sign"})
        if (source / MANIFEST).is_file():
            _refuse_options_of_export(request, signer, hub_folder)
            _sign(source, signer)
            _lay_hub_folder(source, hub_folder)
            with _packaging(request) as write:
                return write(source)
        if out is None:
            raise click.UsageError("Missing option '--out'.")
        with _packaging(request) as write:
            result = export(source=source, out=out, **options)
            _sign(out, signer)
            _lay_hub_folder(out, hub_folder)
            write(out)
        return result

    return functools.reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), export_and_package)


def _make_key(path: Path, source: Path | None) -> None:
    if source is not None:
        raise click.UsageError("--new-key makes keys and exports nothing: give it alone")
    from export.bundle.signing import new_key

    fingerprint = new_key(path)
    click.echo(f"private key, to be kept: {path}\npublic key, for devices: {path}.pub\nSHA-256 of it: {fingerprint}")


def _signer(key: Path | None) -> Signer | None:
    if key is None:
        return None
    from export.bundle.signing import Signer

    return Signer(key)


def _sign(bundle: Path, signer: Signer | None) -> None:
    if signer is not None:
        verify_bundle(bundle)
        signer.sign_folder(bundle)
        click.echo(f"signed: {bundle / SIGNATURE}")


def _lay_hub_folder(bundle: Path, folder: Path | None) -> None:
    if folder is not None:
        from export.bundle.hub import names_its_license, write_hub_folder

        size = write_hub_folder(bundle, folder)
        missing = "" if names_its_license(folder) else "; its README.md has yet to name the license"
        click.echo(escaped(f"hub folder: {folder} ({size / 1e6:.1f} MB){missing}"))


def _refuse_options_of_export(request: PackageRequest | None, signer: Signer | None, hub_folder: Path | None) -> None:
    """A bundle is packaged as it is."""
    context = click.get_current_context()
    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in ("source", "new_key", "hub_folder", *_NAMES)
        and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: the source is a bundle, which is packaged as it is")
    if request is None and signer is None and hub_folder is None:
        raise click.UsageError("the source is a bundle: give --package FILE.zip to make a package of it")


@contextlib.contextmanager
def _packaging(request: PackageRequest | None) -> Iterator[Callable[[Path], None]]:
    """Collects the wheels, and then gives what turns a bundle into the package: nothing is built for a missing wheel.

    Args:
        request: None packages nothing.
    """
    if request is None:
        yield lambda bundle: None
        return
    from export.package.packager import collected_wheels, write_package
    from train.command_log import messages_on_standard_error

    with (
        temporary_files_of("edge-package"),
        messages_on_standard_error("export.package"),
        collected_wheels(request) as wheels,
    ):

        def write(bundle: Path) -> None:
            summary = write_package(request, bundle, wheels)
            contents = f"{summary.megabytes:.1f} MB; {told(request.machines)}; {summary.model}, {summary.wheels} wheels"
            click.echo(escaped(f"package: {summary.archive} ({contents})"))
            if request.signer:
                by_hand = "openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in"
                line = f"{by_hand} {summary.archive} -sigfile {summary.archive}.sig"
                click.echo(escaped(f"signed: {summary.archive}.sig; by hand: {line}"))

        yield write


def _request(signer: Signer | None, package: Path | None, **options: Any) -> PackageRequest | None:
    """What is asked of a package, by its options; None where none is asked for."""
    if package is None:
        unused = [f"--{_SPELT.get(name, name)}" for name, value in options.items() if value not in (None, ())]
        if unused:
            raise click.UsageError(f"{', '.join(unused)}: only for a package; give --package FILE.zip too")
        return None
    from export.package.packager import PackageRequest

    machines = machines_for(options["target"] or _DEFAULT_TARGET, options["pythons"], options["engine"])
    number = options["number"]
    if number is None:
        is_numbered = signer is not None or package.suffix == ".deb"  # dpkg compares versions
        number = int(os.environ.get("SOURCE_DATE_EPOCH", time.time())) if is_numbered else 0
    return PackageRequest(package, machines, options["wheels"], signer, number)
