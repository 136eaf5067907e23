"""Shortcuts: how well the label is told from what has nothing to do with the bone. A network can cheat with these.

Each is judged by the area under the ROC curve over radiographs that the classifier has not seen: cross-validation keeps
groups whole, and a group counts once, with the mean over its files.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.images import read_grey
from edge_runtime.terminal_text import escaped
from train.audit.inventory import ImageRecord, Inventory

FOLDS = 5
TREES = 60
_FILES_A_GROUP = 3  # looked at, of each group: enough to know its kind
_FILES_MOST = 60_000  # looked at in all, chosen by content: enough for every figure, and they fit into memory
_FOLDERS_MOST = 500  # with the most files, told apart; the others count as one
_BORDER_SIDE = 32  # pixels; size at which the border is read
_NAME_FEATURES = 256  # of hashed character sequences

Features = NDArray[np.float64]  # (n, features)


def measure_shortcuts(inventory: Inventory, groups: NDArray[np.int64], seed: int = 0) -> dict[str, float]:
    """The AUC of each shortcut; 0.5 is chance. Empty where a class has too few radiographs to judge by.

    Args:
        inventory: n records.
        groups: int64 (n,), group of each record.
        seed: of folds and classifiers.
    """
    chosen = _choose_files(inventory, groups)
    records = [inventory.records[index] for index in chosen]
    labels = np.array([record.label for record in records])
    group_labels = dict(zip(groups[chosen].tolist(), labels.tolist(), strict=True))
    if min(list(group_labels.values()).count(label) for label in (0, 1)) < FOLDS:
        return {}
    described: dict[str, Features] = {
        "file size": np.array([[np.log(r.bytes), r.bytes / (r.width * r.height)] for r in records]),
        "dimensions": np.array([[r.width, r.height, r.width / r.height] for r in records], np.float64),
        "file name": _describe_names([escaped(PurePosixPath(record.path).name) for record in records]),
        "border pixels": np.array([_describe_border(inventory.root / record.path) for record in records]),
        "source folder": _describe_folders(records),
    }
    return {name: _auc(values, labels, groups[chosen], seed) for name, values in described.items()}


def _choose_files(inventory: Inventory, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of at most a few files of each group, and of so many in all, picked by content, not by order."""
    order = sorted(range(len(groups)), key=lambda i: (inventory.records[i].sha256, inventory.records[i].path))
    taken: dict[int, int] = {}
    chosen = []
    for index in order:
        group = int(groups[index])
        taken[group] = taken.get(group, 0) + 1
        if taken[group] <= _FILES_A_GROUP:
            chosen.append(index)
    return np.array(chosen[:_FILES_MOST])


def _describe_names(names: list[str]) -> Features:
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(analyzer="char_wb", ngram_range=(1, 3), n_features=_NAME_FEATURES)
    return vectorizer.transform(names).toarray()


def _describe_border(path: Path) -> Features:
    """Mean, spread, lightest and darkest of each of the four borders, float64 (16,)."""
    grey_u8 = read_grey(path, least_side=_BORDER_SIDE)
    small = np.asarray(Image.fromarray(grey_u8).resize((_BORDER_SIDE, _BORDER_SIDE), Image.Resampling.BOX), np.float64)
    edges = (small[0], small[-1], small[:, 0], small[:, -1])
    return np.array([statistic(edge) for edge in edges for statistic in (np.mean, np.std, np.min, np.max)])


def _describe_folders(records: list[ImageRecord]) -> Features:
    """One column a folder inside the class folders, and the split where there is one."""
    folders = [_source_folder(record) for record in records]
    frequent = {folder for folder, _ in Counter(sorted(folders)).most_common(_FOLDERS_MOST)}
    columns = {folder: column for column, folder in enumerate(sorted(frequent))}
    return np.eye(len(columns) + 1)[[columns.get(folder, len(columns)) for folder in folders]][:, : len(columns)]


def _source_folder(record: ImageRecord) -> str:
    parts = PurePosixPath(record.path).parts[:-1]
    inner = parts[2:] if record.split else parts[1:]
    return "/".join([record.split or "", *inner])


def _auc(features: Features, labels: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> float:
    """Area under the ROC curve over groups, each judged by a forest that has not seen it."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold

    if (features == features[0]).all():
        return 0.5
    scores = np.zeros(len(labels))
    for known, unknown in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels, groups):
        forest = RandomForestClassifier(TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed)
        scores[unknown] = forest.fit(features[known], labels[known]).predict_proba(features[unknown])[:, 1]
    _, first, places = np.unique(groups, return_index=True, return_inverse=True)
    means = np.bincount(places, scores) / np.bincount(places)
    return round(float(roc_auc_score(labels[first], means)), 3)
