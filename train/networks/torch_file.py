"""Tensors of a PyTorch file, without PyTorch, and without running what a pickle may ask to run."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER; files of PyTorch before 1.6 begin with it
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
# What crafted bytes bring the unpickler and the reader to: names, counts and sizes in them are not to be believed.
_BROKEN = (
    *(pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError),
    *(OverflowError, MemoryError, RecursionError),
)


@dataclass(frozen=True)
class _Tensor:
    storage: str  # key of the numbers that it is a view of
    dtype: np.dtype[Any]
    offset: int  # numbers, as strides
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """A copy of what it views.

        Raises:
            ValueError: it reaches beyond the numbers.
        """
        last = self.offset + sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, last) < 0 or last >= numbers.size or 0 in self.shape:
            raise ValueError("a tensor reaches beyond its numbers")
        strides = [stride * numbers.itemsize for stride in self.strides]
        return as_strided(numbers[self.offset :], self.shape, strides).copy()


class _Unpickler(pickle.Unpickler):
    """Reads tensors and nothing else: whatever other name a pickle asks for is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no tensor")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any]]:
        _, dtype, key, *_ = pid
        return key, dtype


def _tensor(
    storage: tuple[str, np.dtype[Any]], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(*storage, offset, shape, strides)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name of a file that `torch.save(network.state_dict(), path)` wrote before PyTorch 1.6.

    Raises:
        ValueError: it is none, or holds something else than tensors of float32 and int64.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return _read(stream)
    except _BROKEN as error:
        raise ValueError(f"not a file of PyTorch's tensors: {error}") from error


def _read(stream: BinaryIO) -> dict[str, NDArray[Any]]:
    magic, _, machine = (_Unpickler(stream).load() for _ in range(3))
    if magic != _MAGIC or machine["little_endian"] is not True:
        raise ValueError("not a file of PyTorch before 1.6")
    tensors: dict[str, _Tensor] = _Unpickler(stream).load()
    dtypes = {tensor.storage: tensor.dtype for tensor in tensors.values()}
    numbers = {}
    for key in _Unpickler(stream).load():
        size = int.from_bytes(stream.read(8), "little") * dtypes[key].itemsize
        numbers[key] = np.frombuffer(stream.read(size), dtypes[key])
    return {name: tensor.of(numbers[tensor.storage]) for name, tensor in tensors.items()}
