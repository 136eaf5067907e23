"""A folder that is watched: each image judged once, though power may be cut."""
