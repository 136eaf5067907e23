"""A trained network becomes a bundle of files for devices, proven against the network that it was."""
