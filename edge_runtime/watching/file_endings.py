"""Whether a file has the end that its format writes last.

Decoders are content once they have the pixels: a PNG is decoded without its last twelve bytes, an animated GIF with its
first frame. For a program that watches a folder such a file is still being written.
"""

from __future__ import annotations

import os

# First bytes -> last bytes. Other formats say at their beginning how long they are, and decoders hold them to it.
_ENDINGS = {
    b"\x89PNG": b"IEND\xaeB`\x82",  # PNG specification, 11.2.5
    b"\xff\xd8\xff": b"\xff\xd9",  # JPEG, ITU-T T.81, B.1.1.3: EOI
    b"GIF8": b";",  # GIF89a specification, 27: trailer
}
_LOOK_BACK_BYTES = 4096  # some programs pad with zeros


def has_its_end(path: str) -> bool:
    """Whether the end is there; True where the format has none, or the file cannot be read."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(4)
            ending = next((last for first, last in _ENDINGS.items() if head.startswith(first)), b"")
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LOOK_BACK_BYTES))
            return stream.read().rstrip(b"\0").endswith(ending)
    except OSError:
        return True
