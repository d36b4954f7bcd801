"""The engine: a request and a plugin set in, a stream of events out."""

import os

# Before torch loads OpenMP: let idle threads sleep instead of spin. On a machine with free cores it costs nothing; on
# two cores of which another program uses one, a 256x256 picture took 2 s instead of 4 to 70.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sdterm.engine.engine import Engine

__all__ = ["Engine"]
