"""The networks that can be trained, one file each; `train.models` is the table of them.

Each is a flat functional graph that takes float 0 to 1, (S, S, 3), as input `image`; its first output is that of a
dense layer of one unit with a sigmoid, named `probability`. A network that tells where it looked has a second output,
`heatmap`. So it can be continued from any of its tensors (for cached features) and rebuilt with one input channel (for
export) without knowing which network it is.
"""

from __future__ import annotations

OUTPUT_NAME = "probability"
HEATMAP_NAME = "heatmap"  # of the second output, (b, S/16, S/16, 1), 0 to 1: how sure of a fracture each cell is
