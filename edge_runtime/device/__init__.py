"""What is on this device, and who it came from."""
