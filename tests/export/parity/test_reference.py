"""A reference that answers anything alike, or by chance, cannot be agreed with."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import GateError
from export.parity.measures import EvaluationSet
from export.parity.reference import FEWEST_IMAGES, doubt_about, doubt_about_classes, doubt_about_logits, require_worth

COUNT = 200
LABELS = np.arange(COUNT) % 2
NOISE = np.random.default_rng(0).uniform(0, 1, COUNT)


def images(answers, labels=LABELS) -> EvaluationSet:
    given = np.asarray(answers)
    return EvaluationSet("evaluation images", np.zeros((len(given), 8, 8), np.uint8), labels, given)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (np.full(COUNT, 0.7), "answers 0.700 to each of the 200 images"),
        (np.where(np.arange(COUNT) == 3, np.nan, 0.5), "NaN to 1 of 200"),
        (NOISE, "no better than chance on the evaluation images"),
        (1 - LABELS, "no better than chance"),
    ],
)
def test_a_constant_a_nan_and_chance_are_doubted_and_refused(answers, says):
    doubt = doubt_about(images(answers)) or doubt_about_classes(images(answers))
    assert says in doubt
    with pytest.raises(GateError, match="--force"):
        require_worth(doubt)


def test_what_tells_classes_apart_is_not_doubted():
    for given in (images(0.3 * LABELS + 0.5 * NOISE), images(NOISE, labels=None)):
        assert doubt_about(given) is None and doubt_about_classes(given) is None


def test_few_images_doubt_nothing():
    few = FEWEST_IMAGES - 1
    for doubt in (doubt_about, doubt_about_classes):
        assert doubt(images(np.full(few, 0.7), LABELS[:few])) is None


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def test_scores_that_are_probabilities_are_no_logits_whichever_class_they_speak_for():
    fitted = 0.2 + 0.6 * LABELS + 0.4 * (NOISE - 0.5)  # as a network trained on 0 and 1 gives, beyond both at times
    for scores in (fitted, 1 - fitted, -fitted):
        assert "all lie about 0 to 1 (" in doubt_about_logits(images(sigmoid(scores)))
    assert doubt_about_logits(images(sigmoid(0.1 + 0.8 * NOISE), labels=None)) is not None


def test_logits_are_not_doubted():
    weak = 0.5 * (LABELS - 0.5) + 0.2 * (NOISE - 0.5)
    for scores in (4 * NOISE - 2, 3 * NOISE, 6 * (LABELS - 0.5) + NOISE, weak):
        assert doubt_about_logits(images(sigmoid(scores))) is None
    assert doubt_about_logits(images(sigmoid(0.1 + 0.8 * NOISE), labels=np.ones(COUNT, np.int64))) is None
