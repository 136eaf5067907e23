"""A Keras network as float and int8 model files."""
