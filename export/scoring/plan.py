"""Which image belongs to which part: written once, so that a stopped run goes on with exactly what is left.

Each part becomes one file of results, whole or not at all. An image stands in one part, a part is one file, and so an
image is in the results once, however often processes died on the way.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge_runtime.errors import DataError, StorageError
from edge_runtime.whole_files import whole_file

_FACTS = b"edge-score"  # key of our facts in the file's metadata
_PATHS = pa.schema([("path", pa.string())])


@dataclass(frozen=True)
class PlanFacts:
    """What a run is of: another archive or another model is another run."""

    source: str  # of the archive
    model_sha256: str  # of the model file
    part_images: int  # in a part, the last one may have fewer


@dataclass(frozen=True)
class Plan:
    """A plan on disk, and the results beside it."""

    folder: Path  # RESULTS

    @property
    def path(self) -> Path:
        """File that names the images, a row group a part."""
        return self.folder / "plan.parquet"

    def part_path(self, part: int) -> Path:
        """File with the results of one part."""
        return self.folder / "parts" / f"part-{part:07d}.parquet"

    def open(self, facts: PlanFacts, paths: Iterable[str]) -> None:
        """Makes the plan, or checks that the one that is there is of the same run.

        Raises:
            DataError: the folder holds results of something else, or there is no image.
        """
        if self.path.exists():
            self._check(facts)
            return
        # `parts` alone is what a start left that was killed before its plan was written.
        if self.folder.exists() and any(path.name != "parts" or any(path.iterdir()) for path in self.folder.iterdir()):
            raise DataError(f"--out {self.folder}: holds something else; a new or empty folder was expected")
        # Looked for before anything is made: a wrong source leaves no folder behind.
        groups = _in_groups(paths, facts.part_images)
        first = next(groups, None)
        if first is None:
            raise DataError(f"{facts.source}: no images found")
        (self.folder / "parts").mkdir(parents=True, exist_ok=True)
        schema = _PATHS.with_metadata({_FACTS: json.dumps(asdict(facts))})
        with whole_file(self.path) as draft, pq.ParquetWriter(draft, schema) as writer:
            for names in itertools.chain([first], groups):
                writer.write_table(pa.table({"path": names}, schema), row_group_size=facts.part_images)

    def _check(self, facts: PlanFacts) -> None:
        try:
            told: dict[str, Any] = json.loads((pq.read_schema(self.path).metadata or {})[_FACTS])
        except (OSError, KeyError, ValueError) as error:
            raise StorageError(f"{self.path}: is no plan of edge-score, or a damaged one: {error}") from error
        asked = asdict(facts)
        differences = [
            f"{name} {told.get(name)!r}, not {asked[name]!r}" for name in asked if told.get(name) != asked[name]
        ]
        if differences:
            raise DataError(f"--out {self.folder}: holds results of another run ({'; '.join(differences)})")

    def parts(self) -> int:
        """How many parts there are."""
        return int(pq.ParquetFile(self.path).num_row_groups)

    def images(self) -> int:
        """How many images there are."""
        return int(pq.ParquetFile(self.path).metadata.num_rows)

    def left(self) -> list[int]:
        """Parts without results."""
        done = {path.name for path in (self.folder / "parts").glob("part-*.parquet")}
        return [part for part in range(self.parts()) if self.part_path(part).name not in done]

    def paths_of(self, part: int) -> list[str]:
        """Paths of the images of a part."""
        return list(pq.ParquetFile(self.path).read_row_group(part).column("path").to_pylist())


def _in_groups(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(paths)
    while some := list(itertools.islice(iterator, size)):
        # Names need not be text: what is none keeps its bytes, escaped as Python does it.
        yield [name.encode("utf-8", "backslashreplace").decode() for name in some]
