"""Which folder is which class: names in the wild (`Not Fractured`, `non-frac`, `normal`) to negative and positive."""

from __future__ import annotations

import unicodedata

from edge_runtime.errors import DataError

NEGATIVE, POSITIVE = 0, 1

_POSITIVE_WORDS = frozenset(
    {"fractured", "fracture", "fractures", "fract", "frac", "fx", "broken", "positive", "pos", "abnormal", "1"}
)
_NEGATIONS = ("not", "non", "no", "un", "without")
_NEGATIVE_WORDS = frozenset({"normal", "healthy", "intact", "negative", "neg", "control", "0"}) | frozenset(
    negation + word for negation in _NEGATIONS for word in _POSITIVE_WORDS
)


def normalise(name: str) -> str:
    """The letters and digits of a folder name in lower case: `Not_Fractured` and `not fractured` are one class."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    # A name in a script without letters in this sense (an emoji) still has to be told from the others.
    return "".join(character for character in folded if character.isalnum()) or folded


def is_class_word(name: str) -> bool:
    """Whether a folder's name is known to mean a class."""
    return normalise(name) in _POSITIVE_WORDS | _NEGATIVE_WORDS


def resolve_labels(names: list[str], positive: str | None) -> tuple[str, str]:
    """(negative name, positive name) of the two class folders.

    Args:
        names: names of the class folders, one spelling each.
        positive: name of the positive class, where the user gave one.

    Raises:
        DataError: not exactly two classes, or which one is positive cannot be told.
    """
    listed = ", ".join(repr(name) for name in names)
    if len(names) < 2:
        raise DataError(f"two class folders with readable images are needed; found {len(names)}: {listed or 'none'}")
    if len(names) > 2:
        raise DataError(f"two class folders were expected, found {len(names)}: {listed}")
    if positive is not None:
        chosen = [name for name in names if normalise(name) == normalise(positive)]
        if not chosen:
            raise DataError(f"--positive {positive!r} is not one of the class folders: {listed}")
        return _ordered(names, chosen[0])
    return _ordered(names, _recognise_positive(names, listed))


def _recognise_positive(names: list[str], listed: str) -> str:
    """The name that is known as positive, or stands beside one known as negative."""
    positives = [name for name in names if normalise(name) in _POSITIVE_WORDS]
    negatives = [name for name in names if normalise(name) in _NEGATIVE_WORDS]
    if len(positives) == 1:
        return positives[0]
    if len(negatives) == 1 and not positives:
        return next(name for name in names if name not in negatives)
    raise DataError(f"it is not clear which of {listed} means fractured: name it with --positive NAME")


def _ordered(names: list[str], positive: str) -> tuple[str, str]:
    return next(name for name in names if name != positive), positive
