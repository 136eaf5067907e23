"""Progress of an audit, on standard error; none where that is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from train.audit.inventory import Progress
from train.progress import progress_bar


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A callback for (stage, done, total) that moves a bar as long as the block runs."""
    with progress_bar("reading") as bar:
        yield lambda stage, done, total: bar.update(done, total, stage)
