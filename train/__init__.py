"""What is in a data set, networks trained on it, and what they are worth."""

import logging

# Who uses the package as a library and asks for no messages gets none, warnings neither.
logging.getLogger(__name__).addHandler(logging.NullHandler())
