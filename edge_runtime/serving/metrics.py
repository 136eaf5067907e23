"""Counters of the server in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PARTS = ("probability", "brightness", "contrast", "abstained")  # in which a day may part from the usual
_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # upper bounds of the histogram


class Metrics:
    """What is counted since the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._answers: Counter[tuple[str, str]] = Counter()  # by (source, decision)
        self._refused: Counter[int] = Counter()  # by HTTP status
        self._buckets = [0] * (len(_BOUNDS_S) + 1)
        self._seconds = 0.0

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def count_answer(self, source: str, decision: str, seconds: float) -> None:
        """Counts an answer and how long its image was here."""
        with self._lock:
            self._answers[source, decision] += 1
            self._seconds += seconds
            self._buckets[sum(seconds > bound for bound in _BOUNDS_S)] += 1

    def count_refusal(self, status: int) -> None:
        """Counts a request that was not answered."""
        with self._lock:
            self._refused[status] += 1

    def to_text(self, waiting: int, model: str, model_sha256: str) -> str:
        """The page that Prometheus reads.

        Args:
            waiting: images received and not answered.
            model: name of the network and file.
            model_sha256: of the model file.
        """
        with self._lock:
            total = sum(self._answers.values())
            lines = [
                "# TYPE edge_model_info gauge",
                f'edge_model_info{{model="{_escaped(model)}",sha256="{model_sha256}"}} 1',
                "# TYPE edge_uptime_seconds gauge",
                f"edge_uptime_seconds {self.uptime_s:.3f}",
                "# TYPE edge_waiting_images gauge",
                f"edge_waiting_images {waiting}",
                "# TYPE edge_answers_total counter",
                *(
                    f'edge_answers_total{{source="{source}",decision="{decision}"}} {count}'
                    for (source, decision), count in sorted(self._answers.items())
                ),
                "# TYPE edge_refused_requests_total counter",
                *(f'edge_refused_requests_total{{status="{code}"}} {n}' for code, n in sorted(self._refused.items())),
                "# TYPE edge_answer_seconds histogram",
            ]
            below = 0
            for bound, count in zip((*_BOUNDS_S, "+Inf"), self._buckets, strict=True):
                below += count
                lines.append(f'edge_answer_seconds_bucket{{le="{bound}"}} {below}')
            lines += [f"edge_answer_seconds_sum {self._seconds:.6f}", f"edge_answer_seconds_count {total}", ""]
        return "\n".join(lines)


def drift_text(abstained_share: float, parted: Collection[str]) -> str:
    """Lines for Prometheus that say whether today's answers part from the usual.

    Args:
        abstained_share: of today's answers, 0 to 1.
        parted: what parts from the reference.
    """
    parts = [f'edge_drift{{of="{name}"}} {int(name in parted)}' for name in PARTS]
    share = ["# TYPE edge_abstained_share gauge", f"edge_abstained_share {abstained_share:.6f}"]
    return "\n".join(["# TYPE edge_drift gauge", *parts, *share, ""])


def untold_text(untold: Mapping[str, int]) -> str:
    """Lines for Prometheus that say how many answers have not reached whom they are sent to.

    Args:
        untold: {channel: answers}.
    """
    lines = [f'edge_untold_answers{{channel="{_escaped(name)}"}} {count}' for name, count in sorted(untold.items())]
    return "\n".join(["# TYPE edge_untold_answers gauge", *lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
