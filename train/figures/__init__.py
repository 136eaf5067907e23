"""Figures of a study beyond `train.metrics`: which method, which interval, and who published it. No Keras."""
