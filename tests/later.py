"""Modules that take seconds to import, imported when a test first needs them: each process that runs tests collects all
of them, and runs few."""

import warnings
from importlib import import_module
from typing import Any


class Later:
    """`diffusers: Any = Later("diffusers")` stands for `import diffusers`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest and its plugins look for such in all that they collect
            raise AttributeError(attribute)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which are errors while a test runs
            module = import_module(self._name)
        return getattr(module, attribute)
