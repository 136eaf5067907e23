"""How far files are from the trained network: measured, judged, shown."""
