"""Extensions: found, identified, frozen, checked, installed, loaded. None of their code runs but in `loading`."""

from sdterm.errors import SdtermError


class ExtensionError(SdtermError, ValueError):
    """A sentence: why something cannot be done with an extension."""

    code = "extension_refused"
