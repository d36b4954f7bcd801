"""The engine: a request and a plugin set in, a stream of events out."""

from sdterm.engine.engine import Engine

__all__ = ["Engine"]
