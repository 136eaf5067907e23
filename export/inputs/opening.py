"""All that an export reads, opened and checked before anything slow begins."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from export.inputs.image_sets import ImageSets, gather
from export.inputs.run_reader import Classes, FloatNetwork, open_network
from export.request import FORMATS, ExportRequest

if TYPE_CHECKING:
    from export.inputs.foreign.reading import ForeignNetwork

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportInputs:
    """What a request names, read."""

    network: FloatNetwork  # on disk, and what is known of it
    images: ImageSets  # that calibrate and that judge
    foreign: ForeignNetwork | None  # the network, where it was made elsewhere


def open_inputs(request: ExportRequest) -> ExportInputs:
    """The network and the images of a request.

    Raises:
        DataError: images are missing, altered or unfit.
        ModelError: the network or its spec is missing or damaged, or has a part that cannot be exported.
    """
    classes = Classes(request.labels, request.positive, request.threshold, request.aspect, request.size)
    network = open_network(request.source, request.spec, request.data, classes)
    request.refuse_ignored(is_run=network.data_root is not None)
    if request.name is not None:
        network = replace(network, spec=replace(network.spec, name=request.name))
    foreign = None
    if network.data_root is None:
        log.info("taking the network apart")
        from export.inputs.foreign import float_layers, reading

        foreign = reading.prepare(
            network.model, network.positive, request.input_range, network.classes, network.spec.size
        )
        if request.int8 and not request.allow_mixed:
            float_layers.require_int8(foreign.model, [FORMATS[name] for name in request.formats])
    log.info("reading images")
    return ExportInputs(network, gather(request, network), foreign)
