"""The tests; what they share is in conftest.py and strategies.py."""

import os

# The tests run on all cores already; this is read when NumPy or PyTorch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
