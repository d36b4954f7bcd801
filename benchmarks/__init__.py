"""Benchmarks. Run from the clone: `python -m benchmarks.engine`."""

import os

# As sdterm.engine sets it, and before torch is imported: every candidate waits the same way.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
