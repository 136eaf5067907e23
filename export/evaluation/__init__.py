"""What a network is worth on any images: predictions, figures with intervals, a page. The command edge-evaluate."""
