"""Extensions: found, identified, frozen, checked, installed, loaded. None of their code runs but in `loading`."""


class ExtensionError(ValueError):
    """A sentence: why something cannot be done with an extension."""
