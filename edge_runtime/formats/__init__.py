"""What each format says of its pixels before they are decoded, and of damage: what Pillow leaves unsaid."""
