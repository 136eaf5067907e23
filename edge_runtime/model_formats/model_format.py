"""What a device has to know of a format of model files: where the spec stands inside, and where the model's ends."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

LARGEST_TAIL_BYTES = 1 << 20  # behind a model: specs have some hundred bytes
MEMBER = "edge.json"  # name under which a spec stands behind a model

# What reading damaged bytes raises: struct, decoding, and tables that lead astray; RecursionError is a RuntimeError.
DAMAGE = (struct.error, StopIteration, LookupError, ValueError, TypeError, OverflowError, RuntimeError)

Shape = tuple[int | None, ...]  # None: not told


@dataclass
class ModelTables:
    """The ends of a network, each by name."""

    inputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)  # dtype, shape
    outputs: dict[str, tuple[str, Shape]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFormat:
    """One format. What its functions read may be damaged: they raise one of `DAMAGE` then, and never more."""

    suffix: str  # of its files, with the dot
    tail: Callable[[bytes, int], bytes]  # (text of a spec, bytes of the model) -> what stands behind that model
    text: Callable[[bytes], bytes]  # (whole file) -> text of the spec; that nothing else is there, the caller compares
    tables: Callable[[memoryview], ModelTables]  # (model without its tail) -> its ends
