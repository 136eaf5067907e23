"""Where each file abstains: limits from its own answers, for an int8 file answers otherwise than the network.

What a run sets aside for it is used for nothing else, here neither: no recipe is chosen and no file is judged on it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_runtime.embedded_spec import embed, read_embedded_spec
from edge_runtime.spec import ModelSpec
from export.inputs.run_reader import FloatNetwork, read_images
from export.parity.engine_answers import ask
from train.figures.conformal import coverage_of, one_of_each, require_enough

log = logging.getLogger(__name__)

_FACTS = ("patient", "label")  # of an image


def settle_coverage(specs: Mapping[Path, ModelSpec], network: FloatNetwork) -> dict[Path, ModelSpec]:
    """The specs of the files with the limits of each, which are written into the files.

    Args:
        specs: by the path of the file, as the file has it inside.
        network: of the run, with the radiographs that were set aside.

    Raises:
        DataError: an image is missing, altered or unreadable, or there are too few.
    """
    wished = network.spec.coverage
    if wished is None:
        return dict(specs)
    patients, labels = (np.array([getattr(image, name) for image in network.aside], np.int64) for name in _FACTS)
    rows = one_of_each(patients, labels)
    negatives, positives = np.bincount(labels[rows], minlength=2).tolist()
    require_enough((negatives, positives), wished.level, network.spec.labels)
    log.info("asking %d files for their limits at a coverage of %g", len(specs), wished.level)
    images_u8 = read_images(network, [network.aside[row] for row in rows])
    settled = {}
    for path, spec in specs.items():
        probabilities = ask(path, spec, images_u8).probabilities
        settled[path] = replace(spec, coverage=coverage_of(labels[rows], probabilities, wished.level))
        model = path.read_bytes()[: read_embedded_spec(path).model_bytes]
        path.write_bytes(embed(model, settled[path], path.suffix))
    return settled
