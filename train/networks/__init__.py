"""The networks that can be trained, one file each; `train.models` is the table of them.

Each is a flat functional graph that takes float 0 to 1, (S, S, 3), as input `image`, and ends in a dense layer of one
unit with a sigmoid, named `probability`. So it can be continued from any of its tensors (for cached features) and
rebuilt with one input channel (for export) without knowing which network it is.
"""

OUTPUT_NAME = "probability"
POOL = "pool"  # the layer whose output the head of a pretrained network reads
