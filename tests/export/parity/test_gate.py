"""The gate: each limit holds at its edge, and few radiographs carry no claim."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_runtime.errors import GateError
from export.limits import PRESETS, Limits, limits_of
from export.parity.engine_answers import Answers
from export.parity.gate import judge, radiographs_needed, require_passed
from export.parity.measures import EvaluationSet, FileParity, Parity, compare_answers, upper_bound
from export.parity.shift import ShiftParity

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
        ({"furthest_changed": 0.7 - 0.5}, {"furthest_changed": 0.2001}, "0.200 from the threshold"),
        ({"percentile_99_difference": 0.1}, {"percentile_99_difference": 0.1001}, "99th percentile"),
        ({"percentile_99_difference": 0.1}, {"percentile_99_difference": float("nan")}, "is nan"),
        ({"auc_change_interval": (-0.02, -0.005)}, {"auc_change_interval": (-0.02, -0.0051)}, "the AUC changed by"),
        ({"auc_change_interval": (0.01, 0.02)}, {"radiograph_auc_change": float("nan")}, "an unknown amount"),
        (
            {"sensitivity": 0.86, "sensitivity_change_interval": (-0.08, -0.01)},
            {"sensitivity": 0.86, "sensitivity_change_interval": (-0.08, -0.0101)},
            "the sensitivity is 0.860, the network's 0.900",
        ),
        ({"specificity_change_interval": (-0.1, 0.1)}, {"specificity_change_interval": (-0.1, -0.02)}, "specificity"),
    ],
)
def test_a_figure_at_its_limit_passes_and_one_shown_beyond_fails(at_the_limit, beyond, says):
    assert judged(**at_the_limit).verdict == "passed"
    failed = judged(**beyond)
    assert (failed.verdict, len(failed.reasons)) == ("failed", 1)
    with pytest.raises(GateError, match=says):
        require_passed(judge(parity_of(dataclasses.replace(GOOD, **beyond)), LIMITS, True), failed.reasons[0])


def counted(changed: int, radiographs: int, limit: float = 0.02) -> FileParity:
    figures = {"radiograph_decisions_changed": changed, "changed_bound": upper_bound(changed, radiographs)}
    return judged(limits_of("default", changed=limit), radiographs=radiographs, **figures)


@pytest.mark.parametrize(
    ("limit", "changed", "radiographs", "verdict"),
    [
        *(
            (limit, 0, count, verdict)
            for limit in (0.02, 0.005)
            for count, verdict in ((148, "too small"), (149, "passed"))
        ),
        (0.005, 1, 419, "passed"),  # 0.24 %, and less than 2 % for all that chance may do
        (0.005, 3, 419, "too small"),  # 0.7 %: more than the limit, and not shown to be
        (0.005, 7, 419, "failed"),  # 1.7 %: shown to be more than 0.5 %
        (0.02, 10, 418, "too small"),
        (0.02, 20, 418, "failed"),
        (0.02, 21, 1_000, "too small"),
        (0.05, 20, 1_000, "passed"),  # a wider limit has to be excluded, and no less
    ],
)
def test_changed_decisions_pass_fail_or_are_too_few_to_tell(limit, changed, radiographs, verdict):
    one = counted(changed, radiographs, limit)
    assert one.verdict == verdict
    if verdict == "too small":
        needed = radiographs_needed(changed, radiographs, limit)
        assert f"{needed} radiographs would decide" in one.reasons[0]
        assert counted(round(changed / radiographs * needed), needed, limit).verdict != "too small"


def test_a_share_at_its_limit_is_decided_by_no_number_of_radiographs():
    assert radiographs_needed(20, 1_000, 0.02) is None
    assert "no number of radiographs would decide" in counted(20, 1_000).reasons[0]


def measured(before: list[float], after: list[float], labels: list[int]) -> FileParity:
    images = EvaluationSet("made up", np.zeros((len(labels), 1, 1), np.uint8), np.array(labels), np.array(before))
    return compare_answers("model_int8.tflite", "int8", 1, 0.5, Answers("e", "1", np.float32(after), 1.0), images)


def test_one_flipped_fracture_of_seventy_shows_nothing_and_many_do():
    labels = [1] * 70 + [0] * 348
    before = [0.9 - 0.002 * i for i in range(70)] + [0.1 + 0.001 * i for i in range(348)]
    before[0] = 0.51
    one_flipped = [0.49, *before[1:]]
    one = measured(before, one_flipped, labels)
    assert one.sensitivity - one.float_sensitivity == pytest.approx(-1 / 70)
    assert one.sensitivity_change_interval == pytest.approx((-1 / 70, (2 * 0.975 - 1) / 70))
    assert judge(parity_of(one), LIMITS, True).files[0].verdict == "passed"
    many = measured(before, [0.49] * 20 + before[20:], labels)
    assert many.sensitivity_change_interval[1] < -0.01
    assert any("sensitivity" in reason for reason in judge(parity_of(many), LIMITS, True).files[0].reasons)


def test_gains_and_losses_are_counted_apart():
    labels, before = [1] * 10 + [0] * 10, [0.6] * 5 + [0.4] * 5 + [0.1] * 10
    swapped = measured(before, [0.4] * 5 + [0.6] * 5 + [0.1] * 10, labels)
    low, high = swapped.sensitivity_change_interval
    assert low == pytest.approx(-high) and high > 0.5 and swapped.sensitivity == swapped.float_sensitivity
    assert swapped.specificity_change_interval == (0.0, 0.0)


def test_images_that_calibrated_carry_no_claim_however_many():
    one = judged(independent=False)
    assert one.verdict == "too small" and "--evaluate" in one.reasons[0]


def test_decisions_carry_the_claim_without_labels():
    unknown = {"radiograph_auc_change": None, "sensitivity": None, "specificity": None}
    assert judged(**unknown).verdict == "passed"
    assert judged(**unknown, radiograph_decisions_changed=40).verdict == "failed"
    assert judged(**unknown, changed_bound=0.021).verdict == "too small"


def test_a_bundle_has_the_verdict_of_its_worst_int8_file_and_float_files_have_none():
    failed = dataclasses.replace(GOOD, file="model_int8.onnx", percentile_99_difference=0.2)
    float_file = dataclasses.replace(failed, file="model_float32.onnx", precision="float32")
    measured = judge(parity_of(float_file, GOOD, failed), LIMITS, True)
    assert [one.verdict for one in measured.files] == ["not judged", "passed", "failed"]
    assert (measured.verdict, measured.limits) == ("failed", LIMITS.to_dict())
    assert judge(parity_of(float_file), LIMITS, True).verdict == "not judged"


def test_the_aim_is_narrower_and_single_limits_replace_its_own():
    assert PRESETS["aim"] == Limits(auc=0.002, changed=0.005, distance=0.10, percentile_99=0.03)
    assert limits_of("aim", auc=None, changed=0.1) == Limits(auc=0.002, changed=0.1, distance=0.10, percentile_99=0.03)
    assert (Limits().sensitivity, Limits().specificity) == (0.01, 0.01)


def test_a_radiograph_is_the_mean_of_its_files():
    images = EvaluationSet(
        *("made up", np.zeros((5, 8, 8), np.uint8), np.array([1, 1, 0, 0, 1]), np.zeros(5)),
        groups=np.array([7, 7, 3, 3, 9]),
    )
    labels, probabilities = images.per_radiograph(np.array([0.2, 0.6, 0.1, 0.3, 0.9]))
    assert labels.tolist() == [0, 1, 1]
    assert probabilities == pytest.approx([0.2, 0.4, 0.9])


@pytest.mark.parametrize(
    ("changed", "limit", "verdict"), [(2, None, "passed"), (8, None, "failed"), (8, 0.2, "passed")]
)
def test_the_worst_shift_is_held_to_twice_the_limit_or_its_own(changed, limit, verdict):
    calm, rough = (
        ShiftParity(name, 100, count, ((60, count), (20, 0), (10, 0), (10, 0)), 0.05)
        for name, count in (("blur", 0), ("noise", changed))
    )
    found = judged(limits_of("default", shift=limit), shifts=(calm, rough))
    assert found.verdict == verdict
    assert all("'noise', 8 of 100 decisions changed" in reason for reason in found.reasons)
    assert Limits(changed=0.01).to_dict()["shift"] == 0.02 and Limits(shift=0.3).to_dict()["shift"] == 0.3
