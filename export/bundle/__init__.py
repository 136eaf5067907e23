"""What is written: the bundle, its golden images and its model card."""
