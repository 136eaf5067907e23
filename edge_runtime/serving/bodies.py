"""The image in a request, read within limits of size and time, in memory alone: an SD card wears out by writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

if TYPE_CHECKING:
    from starlette.requests import Request

FIELD = "image"  # of a form
_FORM = "multipart/form-data"
_ENVELOPE_BYTES = 64 << 10  # of a form, around its image


@dataclass(frozen=True)
class Limits:
    """What one request may take."""

    image_bytes: int = 64 << 20  # of an image as it is sent
    read_s: float = 60.0  # from the head of a request to its last byte


@dataclass(frozen=True)
class Upload:
    """An image that was sent."""

    content: bytes  # of the file
    name: str | None  # of the file, where it was told


class _InMemoryParser(MultiPartParser):
    """Keeps files in memory; what is read is bounded already."""

    spool_max_size = 1 << 40


def expected_size(request: Request, limits: Limits) -> int:
    """Bytes for which room has to be there.

    Raises:
        HTTPException: 413 where the request says that it is larger than allowed, 400 where it says nonsense.
    """
    told = request.headers.get("content-length")
    if told is None:
        return limits.image_bytes
    if not told.isascii() or not told.isdigit():
        raise HTTPException(400, "Content-Length is not a number")
    if int(told) > limits.image_bytes + _ENVELOPE_BYTES:
        raise HTTPException(413, f"at most {limits.image_bytes} bytes are taken")
    return int(told)


async def read_upload(request: Request, limits: Limits) -> Upload:
    """The image of a request: its body, or the field `image` of a form.

    Raises:
        HTTPException: 400 no image or a broken form, 408 too slow, 413 too large.
    """
    try:
        async with asyncio.timeout(limits.read_s):
            return await _read(request, limits)
    except TimeoutError as error:
        raise HTTPException(408, f"the image did not arrive within {limits.read_s:g} seconds") from error


async def _read(request: Request, limits: Limits) -> Upload:
    if not request.headers.get("content-type", "").lower().startswith(_FORM):
        content = b"".join([block async for block in _bounded(request, limits.image_bytes)])
        if not content:
            raise HTTPException(400, "the body is empty: send an image, or a form with the field `image`")
        return Upload(content, None)
    blocks = _bounded(request, limits.image_bytes + _ENVELOPE_BYTES)
    try:
        form = await _InMemoryParser(request.headers, blocks, max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        raise HTTPException(400, f"the form cannot be read: {error}") from error
    image = form.get(FIELD)
    if image is None or isinstance(image, str):
        raise HTTPException(400, f"the form has no file in its field `{FIELD}`")
    try:
        return Upload(await image.read(), image.filename)
    finally:
        await image.close()


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body in blocks, up to a number of bytes: a request need not tell its length, nor tell the truth."""
    read = 0
    async for block in request.stream():
        read += len(block)
        if read > most:
            raise HTTPException(413, f"at most {most} bytes are taken")
        yield block
