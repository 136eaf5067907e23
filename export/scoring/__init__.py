"""edge-score: an archive of images through a bundle, on Ray, each image once though processes die."""
