"""What kind of disk a path is on."""

from pathlib import Path

import psutil

_NETWORK = {"nfs", "nfs4", "cifs", "smbfs", "smb3", "fuse.sshfs", "sshfs", "9p", "ceph", "lustre", "afs", "webdav"}


def on_network(path: Path) -> bool:
    """Whether a path is on a network file system, where locks and shared memory may fail."""
    return file_system(path) in _NETWORK


def file_system(path: Path) -> str:
    """The name of the file system that a path lies on; "?" if it cannot be told."""
    inside = [p for p in psutil.disk_partitions(all=True) if path.is_relative_to(p.mountpoint)]
    return max(inside, key=lambda p: len(p.mountpoint)).fstype if inside else "?"
