"""An archive through a bundle on Ray Data: one Predictor an actor, one part of the plan a task.

Ray gives parts to actors, starts actors again that died, and repeats their parts; nothing of that is done here. A part
that is judged twice gives the same file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_runtime.bundle import model_path, open_model
from edge_runtime.errors import ImageError, StorageError
from export.scoring.archive import Archive
from export.scoring.plan import Plan, PlanFacts
from export.scoring.records import answer_row, failure_row, write_part
from train.cluster import open_ray

_TELL_S = 10.0  # seconds between two lines about progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoreRequest:
    """What a user asks of one run."""

    archive: Archive  # images
    out: Path  # folder of results; on a cluster, one that every node sees
    model: Path | None = None  # bundle or file; None as for edge-infer
    engine: str = "auto"
    workers: int | None = None  # actors; None: one for each processor of the cluster
    part_images: int = 500  # images in a file of results
    ray_address: str | None = None  # of a cluster that runs; None starts Ray here
    radiograph_gate: bool = True  # abstain from what is no radiograph


@dataclass(frozen=True)
class ScoreSummary:
    """What one call did."""

    images: int  # in the archive
    judged: int  # by this call
    failed: int  # of those, without an answer
    seconds: float  # that this call took to judge
    workers: int  # actors

    def to_dict(self) -> dict[str, Any]:
        """A dict of plain JSON types."""
        return asdict(self)


class Scorer:
    """An actor: judges parts of the plan."""

    def __init__(self, request: ScoreRequest) -> None:
        from edge_runtime.predictor import Predictor

        self._request, self._plan = request, Plan(request.out)
        self._predictor = Predictor(request.model, request.engine, 1, request.radiograph_gate)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """{part, images, failed, error} of the parts in a batch; error says why results could not be written."""
        counts = [self._score(int(part)) for part in batch["part"]]
        return {
            "part": batch["part"],
            **{name: [count[name] for count in counts] for name in ("images", "failed", "error")},
        }

    def _score(self, part: int) -> dict[str, Any]:
        target = self._plan.part_path(part)
        rows = [self._row(path) for path in self._plan.paths_of(part)]
        error = ""
        try:
            write_part(target, rows)
        except OSError as failure:  # as text: of an exception Ray Data hands on nothing else, and repeats the part
            error = f"{target}: cannot be written: {failure.strerror or failure}"
        return {"images": len(rows), "failed": sum("error_code" in row for row in rows), "error": error}

    def _row(self, path: str) -> dict[str, Any]:
        content = None
        try:
            content = self._request.archive.read(path)
            return answer_row(path, content, self._predictor.predict(content))
        except (ImageError, StorageError) as error:
            return failure_row(path, content, error)


def score(request: ScoreRequest) -> ScoreSummary:
    """What was done; every image of the archive has its row in `RESULTS/parts` then.

    Raises:
        DataError: no images, or a folder that holds something else.
        ModelError: the model is missing or altered.
        DependencyError: Ray is not installed.
        StorageError: the results cannot be written.
    """
    model = open_model(model_path(request.model), request.engine)
    plan = Plan(request.out)
    log.info("looking for images")
    plan.open(PlanFacts(request.archive.source, model.sha256, request.part_images), request.archive.paths())
    left = plan.left()
    log.info("%d images in %d parts, %d to do", plan.images(), plan.parts(), len(left))
    if not left:
        return ScoreSummary(plan.images(), 0, 0, 0.0, 0)
    ray = open_ray(request.ray_address)
    try:
        workers = request.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        start = told = time.monotonic()
        judged = failed = 0
        for row in _results(ray, request, left, min(workers, len(left))):
            judged, failed = judged + int(row["images"]), failed + int(row["failed"])
            now = time.monotonic()
            if now - told >= _TELL_S:
                told = now
                log.info("%d of %d images, %.0f a second", judged, plan.images(), judged / (now - start))
        return ScoreSummary(plan.images(), judged, failed, time.monotonic() - start, workers)
    finally:
        if request.ray_address is None:
            ray.shutdown()


def _results(ray: Any, request: ScoreRequest, parts: list[int], workers: int) -> Iterator[dict[str, Any]]:
    """Counts of each part, as they are done."""
    items = [{"part": part} for part in parts]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Scorer,
        fn_constructor_args=[request],
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    for row in dataset.iter_rows():
        if row["error"]:
            raise StorageError(row["error"])
        yield row
