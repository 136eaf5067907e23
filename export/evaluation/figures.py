"""Figures of an evaluation, each with its interval, its number of radiographs, its method and where that stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from edge_runtime.spec import Coverage
from train.figures.calibration import BINS, expected_calibration_error, net_benefit, reliability
from train.figures.conformal import is_in_doubt, left_open
from train.figures.differences import heterogeneity, holm, mcnemar
from train.figures.proportions import share
from train.figures.roc import compare_areas, delong
from train.metrics import UNDEFINED, Estimate

FEWEST_OF_A_CLASS = 10  # in a subgroup: with fewer, its figures are shown with a warning and enter no test
_DECISION_THRESHOLDS = np.arange(0.05, 0.96, 0.05)
RESAMPLES = 2000
_AT_ONCE = 500  # resamples


@dataclass(frozen=True)
class Methods:
    """Of intervals: (name, where it stands) of each kind."""

    area: tuple[str, str]
    share: tuple[str, str]
    resampled: tuple[str, str]


_BOOTSTRAP = "doi 10.1214/ss/1177013815"
BY_RADIOGRAPH = Methods(
    ("DeLong, per radiograph", "doi 10.2307/2531595"),
    ("Wilson score, per radiograph", "doi 10.1080/01621459.1927.10502953"),
    (f"percentile bootstrap over radiographs, {RESAMPLES} resamples", _BOOTSTRAP),
)
BY_PATIENT = Methods(
    ("DeLong for radiographs clustered by patient (Obuchowski)", "doi 10.2307/2533958"),
    (
        "Wilson score on the effective number of radiographs, clustered by patient (Rao and Scott)",
        "doi 10.2307/2532311",
    ),
    (f"percentile bootstrap over patients, {RESAMPLES} resamples", _BOOTSTRAP),
)
_PAIRED = {
    BY_RADIOGRAPH: "paired DeLong (doi 10.2307/2531595)",
    BY_PATIENT: "paired DeLong clustered by patient (doi 10.2307/2533958)",
}


@dataclass(frozen=True)
class Figure:
    """One figure of a study."""

    name: str
    estimate: Estimate  # value and 95 % interval
    n: int  # radiographs that it rests on
    method: str  # of the interval
    source: str  # where the method stands

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types, without the name."""
        return {**asdict(self.estimate), "n": self.n, "method": self.method, "source": self.source}


@dataclass(frozen=True)
class Radiographs:
    """What the figures rest on: n radiographs, each the mean of its files."""

    labels: NDArray[np.int64]  # (n,) 0 or 1
    probabilities: NDArray[np.float64]  # (n,)
    threshold: float  # a probability at or above it is positive
    patients: NDArray[np.int64] | None = None  # (n,), where they are told and have several radiographs

    @property
    def methods(self) -> Methods:
        """How intervals are made."""
        return BY_RADIOGRAPH if self.patients is None else BY_PATIENT

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(n,): which are decided positive."""
        return self.probabilities >= self.threshold

    def some(self, chosen: NDArray[np.bool_]) -> Radiographs:
        """Those of a mask (n,)."""
        patients = None if self.patients is None else self.patients[chosen]
        return Radiographs(self.labels[chosen], self.probabilities[chosen], self.threshold, patients)

    def area(self) -> Estimate:
        """Under the ROC curve."""
        return delong(self.labels, self.probabilities, self.patients)

    def share(self, hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> Estimate:
        """Of those among them, (n,), the share of hits, (n,)."""
        return share(hits[among], None if self.patients is None else self.patients[among])


def figures_of(
    radiographs: Radiographs, prevalences: Sequence[float] = (), coverage: Coverage | None = None
) -> list[Figure]:
    """All figures of labelled radiographs.

    Args:
        radiographs: both classes among them.
        prevalences: of fractures where the network is to work, for predictive values.
        coverage: of the network; None: it has none.
    """
    positive, decided = radiographs.labels == 1, radiographs.decided
    shares = {
        "sensitivity": (decided, positive),
        "specificity": (~decided, ~positive),
        "accuracy": (decided == positive, np.ones_like(positive)),
        **({} if coverage is None else _of_coverage(radiographs, coverage)),
    }
    draws, methods = _resampled(radiographs, prevalences), radiographs.methods
    return [
        Figure("AUC", radiographs.area(), positive.size, *methods.area),
        *(
            Figure(name, radiographs.share(hits, among), int(among.sum()), *methods.share)
            for name, (hits, among) in shares.items()
        ),
        *(Figure(name, estimate, positive.size, *methods.resampled) for name, estimate in draws.items()),
    ]


def _of_coverage(
    radiographs: Radiographs, coverage: Coverage
) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(hits, among which) of each class: whether it is left open, and whether there is no decision."""
    is_open = left_open(coverage, radiographs.probabilities)
    doubt = is_in_doubt(coverage, radiographs.probabilities, radiographs.threshold)
    found = {}
    for label, name in ((1, "fractured"), (0, "not fractured")):
        of_class = radiographs.labels == label
        found[f"coverage of {name}, {coverage.level:g} wished"] = is_open[:, label], of_class
        found[f"no decision for {name}, by coverage"] = doubt, of_class
    return found


def _resampled(radiographs: Radiographs, prevalences: Sequence[float]) -> dict[str, Estimate]:
    """Figures whose intervals come from resampling radiographs, or whole patients; all of them from the same draws."""
    labels, probabilities = radiographs.labels, radiographs.probabilities
    once = np.ones((1, labels.size))
    values = _weighted(once, radiographs, prevalences)
    values["average precision"] = np.array([average_precision_score(labels, probabilities)])
    values["expected calibration error"] = np.array([expected_calibration_error(labels, probabilities)])
    patients = np.arange(labels.size) if radiographs.patients is None else radiographs.patients
    _, patient_of = np.unique(patients, return_inverse=True)
    count = int(patient_of.max()) + 1
    rng = np.random.default_rng(0)
    collected: dict[str, list[NDArray[np.float64]]] = {name: [] for name in values}
    for _ in range(0, RESAMPLES, _AT_ONCE):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=_AT_ONCE)
        times = drawn[:, patient_of].astype(np.float64)
        of_draws = _weighted(times, radiographs, prevalences)
        of_draws["average precision"] = _average_precision(times, radiographs)
        of_draws["expected calibration error"] = _calibration_error(times, radiographs)
        for name, draws in of_draws.items():
            collected[name].append(draws)
    return {name: _interval(float(value[0]), np.concatenate(collected[name])) for name, value in values.items()}


def _interval(value: float, draws: NDArray[np.float64]) -> Estimate:
    """A value with the percentiles of its draws; undefined where it, or a tenth of them, is."""
    known = draws[np.isfinite(draws)]
    if not np.isfinite(value) or known.size < 0.9 * draws.size:
        return UNDEFINED
    low, high = np.percentile(known, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _weighted(
    times: NDArray[np.float64], radiographs: Radiographs, prevalences: Sequence[float]
) -> dict[str, NDArray[np.float64]]:
    """(d,) of each figure in d draws, given how often each radiograph stands in each, (d, n)."""
    labels, decided = radiographs.labels == 1, radiographs.decided
    true, missed = times @ (labels & decided), times @ (labels & ~decided)
    false, left = times @ (~labels & decided), times @ (~labels & ~decided)
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = true / (true + missed), left / (left + false)
        figures = {
            "positive likelihood ratio": sensitivity / (1 - specificity),
            "negative likelihood ratio": (1 - sensitivity) / specificity,
            "F1": 2 * true / (2 * true + missed + false),
            "Brier score": times @ np.square(radiographs.probabilities - labels) / times.sum(axis=1),
            "predictive value of fractured, here": true / (true + false),
            "predictive value of not fractured, here": left / (left + missed),
        }
        for prevalence in prevalences:
            hit, rest = sensitivity * prevalence, specificity * (1 - prevalence)
            figures[f"predictive value of fractured at a prevalence of {prevalence:g}"] = hit / (
                hit + (1 - specificity) * (1 - prevalence)
            )
            figures[f"predictive value of not fractured at a prevalence of {prevalence:g}"] = rest / (
                rest + (1 - sensitivity) * prevalence
            )
    return figures


def _average_precision(times: NDArray[np.float64], radiographs: Radiographs) -> NDArray[np.float64]:
    """(d,): precision at each positive, mean over them, ties counted together."""
    order = np.argsort(-radiographs.probabilities, kind="stable")
    ordered = radiographs.probabilities[order]
    ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True])
    weighted = times[:, order]
    true = np.cumsum(weighted * (radiographs.labels[order] == 1), axis=1)[:, ends]
    count = np.cumsum(weighted, axis=1)[:, ends]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(count > 0, true / count, 0.0)
        return (precision * np.diff(true, axis=1, prepend=0.0)).sum(axis=1) / true[:, -1]


def _calibration_error(times: NDArray[np.float64], radiographs: Radiographs) -> NDArray[np.float64]:
    """(d,): as `train.figures.calibration.expected_calibration_error` of each draw."""
    bin_of = np.minimum((radiographs.probabilities * BINS).astype(int), BINS - 1)
    gaps = radiographs.probabilities - radiographs.labels
    total = np.zeros(len(times))
    for number in np.unique(bin_of):
        total += np.abs(times[:, bin_of == number] @ gaps[bin_of == number])
    return total / times.sum(axis=1)


@dataclass(frozen=True)
class Subgroup:
    """The radiographs that share a value of a column."""

    column: str
    value: str
    n: int
    positives: int
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    too_small: bool  # fewer than FEWEST_OF_A_CLASS of a class

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)


def subgroups_of(radiographs: Radiographs, columns: Mapping[str, Sequence[str]]) -> list[Subgroup]:
    """A row for each value of each column (n,), values in order."""
    rows = []
    for column, values in columns.items():
        for value in sorted(set(values)):
            part = radiographs.some(np.array([one == value for one in values]))
            positive, decided = part.labels == 1, part.decided
            rows.append(
                Subgroup(
                    *(column, value, positive.size, int(positive.sum())),
                    *(part.area(), part.share(decided, positive), part.share(~decided, ~positive)),
                    bool(min(positive.sum(), (~positive).sum()) < FEWEST_OF_A_CLASS),
                )
            )
    return rows


def interactions(subgroups: Sequence[Subgroup]) -> dict[str, dict[str, float | None]]:
    """By column and figure, the p value that its subgroups share it (Cochran's Q), corrected for all looks (Holm)."""
    looks: dict[tuple[str, str], float] = {}
    for column in dict.fromkeys(row.column for row in subgroups):
        rows = [row for row in subgroups if row.column == column and not row.too_small]
        for name in ("auc", "sensitivity", "specificity"):
            p_value = heterogeneity([getattr(row, name) for row in rows])
            if p_value is not None:
                looks[column, name] = p_value
    corrected = dict(zip(looks, holm(list(looks.values())), strict=True)) if looks else {}
    columns = dict.fromkeys(row.column for row in subgroups)
    return {
        column: {name: corrected.get((column, name)) for name in ("auc", "sensitivity", "specificity")}
        for column in columns
    }


def comparison(first: Radiographs, second: Radiographs, margin: float) -> dict[str, Any]:
    """Two networks on the same radiographs: paired areas, McNemar, and whether the first is not inferior.

    Args:
        first: the network that is evaluated.
        second: the other one, the same radiographs in the same order.
        margin: of AUC, by which the first may be worse.
    """
    areas = compare_areas(first.labels, first.probabilities, second.probabilities, first.patients)
    lost, won, p_value = mcnemar(first.labels, first.decided, second.decided)
    return {
        "auc_difference": None if areas is None else asdict(areas.difference),
        "auc_p": None if areas is None else areas.p,
        "right_in_this_alone": lost,
        "right_in_the_other_alone": won,
        "mcnemar_p": p_value,
        "decisions_that_differ": int((first.decided != second.decided).sum()),
        "margin": margin,
        "not_inferior": None if areas is None else areas.is_not_inferior(margin),
        "methods": f"{_PAIRED[first.methods]}; exact McNemar; non-inferiority: 95 % interval above -margin",
    }


def curves(radiographs: Radiographs) -> dict[str, Any]:
    """What plots show: reliability and decision curve, plain JSON types."""
    labels, probabilities = radiographs.labels, radiographs.probabilities
    benefit = net_benefit(labels, probabilities, _DECISION_THRESHOLDS)
    prevalence = labels.mean()
    treat_all = prevalence - (1 - prevalence) * _DECISION_THRESHOLDS / (1 - _DECISION_THRESHOLDS)
    return {
        "reliability": [asdict(one) for one in reliability(labels, probabilities)],
        "decision_curve": {
            "thresholds": _DECISION_THRESHOLDS.round(2).tolist(),
            "net_benefit": benefit.tolist(),
            "treat_all": treat_all.tolist(),
        },
    }
