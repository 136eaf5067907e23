"""Networks that somebody else trained: read, flattened and brought to one grey input and one probability."""
