"""What is written: the bundle, its golden images and its model card."""

from export.bundle.writer import new_bundle as new_bundle
