"""Which library decodes which compression, and how large a compressed frame says it is, before one allocates for it.

A decoder believes the frame, not the DICOM header around it: a file of a few kB could ask for gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator

# Transfer syntax (PS3.6, table A-1) -> its name, and pydicom's plugin for it. gdcm, which takes the most room, decodes
# only what no other here can.
COMPRESSIONS = {
    "1.2.840.10008.1.2.5": ("RLE", "pydicom"),
    "1.2.840.10008.1.2.4.50": ("JPEG baseline", "pillow"),
    "1.2.840.10008.1.2.4.51": ("JPEG extended", "pillow"),
    "1.2.840.10008.1.2.4.57": ("JPEG lossless", "gdcm"),
    "1.2.840.10008.1.2.4.70": ("JPEG lossless", "gdcm"),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS", "pyjpegls"),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS", "pyjpegls"),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000", "pylibjpeg"),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", "pylibjpeg"),
    "1.2.840.10008.1.2.4.201": ("High-Throughput JPEG 2000", "pylibjpeg"),
    "1.2.840.10008.1.2.4.202": ("High-Throughput JPEG 2000", "pylibjpeg"),
    "1.2.840.10008.1.2.4.203": ("High-Throughput JPEG 2000", "pylibjpeg"),
}
UNCOMPRESSED = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})
RLE = "1.2.840.10008.1.2.5"

_JP2_BOX = b"\x00\x00\x00\x0cjP  "
_J2K_START = b"\xff\x4f\xff\x51"  # start of codestream, then its size: ISO/IEC 15444-1, A.5.1
_JPEG_START = b"\xff\xd8"
# Start-of-frame markers of JPEG (ITU-T T.81, table B.1) and of JPEG-LS (T.87); those missing are no frames.
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length


def frame_size(frame: bytes) -> tuple[int, int, int, int] | None:
    """(width, height, components, bits each) that a compressed frame claims; None where it is no JPEG of any kind."""
    if frame.startswith(_JP2_BOX):
        start = frame.find(_J2K_START)
        frame = frame[start:] if start >= 0 else b""
    if frame.startswith(_J2K_START):
        return _jpeg_2000_size(frame)
    return _jpeg_size(frame) if frame.startswith(_JPEG_START) else None


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int, int] | None:
    if len(frame) < 43:
        return None
    right, bottom, left, top = (int.from_bytes(frame[at : at + 4], "big") for at in (8, 12, 16, 20))
    return right - left, bottom - top, int.from_bytes(frame[40:42], "big"), (frame[42] & 0x7F) + 1


def _jpeg_size(frame: bytes) -> tuple[int, int, int, int] | None:
    at = 2
    while at + 9 < len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _FRAMES:
            height, width = (int.from_bytes(frame[at + skip : at + skip + 2], "big") for skip in (5, 7))
            return width, height, frame[at + 9], frame[at + 4]
        else:
            at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


def rle_bytes(frame: bytes) -> int:
    """How many bytes a frame of RLE (PS3.5, annex G) unpacks to."""
    count = int.from_bytes(frame[:4], "little")
    starts = [int.from_bytes(frame[4 + 4 * n : 8 + 4 * n], "little") for n in range(min(count, 15))]
    return sum(sum(_runs(frame, start, end)) for start, end in zip(starts, [*starts[1:], len(frame)], strict=True))


def _runs(frame: bytes, at: int, end: int) -> Iterator[int]:
    """Lengths of the runs of one segment."""
    while at < end:
        head = frame[at]
        if head < 128:
            yield head + 1
            at += head + 2
        else:
            if head > 128:
                yield 257 - head
                at += 1
            at += 1
