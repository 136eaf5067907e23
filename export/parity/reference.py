"""Is the trained network worth agreeing with? Files that repeat a constant, or chance, agree with it perfectly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import GateError
from export.parity.gate import FAILED
from export.parity.measures import EvaluationSet, Parity
from train.metrics import auc_with_interval

FEWEST_IMAGES = 10  # fewer may well have one answer
LEAST_SPREAD = 1 / 255  # of probabilities: one step of an int8 file, which would hold a single value
OVERSHOT = 0.25  # by which a network that was trained to give 0 or 1 may miss that range
LEAST_AUC = 0.6  # that the upper 97.5 % bound has to reach: below it, a network does not tell the classes apart


def doubt_about(images: EvaluationSet) -> str | None:
    """Why these answers of the trained network are none: NaN, or the same to all; None where they differ."""
    answers = images.reference
    if not np.isfinite(answers).all():
        return f"the trained network answers NaN to {int((~np.isfinite(answers)).sum())} of {len(answers)} images"
    if len(answers) < FEWEST_IMAGES or float(np.ptp(answers)) >= LEAST_SPREAD:
        return None
    return (
        f"the trained network answers {answers.mean():.3f} to each of the {len(answers)} images, whatever they "
        "show; if it was trained on other values, --input-range says on which"
    )


def doubt_about_logits(images: EvaluationSet) -> str | None:
    """Why the single score of the trained network is no logit; None where it may well be.

    Args:
        images: with the answers that the scores give when they are taken as logits.
    """
    answers = images.reference.astype(np.float64)
    is_one_class = images.labels is not None and len(np.unique(images.labels)) < 2
    if len(answers) < FEWEST_IMAGES or is_one_class or not ((answers > 0) & (answers < 1)).all():
        return None
    scores = np.log(answers / (1.0 - answers))
    scores = -scores if scores.mean() < 0 else scores  # of a network whose unit speaks for the other class
    margin = 0.0 if images.labels is None else OVERSHOT
    if scores.min() < -margin or scores.max() > 1 + margin or not _nearer_as_probabilities(scores, images.labels):
        return None
    return (
        f"the trained network ends without activation, and its scores of {len(answers)} images all lie about 0 to 1 "
        f"({scores.min():.2f} to {scores.max():.2f}), as probabilities do and logits hardly: if it was trained to give "
        "probabilities, end it in a sigmoid and train it so"
    )


def _nearer_as_probabilities(scores: NDArray[np.float64], labels: NDArray[np.int64] | None) -> bool:
    """Whether scores are nearer to the labels, of either class, as they are than through a sigmoid; so without labels.

    Nearer in Brier's sense, the mean square.
    """
    if labels is None:
        return True
    targets = min((labels, 1 - labels), key=lambda given: float(((scores - given) ** 2).mean()))
    through = 1.0 / (1.0 + np.exp(-scores))
    return float(((scores - targets) ** 2).mean()) < float(((through - targets) ** 2).mean())


def doubt_about_classes(images: EvaluationSet) -> str | None:
    """Why the trained network does not tell the classes apart; None where it does, or labels are unknown."""
    if images.labels is None or len(images.reference) < FEWEST_IMAGES or not np.isfinite(images.reference).all():
        return None
    labels, probabilities = images.per_radiograph(images.reference)
    if labels is None:
        return None
    area = auc_with_interval(labels, probabilities, np.arange(len(labels)))
    if area.high is None or area.high >= LEAST_AUC:
        return None
    return (
        f"the trained network is no better than chance on the {images.name}: AUC {area}; labels, preprocessing "
        "(--aspect, --input-range) and the positive class (--positive) have to be those that it was trained with"
    )


def require_worth(doubt: str | None) -> None:
    """Refuses a reference that is not worth agreeing with.

    Raises:
        GateError: there is a doubt.
    """
    if doubt is not None:
        raise GateError(f"{doubt}. No bundle was written; --force writes it, marked failed")


def marked(parity: Parity, doubt: str) -> Parity:
    """The same figures with every file failed for this reason, for they agree with nothing of worth."""
    files = tuple(replace(one, verdict=FAILED, reasons=(doubt, *one.reasons)) for one in parity.files)
    return replace(parity, files=files, verdict=FAILED)
