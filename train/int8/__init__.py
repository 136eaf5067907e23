"""What training and export share about int8 in Keras."""
