"""The gate: each limit holds at its edge, and few radiographs carry no claim."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_runtime.errors import GateError
from export.limits import PRESETS, Limits, limits_of
from export.parity.gate import judge, radiographs_needed, require_passed
from export.parity.measures import EvaluationSet, FileParity, Parity, upper_bound

LIMITS = Limits()
GOOD = FileParity(
    *("model_int8.tflite", "int8", "litert", "1", 1_000),
    *(0.9, 0, 0.01, 0.01, 1.0, 0.0),
    radiographs=1_000,
    radiograph_auc=0.9,
    radiograph_auc_change=0.0,
    radiograph_decisions_changed=0,
    changed_bound=0.003,
    furthest_changed=0.0,
    float_sensitivity=0.9,
    sensitivity=0.9,
    float_specificity=0.8,
    specificity=0.8,
)


def parity_of(*files: FileParity) -> Parity:
    return Parity(2_000, "test split", 0.5, 0.9, files, 1e-5, radiographs=1_000)


def judged(limits: Limits = LIMITS, independent: bool = True, **figures) -> FileParity:
    return judge(parity_of(dataclasses.replace(GOOD, **figures)), limits, independent).files[0]


@pytest.mark.parametrize(
    ("at_the_limit", "beyond", "says"),
    [
        ({"radiograph_auc_change": -0.005}, {"radiograph_auc_change": -0.00501}, "the AUC changed by -0.0050"),
        ({"radiograph_auc_change": 0.005}, {"radiograph_auc_change": 0.00501}, "the AUC changed by"),
        ({"furthest_changed": 0.7 - 0.5}, {"furthest_changed": 0.2001}, "0.200 from the threshold"),
        ({"percentile_99_difference": 0.1}, {"percentile_99_difference": 0.1001}, "99th percentile"),
        ({"percentile_99_difference": 0.1}, {"percentile_99_difference": float("nan")}, "is nan"),
        ({"sensitivity": 0.89}, {"sensitivity": 0.8899}, "the sensitivity is 0.890, the network's 0.900"),
        ({"sensitivity": 0.91}, {"sensitivity": 0.9101}, "the sensitivity"),
        ({"specificity": 0.79}, {"specificity": 0.7899}, "the specificity"),
        (
            {"radiograph_decisions_changed": 20},
            {"radiograph_decisions_changed": 21},
            r"21 of 1000 decisions changed \(2.10%\)",
        ),
    ],
)
def test_a_figure_at_its_limit_passes_and_one_beyond_fails(at_the_limit, beyond, says):
    assert judged(**at_the_limit).verdict == "passed"
    failed = judged(**beyond)
    assert (failed.verdict, len(failed.reasons)) == ("failed", 1)
    with pytest.raises(GateError, match=says):
        require_passed(judge(parity_of(dataclasses.replace(GOOD, **beyond)), LIMITS, True), failed.reasons[0])


@pytest.mark.parametrize(
    ("limit", "radiographs", "verdict"),
    [(0.02, 148, "too small"), (0.02, 149, "passed"), (0.005, 597, "too small"), (0.005, 598, "passed")],
)
def test_no_changed_decision_carries_the_claim_from_so_many_radiographs_on(limit, radiographs, verdict):
    limits = limits_of("default", changed=limit)
    one = judged(limits, radiographs=radiographs, changed_bound=upper_bound(0, radiographs))
    assert one.verdict == verdict
    assert all(f"{radiographs + 1} radiographs" in reason for reason in one.reasons)
    assert radiographs_needed(0, limit) == {0.02: 149, 0.005: 598}[limit]


def test_more_changed_decisions_need_more_radiographs():
    needed = radiographs_needed(3, 0.02)
    assert upper_bound(3, needed) <= 0.02 < upper_bound(3, needed - 1)
    assert radiographs_needed(0, 0.0) is None


def test_images_that_calibrated_carry_no_claim_however_many():
    one = judged(independent=False)
    assert one.verdict == "too small" and "--evaluate" in one.reasons[0]


def test_decisions_carry_the_claim_without_labels():
    unknown = {"radiograph_auc_change": None, "sensitivity": None, "specificity": None}
    assert judged(**unknown).verdict == "passed"
    assert judged(**unknown, radiograph_decisions_changed=21).verdict == "failed"
    assert judged(**unknown, changed_bound=0.021).verdict == "too small"


def test_a_bundle_has_the_verdict_of_its_worst_int8_file_and_float_files_have_none():
    failed = dataclasses.replace(GOOD, file="model_int8.onnx", percentile_99_difference=0.2)
    float_file = dataclasses.replace(failed, file="model_float32.onnx", precision="float32")
    measured = judge(parity_of(float_file, GOOD, failed), LIMITS, True)
    assert [one.verdict for one in measured.files] == ["not judged", "passed", "failed"]
    assert (measured.verdict, measured.limits) == ("failed", LIMITS.to_dict())
    assert judge(parity_of(float_file), LIMITS, True).verdict == "not judged"


def test_the_aim_is_narrower_and_single_limits_replace_its_own():
    assert PRESETS["aim"] == Limits(0.002, 0.005, 0.10, 0.03, 0.01, 0.01)
    assert limits_of("aim", auc=None, changed=0.1) == Limits(0.002, 0.1, 0.10, 0.03, 0.01, 0.01)


def test_a_radiograph_is_the_mean_of_its_files():
    images = EvaluationSet(
        *("made up", np.zeros((5, 8, 8), np.uint8), np.array([1, 1, 0, 0, 1]), np.zeros(5)),
        groups=np.array([7, 7, 3, 3, 9]),
    )
    labels, probabilities = images.per_radiograph(np.array([0.2, 0.6, 0.1, 0.3, 0.9]))
    assert labels.tolist() == [0, 1, 1]
    assert probabilities == pytest.approx([0.2, 0.4, 0.9])
