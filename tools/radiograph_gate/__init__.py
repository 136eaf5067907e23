"""Makes `edge_runtime/radiograph_gate.npz`, the network of the radiograph gate, and judges it.

    python -m tools.radiograph_gate.train PHOTOGRAPHS $EDGE_DATA      # chosen on the sources marked `train`
    python -m tools.radiograph_gate.judge PHOTOGRAPHS $EDGE_DATA      # held to the sources marked `judge`

PHOTOGRAPHS holds one folder a source of `sources.csv`, with the unpacked package in it. Radiographs are split by group:
those of `multiregion` by radiograph, those of `fracatlas` by blocks of fifty numbers.
"""
