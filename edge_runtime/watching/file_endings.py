"""How long a file must lie unchanged before it is taken for whole, by the end that its format writes last, if any.

Decoders are content once they have the pixels, and a program may set the length of a file before it writes the content,
as scanners do on network shares: for a program that watches a folder such a file is still being written.
"""

from __future__ import annotations

import os

# First bytes -> last bytes.
_ENDINGS = {
    b"\x89PNG": b"IEND\xaeB`\x82",  # PNG specification, 11.2.5
    b"\xff\xd8\xff": b"\xff\xd9",  # JPEG, ITU-T T.81, B.1.1.3: EOI
    b"GIF8": b";",  # GIF89a specification, 27: trailer
}
# Formats that end with their pixels, whatever these are: BMP, TIFF, WebP, Netpbm; DICOM is known by what stands at 128.
_WITHOUT_AN_END = (b"BM", b"II", b"MM", b"RIFF", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
_DICOM, _DICOM_AT = b"DICM", 128
_LOOK_BACK_BYTES = 4096  # some programs pad with zeros
WHOLE, DOUBTFUL, UNFINISHED = 0, 1, 6  # times that a file has to settle


def times_to_settle(path: str) -> int:
    """How many times over a file has to settle before it is judged.

    WHOLE where it has the end of its format, or is none of the known formats, or cannot be read: the decoder will say;
    DOUBTFUL where the end is missing, or the format has none; UNFINISHED where the format has none and nothing but
    zeros stand at the end, as in a file that got its length and waits for its content (or one with a black margin).
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(_DICOM_AT + len(_DICOM))
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LOOK_BACK_BYTES))
            last = stream.read()
    except OSError:
        return WHOLE
    ending = next((end for first, end in _ENDINGS.items() if head.startswith(first)), None)
    if ending is not None:
        return WHOLE if last.rstrip(b"\0").endswith(ending) else DOUBTFUL
    if head.startswith(_WITHOUT_AN_END) or head[_DICOM_AT:] == _DICOM:
        return DOUBTFUL if last.strip(b"\0") else UNFINISHED
    return WHOLE if head.strip(b"\0") else UNFINISHED
