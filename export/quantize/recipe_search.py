"""Which recipe: from the cheapest to the dearest, each judged on validation images, the first that does with margin.

The images that judge the bundle are not met here. So a choice among many recipes cannot flatter the figures of the one
that was chosen.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_runtime.bundle import INT8
from edge_runtime.errors import ModelError
from edge_runtime.spec import ModelSpec
from export.convert.model_files import write_files
from export.convert.prepared_network import PreparedNetwork
from export.limits import Limits
from export.parity.gate import FAILED, PASSED, checks
from export.parity.measures import EvaluationSet, FileParity, Trial, measure_file
from export.quantize.recipes.recipe import Recipe
from export.quantize.recipes.recipe_inputs import RecipeInputs

log = logging.getLogger(__name__)

WITH_MARGIN = "margin"  # outcome: every figure keeps the goal


@dataclass(frozen=True)
class Choice:
    """The recipe that was chosen, and what was tried on the way."""

    recipe: str  # its name
    quantized: dict[str, bytes]  # its files by suffix, without a spec
    tried: tuple[Trial, ...] = ()  # a row for each recipe and format, in order; empty where none was chosen among
    tried_on: str | None = None  # which images chose


@dataclass(frozen=True)
class _Attempt:
    """A recipe that was tried."""

    recipe: str  # its name
    quantized: dict[str, bytes]  # its files by suffix
    files: tuple[FileParity, ...]  # as measured
    broken: int  # limits that its files do not keep, all files together
    with_margin: bool  # every figure of every file keeps the goal
    seconds: float  # that making the files took

    @property
    def rank(self) -> tuple[bool, float]:
        """Smaller is better: every limit kept, then the smaller 99th percentile of its worst file.

        The percentile moves in the finest steps. How many limits are broken is no measure: on few radiographs the other
        figures jump with a single decision: by their count one of 0.23 was chosen where another had 0.17.
        """
        return self.broken > 0, max(one.percentile_99_difference for one in self.files)


@dataclass(frozen=True)
class Search:
    """What recipes are judged on."""

    images: EvaluationSet  # that choose; none of them judges the bundle
    limits: Limits  # of the gate
    goal: Limits  # narrower ones, that end the search


def choose(
    recipes: Sequence[Recipe], prepared: PreparedNetwork, formats: Iterable[str], inputs: RecipeInputs, search: Search
) -> Choice:
    """The first recipe of which every file keeps the goal; the best of all where none does.

    Args:
        recipes: from cheapest to dearest.
        prepared: the network.
        formats: suffixes of the files.
        inputs: that recipes learn from.
        search: what they are judged on.

    Raises:
        ModelError: no recipe can quantise the network.
    """
    attempts: list[_Attempt] = []
    tried: list[Trial] = []
    error: ModelError | None = None
    for number, recipe in enumerate(recipes, 1):
        log.info("trying recipe %s (%d of %d)", recipe.name, number, len(recipes))
        start = time.perf_counter()
        try:
            quantized = recipe.quantize(prepared, formats, inputs)
        except ModelError as refusal:
            error = refusal
            tried.append(_refused(recipe.name, time.perf_counter() - start, refusal))
            continue
        attempts.append(_measure(recipe.name, quantized, time.perf_counter() - start, prepared.spec, search))
        tried += _rows(attempts[-1], search.limits, search.goal)
        if attempts[-1].with_margin:
            break
    if not attempts:
        raise ModelError(f"no recipe can quantise the network; the last one said: {error}") from error
    best = attempts[-1] if attempts[-1].with_margin else min(attempts, key=lambda attempt: attempt.rank)
    table = tuple(replace(row, chosen=row.recipe == best.recipe) for row in tried)
    return Choice(best.recipe, best.quantized, table, f"{len(search.images.images_u8)} images, {search.images.name}")


def _measure(recipe: str, quantized: dict[str, bytes], seconds: float, spec: ModelSpec, search: Search) -> _Attempt:
    """A recipe's files, written and run by the engines that will run them."""
    with tempfile.TemporaryDirectory() as folder:
        specs = write_files(Path(folder), INT8, quantized, spec)
        files = tuple(measure_file(path, inside, search.images) for path, inside in specs.items())
    broken = sum(not check.kept for one in files for check in checks(one, search.limits))
    return _Attempt(recipe, quantized, files, broken, all(_keeps(one, search.goal) for one in files), seconds)


def _keeps(one: FileParity, limits: Limits) -> bool:
    return all(check.kept for check in checks(one, limits))


def _rows(attempt: _Attempt, limits: Limits, goal: Limits) -> list[Trial]:
    return [
        Trial(
            recipe=attempt.recipe,
            file=one.file,
            auc_change=one.radiograph_auc_change,
            decisions_changed=one.radiograph_decisions_changed,
            radiographs=one.radiographs,
            percentile_99_difference=one.percentile_99_difference,
            seconds=attempt.seconds,
            outcome=_outcome(one, limits, goal),
        )
        for one in attempt.files
    ]


def _outcome(one: FileParity, limits: Limits, goal: Limits) -> str:
    if _keeps(one, goal):
        return WITH_MARGIN
    return PASSED if _keeps(one, limits) else FAILED


def _refused(recipe: str, seconds: float, error: ModelError) -> Trial:
    return Trial(recipe, "", None, None, None, None, seconds, outcome=f"cannot quantise this network: {error}")
