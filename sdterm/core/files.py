"""Files as they lie on people's disks: what stands where a file should be may be none, and its name may be no text."""

import os
import re
import stat
from errno import EINVAL
from typing import Any, TypeVar

V = TypeVar("V")

_NO_TEXT = re.compile("[\ud800-\udfff]")


def legible(value: V) -> V:
    """A name or path, also in lists and dictionaries, as text that can be shown, stored and sent: what is not UTF-8 in
    it is replaced. A thing that is found by its name is found by this one."""
    told: Any = value
    if isinstance(value, str):
        told = _NO_TEXT.sub("\ufffd", value)
    elif isinstance(value, list | tuple):
        told = type(value)(map(legible, value))
    elif isinstance(value, dict):
        told = {legible(key): legible(item) for key, item in value.items()}
    return told  # type: ignore[no-any-return]


def regular(path: str, flags: int) -> int:
    """An opener for `open` that takes regular files only: a pipe or a device, whose reader might wait for ever, is an
    OSError at once."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "it is no regular file", path)
    return descriptor
