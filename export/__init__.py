"""The customs house: a trained network becomes a bundle of deployable files, proven against the network it was."""
