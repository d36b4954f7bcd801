"""The one root of the errors that a user may meet."""


class SdtermError(Exception):
    """Something cannot be done. The message is a sentence for the user (`sdterm.messages.message`).

    code: a short word for programs, as in `Failed` events and the problems of `/v1`; every kind of error has one.
    field: the request field or setting that the sentence is about, where there is one.
    """

    code: str = "failed"
    field: str | None = None

    def __str__(self) -> str:
        # Of an OSError the sentence, without the number before it. A `Message` stays one.
        return str(self.args[-1]) if self.args else ""


class HostError(SdtermError, RuntimeError):
    """The host cannot be reached or started, or is not the one that is wanted."""

    code = "no_host"


BAD_REQUEST = "bad_request"
"""The code of what was asked for and does not exist, or is out of range: asking differently mends it."""
