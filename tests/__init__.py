"""The tests, in the folders of what they test."""

import os

# The tests run on all cores already; this is read when NumPy or PyTorch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
