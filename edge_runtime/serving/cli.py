"""edge-serve: a page and a REST interface on the device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime import __version__
from edge_runtime.command import Command, NamedPath
from edge_runtime.engines import AUTO, NAMES
from edge_runtime.errors import DependencyError
from edge_runtime.watching.options import poll_option, settle_option

if TYPE_CHECKING:
    from edge_runtime.serving.folder import FolderSettings
    from edge_runtime.serving.node.peers import NodeSettings

_FILE = click.Path(path_type=Path, dir_okay=False)
INSTALL = 'pip install "fracture-edge-runtime[serve]"'


def default_state() -> Path:
    """Where the store lies: systemd's StateDirectory, else the user's own."""
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Path(given) if given else home / "fracture-edge"


@click.command(cls=Command)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Bundle folder or model file. [default: $EDGE_MODEL, else the network in this package]",
)
@click.option("--engine", type=click.Choice([AUTO, *NAMES]), default=AUTO, show_default=True, help="Inference engine.")
@click.option("--threads", type=click.IntRange(1, 256), help="Threads of the engine.  [default: the engine's own]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need --token-file.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--allow-host", "names", multiple=True, help="Further name under which browsers call this server.")
@click.option("--token-file", type=_FILE, help="File with the token that clients have to show, mode 0600.")
@click.option("--tls-certificate", "certificate", type=_FILE, help="Certificate for https, PEM.")
@click.option("--tls-key", "key", type=_FILE, help="Key of the certificate, PEM.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help="Folder of the store.")
@click.option("--show-identifiers", is_flag=True, help="Keep and show file names and times in today's list.")
@click.option("--keep", "keep_days", type=click.FloatRange(0, min_open=True), help="Keep images so many days.")
@click.option(
    *("--keep-megabytes", "keep_megabytes"),
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="With --keep: MB of all kept images; the oldest go first.",
)
@click.option("--accept-engine", is_flag=True, help="Serve although golden images are answered otherwise than before.")
@click.option("--operating-point", help="Threshold by its name, where the network has several. [default: its own]")
@click.option("--no-radiograph-gate", is_flag=True, help="Decide on what is no radiograph too.")
@click.option(
    *("--queue", "images"), type=click.IntRange(1, 10_000), default=64, show_default=True, help="Images that may wait."
)
@click.option(
    *("--max-megabytes", "megabytes"),
    type=click.IntRange(1, 512),
    default=64,
    show_default=True,
    help="Largest image file that is taken, MB.",
)
@click.option(
    *("--rate", "requests_per_second"),
    type=click.FloatRange(0.1),
    default=50.0,
    show_default=True,
    help="Images a second from one address.",
)
@click.option(
    "--watch",
    type=NamedPath(exists=True, file_okay=False, path_type=Path),
    help="Judge each new image in a folder too.",
)
@click.option(
    "--results",
    type=NamedPath(dir_okay=False, path_type=Path),
    help="With --watch: file for the lines; one of edge-infer --watch is taken in. [default: results.jsonl in --state]",
)
@click.option("--sidecars", is_flag=True, help="With --watch: put x.result.json and x.heatmap.png beside x.png.")
@poll_option
@settle_option
@click.option("--dicom-port", type=click.IntRange(0, 65535), help="Take images by DICOM here too; 11112 is usual.")
@click.option(
    "--dicom-host", default="127.0.0.1", show_default=True, help="Address of the DICOM node; others need --dicom-allow."
)
@click.option("--ae-title", default="EDGE", show_default=True, help="Title of this DICOM application entity.")
@click.option(
    "--dicom-allow", multiple=True, help="TITLE or TITLE@ADDRESS (or @NETWORK/BITS) that may send images by DICOM."
)
@click.option("--forward", help="TITLE@HOST:PORT that gets the answers by DICOM.")
@click.option(
    "--forward-as",
    type=click.Choice(["sr", "sc", "both"]),
    default="sr",
    show_default=True,
    help="As structured reports, as secondary captures with the heatmap, or both.",
)
@click.option("--webhook", help="http or https address that is told of each answer, signed; needs its secret.")
@click.option(
    "--webhook-secret-file", "webhook_secret", type=_FILE, help="File with what both sides sign with, mode 0600."
)
@click.option("--mqtt", help="mqtt://[USER@]HOST[:PORT][/TOPIC] that each answer is published to; mqtts:// for TLS.")
@click.option("--mqtt-password-file", "mqtt_password", type=_FILE, help="File with the password of USER, mode 0600.")
@click.option("--mqtt-discovery", is_flag=True, help="Tell Home Assistant what to make of it.")
@click.version_option(__version__, prog_name="edge-serve")
def main(
    model: Path | None,
    engine: str,
    threads: int | None,
    state: Path | None,
    images: int,
    megabytes: int,
    no_radiograph_gate: bool,
    operating_point: str | None,
    dicom_port: int | None,
    dicom_host: str,
    ae_title: str,
    dicom_allow: tuple[str, ...],
    forward: str | None,
    forward_as: str,
    watch: Path | None,
    results: Path | None,
    sidecars: bool,
    poll_s: float,
    settle_s: float,
    webhook: str | None,
    webhook_secret: Path | None,
    mqtt: str | None,
    mqtt_password: Path | None,
    mqtt_discovery: bool,
    keep_days: float | None,
    keep_megabytes: int,
    **settings: Any,
) -> None:
    """Serve a page and a REST interface that judge X-ray images, until SIGTERM.

    Research use only: not a medical device.
    """
    try:
        import python_multipart  # noqa: F401, which Starlette only misses once a form comes

        from edge_runtime.serving.bodies import Limits
        from edge_runtime.serving.judging import Capacity
        from edge_runtime.serving.kept import KeepSettings
        from edge_runtime.serving.server import ServeSettings, check, serve
    except ModuleNotFoundError as error:
        raise DependencyError(f"edge-serve needs {error.name}: {INSTALL}") from error
    from edge_runtime.predictor import Predictor

    limits = Limits(image_bytes=megabytes << 20)
    if dicom_port is None and (dicom_allow or forward):
        raise click.UsageError("--dicom-allow and --forward belong to --dicom-port")
    if forward is None and forward_as != "sr":
        raise click.UsageError("--forward-as belongs to --forward")
    node = None if dicom_port is None else _node((ae_title, dicom_host, dicom_port), dicom_allow, forward, forward_as)
    if watch is None and (results or sidecars):
        raise click.UsageError("--results and --sidecars belong to --watch")
    if (webhook is None) != (webhook_secret is None):
        raise click.UsageError("--webhook and --webhook-secret-file belong together")
    if mqtt is None and (mqtt_password or mqtt_discovery):
        raise click.UsageError("--mqtt-password-file and --mqtt-discovery belong to --mqtt")
    state = state or default_state()
    if keep_days is not None:
        settings["keep"] = KeepSettings(keep_days, keep_megabytes << 20)
    settings |= _told(webhook, webhook_secret, mqtt, mqtt_password, mqtt_discovery)
    folder = None if watch is None else _folder(watch, results or state / "results.jsonl", sidecars, poll_s, settle_s)
    given = ServeSettings(state, capacity=Capacity(images), limits=limits, node=node, folder=folder, **settings)
    check(given)  # before the network is loaded
    predictor = Predictor(
        model, engine, threads, radiograph_gate=not no_radiograph_gate, operating_point=operating_point
    )
    serve(given, predictor, lambda message: click.echo(message, err=True))


def _node(place: tuple[str, str, int], allowed: tuple[str, ...], forward: str | None, forward_as: str) -> NodeSettings:
    from edge_runtime.serving.node.node import require_node
    from edge_runtime.serving.node.peers import KINDS, NodeSettings, parse_caller, parse_destination

    require_node()
    destination = None if forward is None else parse_destination(forward)
    return NodeSettings(*place, tuple(map(parse_caller, allowed)), destination, KINDS[forward_as])


def _folder(folder: Path, results: Path, sidecars: bool, poll_s: float, settle_s: float) -> FolderSettings:
    from edge_runtime.serving.folder import FolderSettings
    from edge_runtime.watching.arrivals import Patience

    return FolderSettings(folder, results, sidecars, Patience(poll_s, settle_s))


def _told(
    webhook: str | None, secret: Path | None, mqtt: str | None, password: Path | None, discovery: bool
) -> dict[str, Any]:
    """Settings of those who are told of each answer."""
    from edge_runtime.serving.mqtt import MqttSettings
    from edge_runtime.serving.webhook import WebhookSettings

    told: dict[str, Any] = {} if mqtt is None else {"mqtt": MqttSettings(mqtt, password, discovery)}
    return told | ({} if webhook is None or secret is None else {"webhook": WebhookSettings(webhook, secret)})


if __name__ == "__main__":
    main()
