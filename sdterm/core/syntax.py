"""Python source as a tree, made in any thread."""

import ast
import threading

_one_at_a_time = threading.Lock()
"""Up to Python 3.11.7 all threads count the depth of their trees in one number (python/cpython#106905): where two are
made at once, one ends with a SystemError."""


def parsed(source: str | bytes, name: str = "<unknown>") -> ast.Module:
    """The tree of a module, as `ast.parse` gives it. name: of the file, as errors call it. Raises SyntaxError,
    ValueError (a null byte), RecursionError."""
    with _one_at_a_time:
        return ast.parse(source, name)
