"""What comes in: runs, networks, calibration images, images that judge."""
