"""Files as they lie on people's disks: what stands where a file should be may be none."""

import os
import stat
from errno import EINVAL


def regular(path: str, flags: int) -> int:
    """An opener for `open` that takes regular files only: a pipe or a device, whose reader might wait for ever, is an
    OSError at once."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(EINVAL, "it is no regular file", path)
    return descriptor
