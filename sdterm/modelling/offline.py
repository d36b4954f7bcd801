"""diffusers, transformers and the hub behind them, told to be quiet and to stay at home.

Imported before any of them, by whoever imports one: they print advice to stderr, which spoils a terminal interface, and
may ask a hub for files that they are not given.
"""

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
