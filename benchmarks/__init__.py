"""What users wait for, as ratios in one run."""
