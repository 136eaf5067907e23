"""The page of a run: figures, plots, settings and what was left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.config import TrainConfig
from train.data.split_data import NAMES, SplitData
from train.evaluation import Evaluation
from train.plots import LEAKED_MARK, save_confusion, save_counts, save_history, save_roc, save_samples
from train.report import facts_table, figures_table, page, picture

_SAMPLES_PER_CLASS = 6
CAPTIONS = {  # of the pictures, by the name of the file
    "samples": "Training images as the network sees them, before augmentation",
    "counts": "Files of each split and class",
    "history": "Accuracy, loss and validation AUC per epoch",
    "confusion": "Confusion matrix of the test split, per file",
    "roc": "ROC curve of the test split, per file",
}


def write_report(
    folder: Path,
    config: TrainConfig,
    data: SplitData,
    evaluation: Evaluation,
    probabilities: NDArray[np.float64],
    history: list[dict[str, Any]],
) -> None:
    """Writes `plots/` and `report.html`.

    Args:
        folder: of the run.
        config: all settings.
        data: images and split.
        evaluation: figures of the network.
        probabilities: (n,) of every file, NaN in train.
        history: one record an epoch.
    """
    plots = folder / "plots"
    plots.mkdir()
    labels, mark = data.inventory.labels, LEAKED_MARK if data.leaks else ""
    test = data.records_in("test")
    save_samples(plots / "samples.png", *_samples(data, config.seed))
    save_counts(plots / "counts.png", _counts(data), labels)
    save_history(plots / "history.png", history)
    save_confusion(plots / "confusion.png", evaluation.test_files.confusion, labels, mark)
    save_roc(plots / "roc.png", data.labels[test], probabilities[test], evaluation.test_files.auc, mark)
    parts = [
        f'<p class="leaked">{LEAKED_MARK}. Every figure on this page is too optimistic.</p>' if data.leaks else "",
        figures_table(evaluation.rows()),
        *(picture(plots / f"{name}.png", caption) for name, caption in CAPTIONS.items()),
        "<h2>Settings</h2>",
        facts_table({name: json.dumps(value) for name, value in config.to_dict().items()}),
        "<h2>Files left out</h2>",
        facts_table({item.path: item.why for item in data.inventory.unreadable}),
        "<p>Research use only: not a medical device.</p>",
    ]
    # Bytes of names that are no text cannot stand on a page.
    content = page(f"{config.model}: training run", parts).encode("utf-8", "backslashreplace")
    (folder / "report.html").write_bytes(content)


def _counts(data: SplitData) -> dict[str, tuple[int, int]]:
    return {
        split: (int(np.sum(labels == 0)), int(np.sum(labels == 1)))
        for split, labels in ((split, data.labels[data.records_in(split)]) for split in NAMES)
    }


def _samples(data: SplitData, seed: int) -> tuple[NDArray[np.uint8], list[str]]:
    rows, labels = data.pictures_in("train")
    rng = np.random.default_rng([seed, 2])
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:_SAMPLES_PER_CLASS] for label in (0, 1)]
    titles = [data.inventory.labels[label] for label, members in enumerate(chosen) for _ in members]
    return data.images_u8[rows[np.concatenate(chosen)]], titles
