"""The YAML at the head of a model card, as the Hugging Face hub reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge_runtime.spec import ModelSpec

FENCE = "---"


def card_head(spec: ModelSpec, parity: Mapping[str, Any], leaked: bool) -> list[str]:
    """Lines of YAML between fences. JSON's strings are YAML's too, so names need no rules of their own.

    Args:
        spec: of the network.
        parity: as in a bundle's parity.json.
        leaked: its test images share radiographs with its training images: then no figure of it is told.
    """
    kinds = sorted({one["file"].rpartition(".")[2] for one in parity["files"]})
    tags = ["medical", "radiology", "fracture", "edge", *(["int8"] if _best(parity) else []), *kinds, spec.domain]
    return [
        FENCE,
        "# license: the one under which you give it, which the hub asks for; datasets: [those it learnt from]",
        "library_name: fracture-edge",
        "pipeline_tag: image-classification",
        f"tags: {json.dumps(tags)}",
        *([] if leaked else _figures(spec, parity)),
        FENCE,
    ]


def _figures(spec: ModelSpec, parity: Mapping[str, Any]) -> list[str]:
    best = _best(parity)
    area = parity.get("float_radiograph_auc") if best is None else best.get("radiograph_auc")
    if area is None:
        return []
    return [
        "metrics: [roc_auc]",
        "model-index:",
        f"  - name: {json.dumps(spec.name)}",
        "    results:",
        f"      - task: {{type: image-classification, name: {json.dumps(f'{spec.labels[1]} or not')}}}",
        f"        dataset: {{type: custom, name: {json.dumps(parity['measured_on'])}}}",
        f"        metrics: [{{type: roc_auc, value: {area:.4f}}}]",
    ]


def _best(parity: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first int8 file; None where there is none."""
    return next((one for one in parity["files"] if one["file"].startswith(("model_int8.", "model_mixed."))), None)
