"""How much one image may ask of this machine: judged from its header, before anything is decoded or read whole."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What an image may need at most. Programs that judge one image at a time stay below 400 MB with the defaults."""

    decoded_bytes: int = 256 * MEGABYTE  # width x height x channels x bytes, over all copies that decoding holds
    side: int = 32_768  # pixels
    file_bytes: int = 512 * MEGABYTE


DEFAULT_LIMITS = Limits()
MOST_HEADER_BYTES = 16 << 20  # of all that is no pixel: profiles, comments, previews
MOST_HELD_BYTES = 96 << 20  # of a file that has to lie in memory as a whole, as from standard input
