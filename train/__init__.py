"""The workshop: what is in a data set, two networks trained on it, and what they are worth."""
