"""edge-serve: a page, a REST interface and a queue on the device, for people and programs on its network."""
