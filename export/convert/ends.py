"""Names of the ends of every deployed file."""

INPUT, OUTPUT = "grey", "probability"
HEATMAP = "heatmap"  # of networks that tell where they looked
